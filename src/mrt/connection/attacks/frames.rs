//! What breaks the protocol, what just does not, and frames at random.

use super::villain::{EVIL, MS, Villain, config, elsewhere, varint_max};
use crate::mrt::api::{ChannelId, Class, Event, Received, SendError};
use crate::mrt::wire::{Frame, Frames};
use crate::time::Duration;
use bytes::Bytes;

#[test]
fn what_breaks_the_protocol_closes_the_connection_and_says_why() {
    let theirs = ChannelId::new(false, Class::Chat, 0);
    let mine = Villain::channel(Class::Chat, 0);
    let window = 1 << 20;
    let cases: [(&[Frame<'_>], &str); 12] = [
        (&[Frame::Stop { channel: theirs, code: 0 }], "a channel that was never opened"),
        (&[Frame::MaxChan { channel: theirs, limit: 9 }], "a channel that was never opened"),
        (&[Frame::Reset { channel: theirs, code: 0, final_offset: 0 }], "a channel that was never opened"),
        (&[Frame::Stop { channel: Villain::channel(Class::Chat, 1024), code: 0 }], "more channels than allowed"),
        (&[Frame::Stop { channel: ChannelId(varint_max()), code: 0 }], "a channel that was never opened"),
        (&[Frame::Stop { channel: ChannelId(varint_max() - 1), code: 0 }], "more channels than allowed"),
        (&[Frame::Chan { channel: mine, offset: window, fin: false, data: b"x" }], "more than the channel's credit"),
        (
            &[Frame::Chan { channel: mine, offset: varint_max(), fin: true, data: b"" }],
            "more than the connection's credit",
        ),
        (&[Frame::Reset { channel: mine, code: 0, final_offset: varint_max() }], "more than the connection's credit"),
        (
            &[
                Frame::Chan { channel: mine, offset: 0, fin: true, data: b"abc" },
                Frame::Chan { channel: mine, offset: 3, fin: false, data: b"d" },
            ],
            "a channel's length changed",
        ),
        (
            &[
                Frame::Chan { channel: mine, offset: 0, fin: true, data: b"abc" },
                Frame::Reset { channel: mine, code: 0, final_offset: 2 },
            ],
            "a channel's length changed",
        ),
        (
            &[
                Frame::Chan { channel: mine, offset: 0, fin: false, data: b"abc" },
                Frame::Chan { channel: mine, offset: 0, fin: true, data: b"ab" },
            ],
            "a channel ends before what it sent",
        ),
    ];
    for (frames, why) in cases {
        let mut villain = Villain::calling(config(1));
        villain.send(EVIL, frames);
        assert_eq!(villain.violation(), Some(why), "{frames:?}");
        assert!(matches!(villain.events.last(), Some(Event::Lost { .. })), "nothing comes after the end");
        villain.run_for(Duration::from_secs(60));
        assert!(villain.victim.is_over());
    }
}

#[test]
fn the_last_channel_allowed_is_allowed_and_credit_may_be_used_to_the_last_byte() {
    let mut villain = Villain::calling(config(1));
    for class in Class::ALL {
        villain.send(EVIL, &[Frame::Stop { channel: Villain::channel(class, 1023), code: 0 }]);
    }
    let mine = Villain::channel(Class::Bulk, 0);
    villain.send(EVIL, &[Frame::Chan { channel: mine, offset: (1 << 20) - 1, fin: false, data: b"x" }]);
    let other = Villain::channel(Class::Bulk, 1);
    villain.send(EVIL, &[Frame::Reset { channel: other, code: 0, final_offset: 1 << 20 }]);
    assert_eq!(villain.violation(), None);
    villain.run_for(Duration::from_secs(1));
}

#[test]
fn acknowledging_what_was_never_sent_is_found_out() {
    let mut villain = Villain::calling(config(1));
    villain.send_bytes(EVIL, &[0x02, 0x80, 0, 0xFF, 0xFF, 0, 0, 0]);
    assert_eq!(villain.violation(), Some("acknowledged what was never sent"));
    // Blindly, whatever was sent: within a few hundred packets there is a number that was left out.
    let mut villain = Villain::calling(config(1));
    for _ in 0..2000 {
        villain.victim.ping(villain.now);
        villain.run_for(30 * MS);
        let largest = villain.victim.live.as_ref().unwrap().numbers.next() - 1;
        let mut body = vec![0x02];
        [largest, 0, 0, largest].iter().for_each(|number| crate::mrt::wire::varint::put(&mut body, *number));
        villain.send_bytes(EVIL, &body);
        if villain.violation().is_some() {
            return;
        }
    }
    panic!("it acknowledged blindly and got away with it");
}

#[test]
fn random_frames_from_a_sealed_peer_never_panic_and_never_spin() {
    use proptest::prelude::*;
    let number = || prop_oneof![0..2000_u64, Just(1 << 20), Just(varint_max()), 0..=varint_max()];
    let byte = prop_oneof![
        Just(0x01_u8),
        Just(2),
        Just(3),
        Just(4),
        Just(5),
        Just(8),
        Just(9),
        Just(10),
        Just(11),
        Just(0x10),
        Just(0x11),
        Just(0x12),
        Just(0x18),
        Just(0x19)
    ];
    let frame = (byte, prop::collection::vec(number(), 1..6), any::<bool>()).prop_map(|(kind, numbers, small)| {
        let mut bytes = vec![kind];
        match kind {
            0x18 | 0x19 => bytes.extend_from_slice(&[7; 8]),
            0x12 => {
                bytes.push((numbers[0] % 4) as u8);
                crate::mrt::wire::varint::put(&mut bytes, numbers[0] % (1 << 59));
            }
            _ => numbers.iter().for_each(|number| {
                crate::mrt::wire::varint::put(&mut bytes, if small { number % 50 } else { *number })
            }),
        }
        bytes
    });
    let packet = (prop::collection::vec(frame, 1..8), 0..4_u16, 0..2000_u64, any::<bool>(), 0..4_u64);
    proptest!(ProptestConfig::with_cases(500), |(packets in prop::collection::vec(packet, 1..30))| {
        let mut villain = Villain::calling(config(1));
        for (frames, port, wait, work, gap) in packets {
            let body = frames.concat();
            // Not a valid packet as a whole: then its valid beginning.
            let good: usize = Frames::new(&body).take_while(Result::is_ok).count();
            let mut valid = Vec::new();
            Frames::new(&body).take(good).for_each(|frame| frame.unwrap().emit(&mut valid));
            let from = if port == 0 { elsewhere(1) } else { EVIL };
            villain.number += gap * gap * gap * 1000;
            villain.send_bytes(from, if valid.is_empty() { &[1] } else { &valid });
            if work {
                if let Ok(channel) = villain.victim.open_channel(Class::Chat) {
                    let _: Result<usize, SendError> = villain.victim.send(channel, &mut Bytes::from(vec![1; 3000]));
                }
                for event in core::mem::take(&mut villain.events) {
                    match event {
                        Event::Readable { channel, .. } => while matches!(villain.victim.receive(villain.now, channel), Ok(Received::Bytes(_))) {},
                        event => villain.events.push(event),
                    }
                }
            }
            villain.run_for(Duration::from_millis(wait));
        }
        villain.run_for(Duration::from_secs(200));
        prop_assert!(villain.victim.is_over());
    });
}
