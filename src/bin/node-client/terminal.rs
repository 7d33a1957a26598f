//! A person at a terminal: a prompt that stays whole while lines arrive above it.
//!
//! `rustyline` reads on a thread of its own. While it does, text goes through its external printer, which clears the prompt,
//! writes, and draws the prompt again with what was typed so far; between two lines text goes straight out.

use crate::command_table::{Parsed, parse};
use crate::input::{Input, MAX_LINE_BYTES, QUEUE};
use crate::output::to_stdout;
use anjer::node::api::Command;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, DefaultEditor, Event, EventContext, EventHandler, ExternalPrinter, KeyCode,
    KeyEvent, Modifiers,
};
use std::io;
use std::thread;
use tokio::sync::mpsc;

const PROMPT: &str = "> ";

/// Lines that the arrow keys bring back. They live in memory only: what is said in a room is not written to a disk.
const HISTORY: usize = 500;

/// What ends `rustyline`'s bracketed paste, clears the line the prompt is on, and what is below it.
const CLEAR_PROMPT: &str = "\u{1b}[?2004l\r\u{1b}[J";

/// A terminal in use.
pub(crate) struct Terminal {
    /// How the terminal was set before.
    before: Termios,
    /// What is typed.
    pub(crate) inputs: mpsc::Receiver<Input>,
}

/// Writes above the prompt.
pub(crate) type Printer = Box<dyn FnMut(String) -> io::Result<()> + Send>;

impl Terminal {
    /// Takes the terminal: the prompt appears.
    pub(crate) fn open() -> io::Result<(Self, Printer)> {
        let before = tcgetattr(io::stdin())?;
        let config =
            Config::builder().auto_add_history(true).max_history_size(HISTORY).map_err(io::Error::other)?.build();
        let mut editor = DefaultEditor::with_config(config).map_err(io::Error::other)?;
        editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(LongEnough)));
        let printer: Printer = match editor.create_external_printer() {
            Ok(mut printer) => Box::new(move |text: String| match printer.print(text.clone()) {
                Ok(()) => Ok(()),
                // The prompt is gone for good: nothing has to be kept whole.
                Err(_) => to_stdout(&text),
            }),
            // A terminal that cannot move its cursor (TERM=dumb).
            Err(_) => Box::new(|text: String| to_stdout(&text)),
        };
        let (sender, inputs) = mpsc::channel(QUEUE);
        thread::Builder::new().name("prompt".into()).spawn(move || read_all(&mut editor, &sender))?;
        Ok((Self { before, inputs }, printer))
    }

    /// Gives the terminal back as it was, wherever the reading is, and shows the last words.
    pub(crate) fn close(self, last_words: &str) {
        // A terminal that went away has nothing to be given back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
        let _ = to_stdout(&format!("{CLEAR_PROMPT}{last_words}"));
    }
}

/// Passes on what is typed, until something typed ends it: then the prompt does not come back, and Ctrl-C is a signal again.
fn read_all(editor: &mut DefaultEditor, sender: &mpsc::Sender<Input>) {
    loop {
        let inputs = match editor.readline(PROMPT) {
            // A paste may hold several lines.
            Ok(text) => text.split('\n').map(Input::line).collect(),
            Err(ReadlineError::Interrupted) => vec![Input::Interrupt],
            Err(_) => vec![Input::End],
        };
        for input in inputs {
            let last = ends(&input);
            if sender.blocking_send(input).is_err() || last {
                return;
            }
        }
    }
}

/// Takes no more characters into a line that is too long anyway. The line is drawn again whenever it reaches the next row, so
/// a megabyte that comes as if it were typed would be drawn for minutes.
struct LongEnough;

impl ConditionalEventHandler for LongEnough {
    fn handle(&self, event: &Event, _: rustyline::RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let typed = matches!(event.get(0), Some(KeyEvent(KeyCode::Char(_), Modifiers::NONE)));
        (typed && context.line().len() > MAX_LINE_BYTES).then_some(Cmd::Noop)
    }
}

fn ends(input: &Input) -> bool {
    match input {
        Input::Line(line) => parse(line) == Ok(Parsed::Command(Command::Quit)),
        Input::Interrupt | Input::End => true,
        Input::TooLong | Input::NotText => false,
    }
}
