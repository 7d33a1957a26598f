//! The sending half of a channel.
//!
//! ```text
//!   Open ──finish──► Finished ──all acknowledged──► Done
//!     └──────reset / the other side's stop──► Reset ──acknowledged──► Done
//! ```

use crate::mrt::api::SendError;
use crate::mrt::channel::credit::SendCredit;
use crate::mrt::channel::send_buffer::SendBuffer;
use bytes::Bytes;
use core::ops::Range;

/// Where the sending half is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    /// Takes bytes.
    Open,
    /// Takes no more; what it has is delivered.
    Finished,
    /// Given up with this code; the other side does not know for sure yet.
    Reset(u32),
    /// The other side has everything, or knows that it will not.
    Done,
}

/// The sending half of a channel.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) state: SendState,
    pub(crate) buffer: SendBuffer,
    pub(crate) credit: SendCredit,
    /// The code of the other side's stop, if it sent one.
    stopped: Option<u32>,
    /// `send` took less than it was given; a `Writable` is owed.
    wants_room: bool,
    /// Whether the channel stands in its class's queue of those with something to send.
    pub(crate) queued: bool,
}

impl Sending {
    pub(crate) fn new(credit: u64) -> Self {
        Self {
            state: SendState::Open,
            buffer: SendBuffer::new(),
            credit: SendCredit::new(credit),
            stopped: None,
            wants_room: false,
            queued: false,
        }
    }

    /// Takes what fits into a buffer of `capacity` bytes from the front of `data`.
    pub(crate) fn push(&mut self, data: &mut Bytes, capacity: usize) -> Result<usize, SendError> {
        match (self.state, self.stopped) {
            (SendState::Open, None) => {}
            (_, Some(code)) => return Err(SendError::Stopped(code)),
            _ => return Err(SendError::ChannelClosed),
        }
        let taken = capacity.saturating_sub(self.buffer.len()).min(data.len());
        if taken < data.len() {
            self.wants_room = true;
        }
        if taken > 0 {
            self.buffer.push(data.split_to(taken));
        }
        Ok(taken)
    }

    pub(crate) fn finish(&mut self) -> Result<(), SendError> {
        match self.state {
            SendState::Open => {
                self.state = SendState::Finished;
                self.buffer.finish();
                Ok(())
            }
            SendState::Finished => Ok(()),
            SendState::Reset(_) | SendState::Done => Err(SendError::ChannelClosed),
        }
    }

    /// Gives up. Returns whether the other side has to be told.
    pub(crate) fn reset(&mut self, code: u32) -> bool {
        let tell = matches!(self.state, SendState::Open | SendState::Finished);
        if tell {
            self.state = SendState::Reset(code);
            // The channel stays until the other side has heard of it and said its part, which it may never do.
            self.buffer.abandon();
        }
        tell
    }

    /// The other side wants no more. Returns whether it has to be told where the stream ended.
    pub(crate) fn on_stop(&mut self, code: u32) -> bool {
        self.stopped.get_or_insert(code);
        self.reset(code)
    }

    /// The other side got this range (and the end of the stream, with `fin`).
    /// Returns how many of the bytes are news.
    pub(crate) fn on_acked(&mut self, range: Range<u64>, fin: bool) -> u64 {
        if !self.is_live() {
            return 0;
        }
        let newly = self.buffer.on_acked(range, fin);
        if self.buffer.is_complete() {
            self.state = SendState::Done;
        }
        newly
    }

    /// They were lost on the way.
    pub(crate) fn on_lost(&mut self, range: Range<u64>, fin: bool) {
        if self.is_live() {
            self.buffer.on_lost(range, fin);
        }
    }

    pub(crate) fn on_reset_acked(&mut self) {
        if matches!(self.state, SendState::Reset(_)) {
            self.state = SendState::Done;
        }
    }

    /// Whether a `Writable` is due: room was wanted, and half of `capacity` is free.
    pub(crate) fn take_writable(&mut self, capacity: usize) -> bool {
        let room = self.is_live() && self.buffer.len() <= capacity / 2;
        let due = self.wants_room && (room || self.stopped.is_some());
        if due {
            self.wants_room = false;
        }
        due
    }

    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.state, SendState::Open | SendState::Finished)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == SendState::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_holds_no_bytes_and_knows_where_it_stopped() {
        for stopped in [false, true] {
            let mut sending = Sending::new(1 << 20);
            sending.push(&mut Bytes::from(vec![1; 5000]), 4000).unwrap();
            sending.buffer.next(1000, 1 << 20).unwrap();
            assert!(if stopped { sending.on_stop(3) } else { sending.reset(3) });
            assert_eq!((sending.buffer.len(), sending.buffer.first_unsent(), sending.buffer.end()), (0, 1000, 1000));
            assert_eq!(sending.take_writable(4000), stopped, "nobody is told to go on who gave up himself");
            sending.on_lost(0..1000, false);
            assert_eq!(sending.on_acked(0..1000, false), 0);
            sending.on_reset_acked();
            assert!(sending.is_done());
        }
    }
}
