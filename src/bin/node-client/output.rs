//! Writing to stdout on a thread of its own, so that a reader who does not read stops nothing but the writing.
//!
//! A stdout that fails (closed, full) is noticed here: [`Output::reserve`] then says so, and whoever runs the program quits.

use std::io::{self, Write};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// Blocks of text that wait to be written. When they are used up, events wait in the room.
const QUEUE: usize = 256;

/// Bytes that are gathered into one write, at most, from what waits.
const BATCH_BYTES: usize = 64 * 1024;

/// Where text goes.
pub(crate) struct Output {
    queue: mpsc::Sender<String>,
    done: oneshot::Receiver<()>,
}

/// Room for one block of text.
pub(crate) struct Reserved<'a>(Option<mpsc::Permit<'a, String>>);

impl Output {
    /// Starts the thread that hands text to `sink` until that fails.
    pub(crate) fn start(mut sink: impl FnMut(String) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (queue, mut waiting) = mpsc::channel::<String>(QUEUE);
        let (finished, done) = oneshot::channel();
        thread::Builder::new().name("output".into()).spawn(move || {
            while let Some(mut batch) = waiting.blocking_recv() {
                while batch.len() < BATCH_BYTES {
                    let Ok(more) = waiting.try_recv() else { break };
                    batch.push_str(&more);
                }
                if sink(batch).is_err() {
                    break;
                }
            }
            drop(waiting);
            let _ = finished.send(());
        })?;
        Ok(Self { queue, done })
    }

    /// Waits for room. Giving up waiting loses nothing.
    pub(crate) async fn reserve(&self) -> Reserved<'_> {
        Reserved(self.queue.reserve().await.ok())
    }

    /// Comes back when nothing more can be written.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Comes back when all is written, or cannot be.
    pub(crate) async fn finish(self) {
        drop(self.queue);
        let _ = self.done.await;
    }
}

impl Reserved<'_> {
    /// Puts `text`, whole lines, in the room that was reserved. Lost if the output is closed.
    pub(crate) fn write(self, text: String) {
        if let (Some(permit), false) = (self.0, text.is_empty()) {
            permit.send(text);
        }
    }
}

/// Writes to stdout; never panics where `println!` would.
pub(crate) fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as blocking;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn blocks_are_written_in_order_and_all_of_them() {
        let (sender, written) = blocking::channel();
        block_on(async {
            let output = Output::start(move |text| sender.send(text).map_err(io::Error::other)).expect("a thread");
            for number in 0..1000 {
                output.reserve().await.write(format!("{number}\n"));
            }
            output.finish().await;
        });
        let all: String = written.iter().collect();
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn an_output_that_fails_is_noticed_and_then_swallows() {
        block_on(async {
            let output = Output::start(|_| Err(io::ErrorKind::BrokenPipe.into())).expect("a thread");
            output.reserve().await.write("lost\n".into());
            output.closed().await;
            output.reserve().await.write("lost too\n".into());
            output.finish().await;
        });
    }

    #[test]
    fn a_reader_who_does_not_read_costs_a_bounded_queue() {
        let (release, gate) = blocking::channel::<()>();
        block_on(async {
            let output = Output::start(move |_| gate.recv().map_err(io::Error::other)).expect("a thread");
            let mut accepted = 0;
            // The thread may have taken some already; what it takes at once is bounded too.
            while let Ok(reserved) = tokio::time::timeout(core::time::Duration::ZERO, output.reserve()).await {
                reserved.write("x".repeat(BATCH_BYTES));
                accepted += 1;
                assert!(accepted <= QUEUE + 2, "no bound");
            }
            drop(release);
            output.finish().await;
        });
    }
}
