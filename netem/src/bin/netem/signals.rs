//! Signals, as something to wait for and to look at.

use crate::failure::{Context, Failure};
use core::time::Duration;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Takes SIGINT, SIGTERM and SIGHUP, which end a run in order, and SIGCHLD, which ends a wait.
#[derive(Debug)]
pub(crate) struct Signals {
    /// The last one that ends a run; 0 is none.
    ending: Arc<AtomicUsize>,
    wake: UnixStream,
}

impl Signals {
    pub(crate) fn take() -> Result<Self, Failure> {
        let what = || "cannot take signals".into();
        let ending = Arc::new(AtomicUsize::new(0));
        let (wake, end) = UnixStream::pair().context(what)?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or(usize::MAX);
            signal_hook::flag::register_usize(signal, Arc::clone(&ending), number).context(what)?;
        }
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGCHLD] {
            pipe::register(signal, end.try_clone().context(what)?).context(what)?;
        }
        Ok(Self { ending, wake })
    }

    /// The signal that asked us to end, if one did.
    pub(crate) fn ending(&self) -> Option<u8> {
        u8::try_from(self.ending.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }

    /// Waits for a signal, or this long. One that came since the last wait counts.
    pub(crate) fn wait(&self, at_most: Duration) {
        let mut buffer = [0; 64];
        if self.wake.set_read_timeout(Some(at_most)).is_ok() {
            // Bytes, nothing in that time, or interrupted: the caller looks again in any case.
            let _ = (&self.wake).read(&mut buffer);
        }
    }
}
