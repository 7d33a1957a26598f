//! Entry points for fuzzing: whatever bytes they get, they return, or an assertion names what is broken.
//!
//! Decoders are fuzzed with their printers: what parses is emitted again and has to mean the same. Parts with a state are fuzzed
//! as a walk, read from the bytes, beside a model that is too simple to be wrong. Each returns whether the bytes got past the
//! first checks, so that a corpus can be seen to exercise something.

use crate::mrt::channel::{Assembler, SendBuffer};
use crate::mrt::crypto::replay::{ReplayWindow, WINDOW};
use crate::mrt::ranges::RangeSet;
use crate::mrt::wire::clear::{CRC_LEN, RCON_LEN};
use crate::mrt::wire::header::{DATA_HEADER_LEN, RELY_HEADER_LEN};
use crate::mrt::wire::{Clear, DataHeader, Frames, PacketKind, PacketNumber, Reader, RelyHeader};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A datagram as [`Clear::parse`] gets it: as it is, and with the CRC put right, which random bytes never have.
pub fn clear_packet(data: &[u8]) -> bool {
    let mut fixed = data.to_vec();
    if data.first().copied().and_then(PacketKind::of) == Some(PacketKind::Rcon) {
        fixed.resize(RCON_LEN, 0);
    }
    fixed.truncate(fixed.len().saturating_sub(CRC_LEN));
    let crc = crc32fast::hash(&fixed);
    fixed.extend_from_slice(&crc.to_be_bytes());

    let parsed = [data, &fixed].map(|datagram| {
        let Ok(packet) = Clear::parse(datagram) else { return false };
        let mut again = Vec::new();
        packet.emit(&mut again);
        assert_eq!(again, datagram, "{packet}");
        assert_eq!(packet.len(), again.len(), "{packet}");
        true
    });
    parsed.contains(&true)
}

/// A datagram as [`DataHeader::parse`] gets it.
pub fn data_header(data: &[u8]) -> bool {
    let Ok(header) = DataHeader::parse(data) else { return false };
    assert_eq!(data.get(..DATA_HEADER_LEN), Some(&header.to_bytes()[..]), "{header}");
    true
}

/// A datagram as [`RelyHeader::parse`] gets it.
pub fn rely_header(data: &[u8]) -> bool {
    let Ok(header) = RelyHeader::parse(data) else { return false };
    let mut again = Vec::new();
    header.emit(&mut again);
    assert_eq!(data.get(..RELY_HEADER_LEN), Some(again.as_slice()), "{header}");
    true
}

/// An opened payload as [`Frames`] gets it.
pub fn frames(data: &[u8]) -> bool {
    let mut any = false;
    for frame in Frames::new(data) {
        let Ok(frame) = frame else { break };
        any = true;
        let mut again = Vec::new();
        frame.emit(&mut again);
        let mut reread = Frames::new(&again);
        assert_eq!(reread.next(), Some(Ok(frame)), "{frame}");
        assert_eq!(reread.next(), None, "{frame}");
        let mut third = Vec::new();
        frame.emit(&mut third);
        assert_eq!(again, third, "{frame}");
    }
    any
}

/// The low bits of a packet number and the largest number received.
pub fn packet_number(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    let Ok(truncated) = reader.u32() else { return false };
    let number = PacketNumber::expand(truncated, reader.u64().ok().map(PacketNumber));
    assert_eq!(number.truncate(), truncated);
    assert!(number <= PacketNumber::MAX);
    true
}

/// Steps of a replay window, beside a list of all numbers.
pub fn replay_window(data: &[u8]) -> bool {
    let (mut window, mut seen, mut reader) = (ReplayWindow::new(), BTreeSet::new(), Reader::new(data));
    let mut at = 0_u64;
    while let (Ok(back), Ok(step)) = (reader.u8(), reader.varint()) {
        at = if back & 1 == 0 { at.saturating_add(step) } else { at.saturating_sub(step) }.min(PacketNumber::MAX.0);
        let largest = seen.last().copied().unwrap_or(0);
        let fresh = !seen.contains(&at) && at.saturating_add(WINDOW) > largest;
        assert_eq!(window.is_fresh(PacketNumber(at)), fresh, "{at} after {largest}");
        window.record(PacketNumber(at));
        if fresh {
            seen.insert(at);
        }
    }
    !seen.is_empty()
}

/// Insertions and removals, beside a set of numbers.
pub fn ranges(data: &[u8]) -> bool {
    let (mut set, mut model, mut reader) = (RangeSet::new(), BTreeSet::new(), Reader::new(data));
    while let (Ok(start), Ok(len)) = (reader.u8(), reader.u8()) {
        // The lowest bit says what to do, so that the length stays what it looks like.
        let (start, len, insert) = (u64::from(start), u64::from(len >> 1) % 24, len & 1 == 0);
        let range = start..start + len;
        if insert {
            let (grows, before) = (set.would_grow(&range), set.len());
            set.insert(range.clone());
            model.extend(range);
            assert_eq!(set.len() > before, grows);
        } else {
            set.remove(range.clone());
            model.retain(|number| !range.contains(number));
        }
        assert!(set.iter().flatten().eq(model.iter().copied()), "{set:?}");
        assert!(set.iter().zip(set.iter().skip(1)).all(|(one, next)| one.end < next.start), "{set:?}");
    }
    !model.is_empty()
}

/// Pieces and pops of an assembler, beside a map of bytes. Pieces that overlap disagree: the first one counts.
pub fn assembler(data: &[u8]) -> bool {
    const GAPS: usize = 8;
    let (mut assembler, mut model, mut reader) = (Assembler::new(), BTreeMap::new(), Reader::new(data));
    let (mut read, mut steps) = (0_u64, 0_u8);
    while let (Ok(what), Ok(offset), Ok(len)) = (reader.u8(), reader.u16(), reader.u16()) {
        steps = steps.wrapping_add(1);
        let piece = vec![steps; usize::from(len % 2048)];
        let offset = u64::from(offset);
        let held = (assembler.allocated(), assembler.gaps());
        if assembler.insert(offset, &piece, GAPS).is_ok() {
            for at in offset.max(read)..offset + piece.len() as u64 {
                model.entry(at).or_insert(steps);
            }
        } else {
            assert_eq!((assembler.allocated(), assembler.gaps()), held);
        }
        assert!(assembler.gaps() <= GAPS);
        // Offsets end at 2^16 + 2^11: five blocks.
        assert!(assembler.allocated() <= 5 << 14);
        if what & 1 == 0 {
            while let Some(popped) = assembler.pop() {
                assert!(!popped.is_empty());
                for byte in popped {
                    assert_eq!(model.remove(&read), Some(byte), "at {read}");
                    read += 1;
                }
            }
            assert!(!model.contains_key(&read), "{read} is there, and was not popped");
        }
        assert_eq!(assembler.read_offset(), read);
    }
    steps > 0
}

/// Chunks of a send buffer, with losses and acknowledgements of any of them; then all is let through and has to end.
pub fn send_buffer(data: &[u8]) -> bool {
    let (mut buffer, mut reader, mut flying) = (SendBuffer::new(), Reader::new(data), Vec::new());
    while let (Ok(what), Ok(number)) = (reader.u8(), reader.u8()) {
        let size = usize::from(number);
        match what % 4 {
            0 if !buffer.is_finished() => buffer.push(Bytes::from(vec![number; size])),
            0 => buffer.finish(),
            1 => flying.extend(buffer.next(size, buffer.end().saturating_sub(u64::from(what >> 2)))),
            2 if what & 4 == 0 => buffer.finish(),
            _ if flying.is_empty() => {}
            what => {
                let chunk = flying.swap_remove(size % flying.len());
                let range = chunk.offset..chunk.offset + chunk.len as u64;
                if what == 2 {
                    buffer.on_lost(range, chunk.fin);
                } else {
                    buffer.on_acked(range, chunk.fin);
                }
            }
        }
        assert!(buffer.first_unsent() <= buffer.end());
    }
    buffer.finish();
    for chunk in flying.drain(..) {
        buffer.on_lost(chunk.offset..chunk.offset + chunk.len as u64, chunk.fin);
    }
    // Each step delivers something, so there are no more of them than bytes, and one for the end.
    for _ in 0..=buffer.len() {
        let Some(chunk) = buffer.next(usize::MAX, u64::MAX) else { break };
        let mut copied = Vec::new();
        buffer.copy_to(chunk.offset, chunk.len, &mut copied);
        assert_eq!(copied.len(), chunk.len);
        buffer.on_acked(chunk.offset..chunk.offset + chunk.len as u64, chunk.fin);
    }
    assert!(buffer.is_complete(), "{buffer:?}");
    buffer.end() > 0
}
