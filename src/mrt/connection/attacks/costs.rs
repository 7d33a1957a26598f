//! Memory, work, credit and time that a peer takes.

use super::villain::{EVIL, MS, Villain, config};
use crate::mrt::api::{Class, Received, SendError};
use crate::mrt::wire::Frame;
use crate::time::Duration;
use bytes::Bytes;

#[test]
fn a_peer_that_floods_us_with_every_kind_of_frame_makes_us_hold_no_more_than_the_caps() {
    let mut villain = Villain::calling(config(1));
    let channel = villain.victim.open_channel(Class::Bulk).unwrap();
    villain.victim.send(channel, &mut Bytes::from(vec![1; 100_000])).unwrap();
    for round in 0..3000_u64 {
        let token = [round as u8; 8];
        let mut frames = vec![Frame::PathChallenge(token); 30];
        frames.extend([Frame::PathResponse(token); 10]);
        frames.push(Frame::MaxData { limit: round });
        frames.push(Frame::MaxChan { channel, limit: round });
        frames.push(Frame::MaxChans { class: Class::Chat, limit: 1 << 59 });
        frames.push(Frame::Stop { channel: Villain::channel(Class::Request, round % 1024), code: 3 });
        frames.push(Frame::Chan {
            channel: Villain::channel(Class::Bulk, round % 1024),
            offset: round / 8 * 2,
            fin: false,
            data: b"x",
        });
        villain.number += round % 3;
        villain.send(EVIL, &frames);
        villain.now = villain.now + MS;
        villain.drain();
        villain.sent.clear();
    }
    assert_eq!(villain.violation(), None);
    let live = villain.victim.live.as_ref().unwrap();
    assert!(
        live.paths.active.ledger.len() < 2 * crate::mrt::recovery::ledger::MAX_ACK_ONLY,
        "{}",
        live.paths.active.ledger.len()
    );
    assert!(villain.events.len() <= 2 + 1024, "{}", villain.events.len());
    villain.run_for(Duration::from_secs(100));
    assert!(villain.victim.is_over(), "silence ends it");
}

#[test]
fn a_packet_of_credit_frames_costs_no_more_than_a_packet() {
    // Each raises the connection's limit by one byte, with as many channels as there may be.
    let mut villain = Villain::calling(config(1));
    for class in Class::ALL {
        villain.send(EVIL, &[Frame::Stop { channel: Villain::channel(class, 1023), code: 0 }]);
    }
    villain.run_for(Duration::from_secs(1));
    let before = villain.victim.live.as_ref().unwrap().channels.looked_at();
    for packet in 0..10 {
        let frames: Vec<_> = (0..150).map(|step| Frame::MaxData { limit: (1 << 29) + packet * 150 + step }).collect();
        villain.send(EVIL, &frames);
        villain.drain();
    }
    let looked_at = villain.victim.live.as_ref().unwrap().channels.looked_at() - before;
    assert!(looked_at <= 10 * 4096, "{looked_at} channels were looked at");
}

#[test]
fn credit_is_given_back_once_for_every_byte_however_a_channel_ends() {
    // Each channel takes a part of the connection's credit and ends in another way: a byte lost on the way would stop the villain,
    // a byte given back twice would let it go on beyond what the window allows.
    let mut villain = Villain::calling(config(1));
    let piece = vec![7; 1000];
    for index in 0..20_000_u64 {
        let channel = Villain::channel(Class::Bulk, index);
        let (from, far) = (0, 50_000);
        match index % 5 {
            // Read to the end.
            0 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: from, fin: true, data: &piece }]);
                assert!(matches!(villain.victim.receive(villain.now, channel), Ok(Received::Bytes(_))));
                assert_eq!(villain.victim.receive(villain.now, channel), Ok(Received::Finished));
            }
            // A gap, then reset by the villain.
            1 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: false, data: &piece }]);
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far + 2000 }]);
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far + 2000 }]);
                assert!(villain.victim.receive(villain.now, channel).is_err());
            }
            // Given up by us, then more of it, then its end.
            2 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: false, data: &piece }]);
                villain.victim.reset(villain.now, channel, 4).unwrap();
                villain.send(EVIL, &[Frame::Chan { channel, offset: far + 1000, fin: false, data: &piece }]);
                villain.send(EVIL, &[Frame::Chan { channel, offset: 5, fin: false, data: &piece }]);
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far + 2000 }]);
            }
            // Partly read, then given up with its end known.
            3 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: 0, fin: false, data: &piece }]);
                assert!(matches!(villain.victim.receive(villain.now, channel), Ok(Received::Bytes(_))));
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: true, data: &piece }]);
                villain.victim.reset(villain.now, channel, 4).unwrap();
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: true, data: &piece }]);
            }
            // Reset by the villain, then given up before that was read.
            _ => {
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far }]);
                let _: Result<(), SendError> = villain.victim.reset(villain.now, channel, 4);
            }
        }
        villain.send(EVIL, &[Frame::Stop { channel, code: 0 }]);
        assert_eq!(villain.violation(), None, "channel {index}");
        villain.now = villain.now + 50 * MS;
        // Acknowledges all, so that resets are over and channels forgotten: the numbers that were left out excepted.
        villain.acknowledge_all();
        villain.events.clear();
        let channels = &villain.victim.live.as_ref().unwrap().channels;
        assert_eq!(channels.held_back(), 0, "channel {index}");
        assert_eq!(channels.len(), 0, "channel {index}");
    }
}

#[test]
fn a_peer_that_hears_and_never_acknowledges_costs_no_memory_that_grows() {
    let mut villain = Villain::calling(config(1));
    let channel = villain.victim.open_channel(Class::Bulk).unwrap();
    villain.victim.send(channel, &mut Bytes::from(vec![1; 100_000])).unwrap();
    for _ in 0..4000 {
        villain.send(EVIL, &[Frame::Ping]);
        villain.run_for(Duration::from_secs(1));
        villain.sent.clear();
        if villain.victim.is_over() {
            break;
        }
    }
    let held = villain.victim.live.as_ref().map_or(0, |live| live.paths.active.ledger.len());
    assert!(held < 1000 || villain.victim.is_over(), "{held} packets are remembered");
}

#[test]
fn a_round_trip_that_a_peer_made_to_look_like_hours_does_not_keep_its_corpse_for_hours() {
    let mut villain = Villain::calling(config(1));
    villain.victim.ping(villain.now);
    villain.drain();
    let (_, pinged) = villain.sent.last().unwrap().clone();
    for _ in 0..60 {
        villain.now = villain.now + Duration::from_secs(20);
        villain.send(EVIL, &[Frame::Ping]);
    }
    villain.acknowledge(vec![(EVIL, pinged)]);
    assert!(villain.victim.live.as_ref().unwrap().rtt() > Duration::from_secs(60), "it believes it");
    villain.victim.close(villain.now, 0, "");
    villain.run_for(Duration::from_secs(30));
    assert!(villain.victim.is_over());
}
