//! The receiving half of a channel.
//!
//! ```text
//!   Open ──the application read to the end──► Done
//!     ├──the other side's reset──► Broken ──the application was told──► Done
//!     └──given up here──► Discarding ──the stream's length is known and came or was counted──► Done
//! ```
//!
//! Credit of the connection is spent by the other side for every byte up to the stream's final length, so every byte has to be
//! given back exactly once, read or not.

use crate::mrt::api::{ReceiveError, Received};
use crate::mrt::channel::assembler::{Assembler, max_gaps};
use crate::mrt::channel::credit::ReceiveCredit;

/// Where the receiving half is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiveState {
    Open,
    Broken(u32),
    Discarding(u32),
    Done,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room for one more gap now: to be treated as lost.
    NoRoom,
    /// The other side broke the protocol.
    Violation(&'static str),
}

/// What a frame changed, for the connection's credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Bytes by which the stream's highest known offset rose.
    pub(crate) newly: u64,
    /// Bytes that nobody will read, to be given back at once.
    pub(crate) discarded: u64,
    /// Whether `receive` has something to say that it had not before.
    pub(crate) news: bool,
}

/// The receiving half of a channel.
#[derive(Debug)]
pub(crate) struct Receiving {
    state: ReceiveState,
    assembler: Assembler,
    pub(crate) credit: ReceiveCredit,
    /// The stream's length, once the other side told it.
    length: Option<u64>,
    /// Bytes given back to the connection: read or discarded.
    returned: u64,
    /// A `Readable` was given and not answered by `Nothing` yet.
    announced: bool,
}

impl Receiving {
    pub(crate) fn new(initial_window: u64, max_window: u64) -> Self {
        Self {
            state: ReceiveState::Open,
            assembler: Assembler::new(),
            credit: ReceiveCredit::new(initial_window, max_window),
            length: None,
            returned: 0,
            announced: false,
        }
    }

    /// Bytes `offset..` came, `fin`: the last ones.
    pub(crate) fn on_data(&mut self, offset: u64, data: &[u8], fin: bool) -> Result<Arrived, Refused> {
        let end = offset.checked_add(data.len() as u64).ok_or(Refused::Violation("an offset beyond all"))?;
        self.check_length(end, fin)?;
        self.check_credit(end)?;
        match self.state {
            ReceiveState::Open => {
                let before = self.assembler.contiguous_end();
                let gaps = max_gaps(self.credit.window());
                self.assembler.insert(offset, data, gaps).map_err(|_| Refused::NoRoom)?;
                let had_end = self.length.is_some();
                let newly = self.settle(end, fin);
                let news = self.assembler.contiguous_end() > before || (self.length.is_some() && !had_end);
                Ok(Arrived { newly, discarded: 0, news: self.announce(news) })
            }
            ReceiveState::Discarding(_) => {
                let newly = self.settle(end, fin);
                Ok(Arrived { newly, discarded: self.discard(), news: false })
            }
            ReceiveState::Broken(_) | ReceiveState::Done => Ok(Arrived::default()),
        }
    }

    /// The other side gave up after `length` bytes.
    pub(crate) fn on_reset(&mut self, code: u32, length: u64) -> Result<Arrived, Refused> {
        self.check_length(length, true)?;
        self.check_credit(length)?;
        match self.state {
            ReceiveState::Open | ReceiveState::Discarding(_) => {
                let newly = self.settle(length, true);
                let broken = self.state == ReceiveState::Open;
                self.assembler = Assembler::new();
                let discarded = self.discard();
                if broken {
                    self.state = ReceiveState::Broken(code);
                }
                Ok(Arrived { newly, discarded, news: self.announce(broken) })
            }
            ReceiveState::Broken(_) | ReceiveState::Done => Ok(Arrived::default()),
        }
    }

    /// What the application gets next.
    pub(crate) fn receive(&mut self) -> Result<Received, ReceiveError> {
        match self.state {
            ReceiveState::Open => {
                if let Some(bytes) = self.assembler.pop() {
                    self.returned += bytes.len() as u64;
                    return Ok(Received::Bytes(bytes));
                }
                if self.length == Some(self.returned) {
                    self.state = ReceiveState::Done;
                    return Ok(Received::Finished);
                }
                self.announced = false;
                Ok(Received::Nothing)
            }
            ReceiveState::Broken(code) => {
                self.state = ReceiveState::Done;
                Err(ReceiveError::Reset(code))
            }
            ReceiveState::Discarding(_) | ReceiveState::Done => Err(ReceiveError::ChannelClosed),
        }
    }

    /// The application wants no more. Returns (whether the other side has to be asked to stop, bytes to give back).
    pub(crate) fn give_up(&mut self, code: u32) -> (bool, u64) {
        match self.state {
            ReceiveState::Open => {
                self.assembler = Assembler::new();
                self.state = ReceiveState::Discarding(code);
                let ask = self.length.is_none();
                (ask, self.discard())
            }
            ReceiveState::Broken(_) => {
                self.state = ReceiveState::Done;
                (false, 0)
            }
            ReceiveState::Discarding(_) | ReceiveState::Done => (false, 0),
        }
    }

    /// Whether more credit is still of use to the other side.
    pub(crate) const fn wants_credit(&self) -> bool {
        matches!(self.state, ReceiveState::Open) && self.length.is_none()
    }

    /// The code to tell the other side to stop with, if that is still of use.
    pub(crate) const fn stop_code(&self) -> Option<u32> {
        match self.state {
            ReceiveState::Discarding(code) => Some(code),
            ReceiveState::Open | ReceiveState::Broken(_) | ReceiveState::Done => None,
        }
    }

    /// Highest offset heard of.
    pub(crate) const fn highest(&self) -> u64 {
        self.credit.highest()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == ReceiveState::Done
    }

    fn check_length(&self, end: u64, fin: bool) -> Result<(), Refused> {
        match self.length {
            Some(length) if end > length || (fin && end != length) => {
                Err(Refused::Violation("a channel's length changed"))
            }
            None if fin && end < self.highest() => Err(Refused::Violation("a channel ends before what it sent")),
            _ => Ok(()),
        }
    }

    const fn check_credit(&self, end: u64) -> Result<(), Refused> {
        if end > self.credit.limit() { Err(Refused::Violation("more than the channel's credit")) } else { Ok(()) }
    }

    /// Notes what is known of the stream's length. The credit was checked.
    fn settle(&mut self, end: u64, fin: bool) -> u64 {
        let newly = self.credit.on_received(end).unwrap_or(0);
        if fin {
            self.length = Some(end);
        }
        newly
    }

    fn discard(&mut self) -> u64 {
        let discarded = self.highest() - self.returned;
        self.returned = self.highest();
        if self.length == Some(self.highest()) {
            self.state = ReceiveState::Done;
        }
        discarded
    }

    fn announce(&mut self, news: bool) -> bool {
        let first = news && !self.announced;
        self.announced |= news;
        first
    }
}
