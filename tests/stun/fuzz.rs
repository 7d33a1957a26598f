//! The parser and its printer, given bytes that nobody meant to send.

use anjer::stun::fuzz::message;
use anjer::stun::message::{Change, Failure, Probe, Request, Success, TransactionId, Unknown};

#[test]
fn survives_random_bytes() {
    bolero::check!().for_each(|data: &[u8]| {
        message(data);
    });
}

/// A small corpus of what is meant to be sent, with everything that one missing end or one changed byte makes of it.
#[test]
fn survives_the_corpus_and_everything_next_to_it() {
    let id = TransactionId(*b"abcdefghijkl");
    let (v4, v6) = ("192.0.2.1:5000".parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap());
    let change = Change { ip: true, port: true };
    let corpus = [
        Request::new(id).emit(),
        Request { change, response_port: Some(4000), ..Request::new(id) }.emit(),
        Success { id, mapped: v4, origin: Some(v4), other: Some(v4) }.emit(),
        Success { id, mapped: v6, origin: Some(v6), other: Some(v6) }.emit(),
        Failure { id, code: 420, unknown: Unknown([1, 2, 3].into_iter().collect()) }.emit(),
        Probe { token: id }.emit(),
    ];
    for seed in corpus {
        assert!(message(&seed), "{seed:02x?}");
        for end in 0..seed.len() {
            message(&seed[..end]);
        }
        let mut damaged = seed.clone();
        for at in 0..seed.len() {
            for value in 0..=255 {
                damaged[at] = value;
                message(&damaged);
            }
            damaged[at] = seed[at];
        }
    }
}
