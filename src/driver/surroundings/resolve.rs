//! Names into addresses, by the system's resolver, which may take as long as it likes.

use super::Surroundings;
use super::teller::Teller;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Names that are being looked up, at most. What is asked beyond that is answered at once, with nothing.
pub(super) const MAX_PENDING: usize = 16;

/// Addresses that one answer has, at most.
pub(super) const MAX_ADDRESSES: usize = 16;

/// How long an answer is waited for. A resolver asks each of its servers for five seconds, twice (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_secs(12);

/// The longest name and a port (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255 + 6;

/// Looks names up, several at a time.
#[derive(Debug)]
pub(super) struct Resolver {
    pending: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { pending: Arc::new(Semaphore::new(MAX_PENDING)) }
    }
}

impl Resolver {
    /// Begins to look `name` ("host:port") up. The answer is told, whatever it is.
    pub(super) fn begin(&self, name: String, teller: Teller) {
        let permit = Arc::clone(&self.pending).try_acquire_owned();
        tokio::spawn(async move {
            let addresses = if permit.is_ok() { look_up(&name).await } else { Vec::new() };
            // Whoever asked may have gone.
            let _ = teller.tell(Surroundings::Resolved { name, addresses }).await;
            drop(permit);
        });
    }
}

async fn look_up(name: &str) -> Vec<SocketAddr> {
    if name.len() > MAX_NAME {
        return Vec::new();
    }
    if let Ok(address) = name.parse() {
        return usable([address]);
    }
    match timeout(PATIENCE, tokio::net::lookup_host(name)).await {
        Ok(Ok(found)) => usable(found),
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "not resolved");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(name, "not resolved in time");
            Vec::new()
        }
    }
}

/// Those a datagram could be sent to, each once, in order.
fn usable(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    let one = |address: &SocketAddr| {
        let ip = address.ip();
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && seen.insert(*address)
    };
    found.into_iter().filter(one).take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{Receiver, channel};

    fn ask(names: &[&str]) -> Vec<(String, Vec<SocketAddr>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (facts, mut told): (_, Receiver<Surroundings>) = channel(100);
            let resolver = Resolver::default();
            for name in names {
                resolver.begin((*name).to_owned(), Teller::new(facts.clone(), None));
            }
            let mut answers = Vec::new();
            while answers.len() < names.len() {
                match told.recv().await.unwrap() {
                    Surroundings::Resolved { name, addresses } => answers.push((name, addresses)),
                    other => panic!("{other:?}"),
                }
            }
            answers
        })
    }

    #[test]
    fn every_question_is_answered() {
        let too_long = format!("{}:1", "x".repeat(300));
        let answers =
            ask(&["127.0.0.1:3478", "[::1]:5", "localhost:9", "no port", &too_long, "0.0.0.0:1", "127.0.0.1:0"]);
        let answer = |name: &str| answers.iter().find(|(asked, _)| asked == name).unwrap().1.clone();
        assert_eq!(answer("127.0.0.1:3478"), ["127.0.0.1:3478".parse().unwrap()]);
        assert_eq!(answer("[::1]:5"), ["[::1]:5".parse().unwrap()]);
        assert!(answer("localhost:9").iter().all(|address| address.ip().is_loopback() && address.port() == 9));
        assert!(!answer("localhost:9").is_empty());
        for name in ["no port", &too_long, "0.0.0.0:1", "127.0.0.1:0"] {
            assert_eq!(answer(name), [], "{name}");
        }
    }

    /// The cap: whoever asks for more than can be looked up at once hears that nothing was found, and is not kept waiting.
    #[test]
    fn too_many_questions_are_answered_with_nothing() {
        let names: Vec<String> = (1..=MAX_PENDING + 5).map(|port| format!("127.0.0.1:{port}")).collect();
        let answers = ask(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let found = answers.iter().filter(|(_, addresses)| !addresses.is_empty()).count();
        assert_eq!((answers.len(), found), (MAX_PENDING + 5, MAX_PENDING));
    }

    #[test]
    fn an_answer_has_so_many_addresses_and_each_once() {
        let many = (1..=40u16).flat_map(|port| [SocketAddr::from(([10, 0, 0, 1], port)); 2]);
        assert_eq!(usable(many).len(), MAX_ADDRESSES);
        assert_eq!(usable(["224.0.0.1:9".parse().unwrap()]), []);
    }
}
