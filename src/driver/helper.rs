//! The thread beside the network thread: slow work (a disk) that no packet may wait for.

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use mio::Waker;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Jobs that wait for the helper, at most. What is more stays in the machine.
pub(super) const MAX_JOBS: usize = 256;

/// Answers that wait for the network thread, at most. What is more stops the helper, not the network.
pub(super) const MAX_DONE: usize = 256;

/// Does the jobs of a [`Driven`](super::Driven), one at a time, on a thread of its own (named `anjer-disk`).
pub trait Helper: Send {
    /// What it is given.
    type Job: Send;
    /// What it answers.
    type Done: Send;

    /// Does `job`, or begins it. Answers are handed to `done`, any number, which may block.
    fn handle(&mut self, job: Self::Job, done: &mut dyn FnMut(Self::Done));

    /// One bounded step of what goes on in the background (hashing a large file), while no job waits. Returns whether there is
    /// more of it: then it is called again, after whatever jobs came.
    fn work(&mut self, _done: &mut dyn FnMut(Self::Done)) -> bool {
        false
    }
}

/// Starts the helper's thread. It ends when the network thread's end of `jobs` is gone and the jobs that were left are done: a
/// file that was being written is whole.
pub(super) fn spawn<H: Helper + 'static>(
    mut helper: H,
    jobs: Receiver<H::Job>,
    done: Sender<H::Done>,
    waker: Arc<Waker>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("anjer-disk".into()).spawn(move || {
        let mut tell = |answer| {
            // Nobody listens once the network thread ended; the jobs that are left are done all the same.
            if done.send(answer).is_ok() {
                let _ = waker.wake();
            }
        };
        let mut more = false;
        loop {
            let job = if more {
                match jobs.try_recv() {
                    Ok(job) => Some(job),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => break,
                }
            } else {
                match jobs.recv() {
                    Ok(job) => Some(job),
                    Err(_) => break,
                }
            };
            match job {
                // A job may begin something that goes on in the background, so ask.
                Some(job) => {
                    helper.handle(job, &mut tell);
                    more = true;
                }
                None => more = helper.work(&mut tell),
            }
        }
    })
}
