//! The way of a fact to the network thread.

use super::Surroundings;
use mio::Waker;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Tells facts. May be cloned.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    facts: Sender<Surroundings>,
    waker: Option<Arc<Waker>>,
}

/// Nobody listens: the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over;

impl Teller {
    pub(super) const fn new(facts: Sender<Surroundings>, waker: Option<Arc<Waker>>) -> Self {
        Self { facts, waker }
    }

    /// Waits while the network thread is behind: facts are few and may be late.
    pub(super) async fn tell(&self, fact: Surroundings) -> Result<(), Over> {
        tracing::debug!(?fact, "surroundings");
        self.facts.send(fact).await.map_err(|_| Over)?;
        if let Some(waker) = &self.waker {
            let _ = waker.wake();
        }
        Ok(())
    }
}
