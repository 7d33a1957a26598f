//! What is to be sent, and whose turn it is.

use super::{Channels, DataSent};
use crate::mrt::api::Class;
use crate::mrt::channel::control::Control;
use crate::mrt::channel::sending::SendState;
use crate::mrt::wire::frame::{self, Frame};

impl Channels {
    /// Whether there is anything to send, if the network allows.
    pub(crate) fn has_pending(&self) -> bool {
        !self.due.is_empty() || self.turns.iter().any(|queue| !queue.is_empty())
    }

    /// Writes control frames that are due while they fit below `limit` bytes of `buffer`.
    pub(crate) fn emit_control(&mut self, buffer: &mut Vec<u8>, limit: usize, mut sent: impl FnMut(Control)) {
        while let Some(&control) = self.due.first() {
            let before = buffer.len();
            if let Some(frame) = self.control_frame(control) {
                frame.emit(buffer);
                if buffer.len() > limit {
                    buffer.truncate(before);
                    return;
                }
                sent(control);
            }
            self.due.remove(&control);
        }
    }

    /// Writes channel data while it fits below `limit` bytes of `buffer`: the most urgent class first, channels of a class in turn.
    pub(crate) fn emit_data(&mut self, buffer: &mut Vec<u8>, limit: usize, mut sent: impl FnMut(DataSent)) {
        for (class, turns) in Class::ALL.into_iter().zip(&mut self.turns) {
            let reserve = if class == Class::Bulk { self.reserve } else { 0 };
            while let Some(&id) = turns.front() {
                let room = limit.saturating_sub(buffer.len());
                let Some(channel) = self.channels.get_mut(&id) else {
                    turns.pop_front();
                    continue;
                };
                let sending = &mut channel.sending;
                let first_unsent = sending.buffer.first_unsent();
                let available = self.send_credit.available().saturating_sub(reserve);
                let credit = sending.credit.limit().min(first_unsent.saturating_add(available));
                if !sending.is_live() || !sending.buffer.has_pending(credit) {
                    self.starved |= sending.is_live() && sending.buffer.has_pending(sending.credit.limit());
                    sending.queued = false;
                    turns.pop_front();
                    continue;
                }
                let header = frame::chan_header_len(id, first_unsent, room);
                if room <= header {
                    return;
                }
                let Some(chunk) = sending.buffer.next(room - header, credit) else {
                    sending.queued = false;
                    turns.pop_front();
                    continue;
                };
                frame::put_chan_header(buffer, id, chunk.offset, chunk.len, chunk.fin);
                sending.buffer.copy_to(chunk.offset, chunk.len, buffer);
                let end = chunk.offset + chunk.len as u64;
                if end > first_unsent {
                    self.send_credit.on_sent(end - first_unsent);
                    sending.credit.on_sent(end - first_unsent);
                }
                sent(DataSent { channel: id, start: chunk.offset, end, fin: chunk.fin });
                // One packet's worth a turn, so that channels of a class share.
                turns.rotate_left(1);
            }
        }
    }

    fn control_frame(&mut self, control: Control) -> Option<Frame<'static>> {
        match control {
            Control::Ping => Some(Frame::Ping),
            Control::ConnectionCredit => Some(Frame::MaxData { limit: self.receive_credit.limit() }),
            Control::Channels(class) => Some(Frame::MaxChans { class, limit: self.counts_mut(class).granted }),
            Control::Reset(id) => match self.channels.get(&id)?.sending.state {
                SendState::Reset(code) => Some(Frame::Reset {
                    channel: id,
                    code,
                    final_offset: self.channels.get(&id)?.sending.buffer.first_unsent(),
                }),
                SendState::Open | SendState::Finished | SendState::Done => None,
            },
            Control::Stop(id) => {
                let code = self.channels.get(&id)?.receiving.stop_code()?;
                Some(Frame::Stop { channel: id, code })
            }
            Control::ChannelCredit(id) => {
                let receiving = &self.channels.get(&id)?.receiving;
                receiving.wants_credit().then(|| Frame::MaxChan { channel: id, limit: receiving.credit.limit() })
            }
        }
    }
}
