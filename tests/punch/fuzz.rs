//! The punch packet's reader and its printer, given bytes that nobody meant to send.

use anjer::stun::punch::packet::{Kind, LEN, Packet, Sealer, fuzz};

#[test]
fn survives_random_bytes() {
    bolero::check!().for_each(|data: &[u8]| {
        fuzz(data);
    });
}

/// All that is ever sent, with everything that one missing end or one changed byte makes of it. The fuzzed pair's own packets are among
/// them, so that the reader gets past the tag.
#[test]
fn survives_the_corpus_and_everything_next_to_it() {
    let sealers =
        [Sealer::new(&[1; 32], &[2; 16], &[3; 16]), Sealer::new(&[9; 32], &[2; 16], &[3; 16]), Sealer::open()];
    for (sealer, kind) in sealers.iter().flat_map(|sealer| {
        [Kind::Probe, Kind::Reply, Kind::Confirm, Kind::Choose, Kind::Chosen].map(|kind| (sealer, kind))
    }) {
        for (from_initiator, round, nonce, echo) in [(true, 1, 7, 0), (false, u16::MAX, u64::MAX, u64::MAX)] {
            let seed = sealer.seal(&Packet { kind, from_initiator, round, nonce, echo });
            assert!(fuzz(&seed), "{seed:02x?}");
            for end in 0..LEN {
                fuzz(&seed[..end]);
            }
            fuzz(&[&seed[..], &[0]].concat());
            for at in 0..LEN {
                let mut damaged = seed;
                for value in 0..=255 {
                    damaged[at] = value;
                    fuzz(&damaged);
                }
            }
        }
    }
}
