//! Every decoder and every part that a peer drives, given bytes that nobody meant to send.
//!
//! Each target runs twice: over random bytes (`bolero`; `cargo bolero test` takes the same targets to a coverage-guided fuzzer),
//! and over a small corpus of what is meant to be sent, with everything that one missing end or one damaged byte makes of it.

use anjer::mrt::api::{ChannelId, Class};
use anjer::mrt::wire::{Cid, Clear, DataHeader, Frame, Pattern, RelyHeader, put_ack};
use anjer::mrt::{RelayChannel, fuzz};

type Target = fn(&[u8]) -> bool;

/// Gives `target` every seed, which has to get past its first checks, then every beginning of it, and changes of each of its
/// first 64 bytes to the edges of what a byte or the form of a varint can be.
fn replay(target: Target, seeds: &[Vec<u8>]) {
    for seed in seeds {
        assert!(target(seed), "a seed that exercises nothing: {seed:02x?}");
        for end in 0..seed.len() {
            target(seed.get(..end).unwrap_or_default());
        }
        let mut damaged = seed.clone();
        for (at, byte) in seed.iter().enumerate().take(64) {
            for value in [0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF, byte ^ 1, byte.wrapping_add(1), *byte] {
                damaged.splice(at..=at, [value]);
                target(&damaged);
            }
        }
    }
}

fn emitted(packet: &Clear<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.emit(&mut bytes);
    bytes
}

fn clear_packets() -> Vec<Vec<u8>> {
    let (to, from) = (Cid(0x0102_0304_0506_0708), Cid(u64::MAX));
    vec![
        emitted(&Clear::Rcon { relayed: false, pattern: Pattern::XX, from, cookie: b"", noise: &[7; 32] }),
        emitted(&Clear::Rcon { relayed: true, pattern: Pattern::IKpsk2, from, cookie: &[9; 64], noise: &[7; 512] }),
        emitted(&Clear::Rtry { to, cookie: &[9; 40] }),
        emitted(&Clear::Acon { to, from, noise: &[7; 48] }),
    ]
}

fn data_headers() -> Vec<Vec<u8>> {
    let header = |key_phase| {
        let mut bytes = Vec::new();
        DataHeader { key_phase, to: Cid(5), number: 6 }.emit(&mut bytes);
        bytes.extend_from_slice(&[0; 40]);
        bytes
    };
    vec![header(false), header(true)]
}

fn rely_headers() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    RelyHeader { to: Cid(5), counter: 6, channel: RelayChannel(7) }.emit(&mut bytes);
    bytes.extend_from_slice(&[0; 40]);
    vec![bytes]
}

fn payloads() -> Vec<Vec<u8>> {
    let channel = ChannelId::new(true, Class::Chat, 2);
    let frames = [
        Frame::Ping,
        Frame::Reset { channel, code: 1, final_offset: 1 << 20 },
        Frame::Stop { channel, code: u32::MAX },
        Frame::Chan { channel, offset: 1 << 40, fin: false, data: b"data" },
        Frame::Chan { channel, offset: 0, fin: true, data: b"" },
        Frame::MaxData { limit: 1 << 24 },
        Frame::MaxChan { channel, limit: 1 << 30 },
        Frame::MaxChans { class: Class::Bulk, limit: 100 },
        Frame::PathChallenge([1; 8]),
        Frame::PathResponse([2; 8]),
        Frame::Close { code: 0, reason: "gute Nacht, 再见" },
        Frame::Padding(5),
    ];
    let mut payloads: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| {
            let mut bytes = Vec::new();
            frame.emit(&mut bytes);
            bytes
        })
        .collect();
    let mut ack = Vec::new();
    put_ack(&mut ack, [1000..1100, 900..901, 3..70].into_iter(), 250, Some([5, 0, 1]), 100);
    payloads.push(ack);
    let all = payloads.concat();
    payloads.push(all);
    payloads
}

fn numbers() -> Vec<Vec<u8>> {
    vec![
        vec![0; 4],
        vec![0xFF; 12],
        [vec![0xFF; 4], vec![0; 8]].concat(),
        [vec![0; 4], vec![0x3F], vec![0xFF; 7]].concat(),
    ]
}

/// Forward and back by small steps, by a word, by the whole window, by far.
fn replay_steps() -> Vec<Vec<u8>> {
    vec![
        vec![0, 0, 0, 1, 0, 1, 1, 2, 1, 1, 0, 5],
        vec![0, 63, 0, 1, 1, 1, 0, 0x40, 64, 1, 0x40, 64],
        vec![0, 0x60, 0, 1, 0x5F, 0xFF, 1, 1, 0, 0x9F, 0xFF, 0xFF, 0xFF, 1, 1],
    ]
}

fn range_steps() -> Vec<Vec<u8>> {
    vec![vec![0, 20, 20, 20, 8, 30, 4, 5, 0, 9], vec![10, 2, 20, 2, 30, 2, 5, 47, 0, 46, 9, 46]]
}

/// What to do, offset, length.
fn pieces() -> Vec<Vec<u8>> {
    let piece =
        |pop: bool, offset: u16, len: u16| [&[u8::from(!pop)][..], &offset.to_be_bytes(), &len.to_be_bytes()].concat();
    vec![
        [piece(true, 0, 1200), piece(true, 1200, 1200), piece(true, 2400, 100)].concat(),
        [piece(false, 1200, 1200), piece(false, 3000, 500), piece(false, 600, 1000), piece(true, 0, 2000)].concat(),
        [piece(false, 16_000, 1000), piece(false, 65_535, 2047), piece(true, 0, 2047), piece(true, 16_384, 1)].concat(),
        (0..20).map(|gap| piece(false, 1 + gap * 100, 10)).collect::<Vec<_>>().concat(),
    ]
}

/// Push, next, finish, lost (6), acknowledged (3), each with a number.
fn sends() -> Vec<Vec<u8>> {
    vec![
        vec![0, 200, 1, 100, 1, 100, 3, 0, 6, 0, 2, 0],
        vec![0, 10, 0, 20, 0, 30, 1, 15, 1, 15, 1, 15, 6, 1, 3, 1, 2, 0, 1, 255, 1, 255],
    ]
}

macro_rules! targets {
    ($($name:ident: $seeds:ident;)*) => { $(
        mod $name {
            #[test]
            fn survives_random_bytes() {
                bolero::check!().for_each(|data: &[u8]| {
                    super::fuzz::$name(data);
                });
            }

            #[test]
            fn survives_the_corpus_and_everything_next_to_it() {
                super::replay(super::fuzz::$name, &super::$seeds());
            }
        }
    )* };
}

targets! {
    clear_packet: clear_packets;
    data_header: data_headers;
    rely_header: rely_headers;
    frames: payloads;
    packet_number: numbers;
    replay_window: replay_steps;
    ranges: range_steps;
    assembler: pieces;
    send_buffer: sends;
}
