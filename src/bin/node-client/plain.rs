//! Commands from something that is not a terminal: a file, a pipe, a script.

use crate::input::{Input, MAX_LINE_BYTES, QUEUE};
use std::io::{self, BufRead};
use std::thread;
use tokio::sync::mpsc;

/// Starts the thread that reads stdin, line by line.
pub(crate) fn start() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::Builder::new().name("input".into()).spawn(move || read_all(&mut io::stdin().lock(), &sender))?;
    Ok(receiver)
}

/// Passes on every line, then the end. A reading error ends the input.
fn read_all(reader: &mut impl BufRead, sender: &mpsc::Sender<Input>) {
    while let Ok(Some(input)) = next(reader) {
        if sender.blocking_send(input).is_err() {
            return;
        }
    }
    let _ = sender.blocking_send(Input::End);
}

/// The next line, or `None` at the end. Holds no more than [`MAX_LINE_BYTES`] of it, however long it is.
fn next(reader: &mut impl BufRead) -> io::Result<Option<Input>> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut began = false;
    loop {
        let available = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if available.is_empty() {
            // A last line without an end counts.
            return Ok(began.then(|| finished(line, too_long)));
        }
        began = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let (piece, used) = match end {
            Some(at) => (available.get(..at).unwrap_or_default(), at.saturating_add(1)),
            None => (available, available.len()),
        };
        // One byte more than allowed for the carriage return that may end the line.
        if line.len().saturating_add(piece.len()) > MAX_LINE_BYTES + 1 {
            too_long = true;
            line = Vec::new();
        } else if !too_long {
            line.extend_from_slice(piece);
        }
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(finished(line, too_long)));
        }
    }
}

fn finished(mut line: Vec<u8>, too_long: bool) -> Input {
    if too_long {
        return Input::TooLong;
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match String::from_utf8(line) {
        Ok(text) => Input::line(&text),
        Err(_) => Input::NotText,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn inputs(bytes: &[u8], buffer: usize) -> Vec<Input> {
        let mut reader = BufReader::with_capacity(buffer, bytes);
        core::iter::from_fn(|| next(&mut reader).expect("memory does not fail")).collect()
    }

    fn line(text: &str) -> Input {
        Input::Line(text.into())
    }

    #[test]
    fn lines_end_in_either_way_and_the_last_needs_no_end() {
        assert_eq!(inputs(b"T a\r\nT b\n\nQ", 3), [line("T a"), line("T b"), line(""), line("Q")]);
        assert_eq!(inputs(b"", 3), []);
    }

    #[test]
    fn a_megabyte_in_one_line_is_one_mistake_and_the_next_line_is_whole() {
        let mut bytes = vec![b'x'; 1 << 20];
        bytes.extend_from_slice(b"\nT after\n");
        assert_eq!(inputs(&bytes, 8192), [Input::TooLong, line("T after")]);
    }

    #[test]
    fn the_longest_line_fits_and_one_byte_more_does_not() {
        let fits = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(inputs(format!("{fits}\r\n").as_bytes(), 8192), [line(&fits)]);
        assert_eq!(inputs(format!("{fits}x\nQ\n").as_bytes(), 8192), [Input::TooLong, line("Q")]);
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_own_line() {
        assert_eq!(inputs(b"T \xff\xfe\nT ok\n", 8192), [Input::NotText, line("T ok")]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_as_many_inputs_as_lines(bytes in any::<Vec<u8>>(), buffer in 1_usize..64) {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            let expected = if bytes.last().is_none_or(|byte| *byte == b'\n') { lines - 1 } else { lines };
            prop_assert_eq!(inputs(&bytes, buffer).len(), expected);
        }
    }
}
