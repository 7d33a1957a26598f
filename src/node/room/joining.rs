//! Asking to be let in.

use super::admission::NOWHERE;
use super::epoch::{Epoch, RoomId};
use super::message::{Answer, Join, Refusal, RoomMessage, Voucher};
use super::output::{DialFailure, DialNumber, DialTo, Invited, LinkedPeer, RoomOutput};
use super::parts::{Room, Standing};
use crate::node::api::{ErrorCode, Event};
use crate::node::identity::NodeId;
use crate::node::record::{MemberRecord, PROTOCOL_VERSION};
use crate::node::wire;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Redirections that are followed, at most.
const MAX_REDIRECTS: u8 = 4;

/// Members of a ticket that are dialled, at most.
const MAX_HOSTS: usize = 5;

/// A door that says nothing at all for this long is given up: a port of its NAT may have to be guessed first.
const NO_ANSWER: Duration = Duration::from_secs(30);

/// The same for a door of our own room: there are others to try.
const NO_RETURN: Duration = Duration::from_secs(2);

/// Whoever goes back to a supernode with all others of its half waits for a moment of its own, within this for each member.
const SPREAD_EACH: Duration = Duration::from_millis(5);

/// And within this.
const SPREAD: Duration = Duration::from_secs(5);

/// On the way into a room.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    errand: Errand,
    /// Calls on their way, and to whom if that is known.
    pub(super) dials: BTreeMap<DialNumber, Option<NodeId>>,
    /// Whose door we stand at.
    pub(super) host: Option<NodeId>,
    voucher: Option<Voucher>,
    redirects: u8,
    /// The user knows that we stand at this door.
    waiting: bool,
    deadline: Instant,
    /// When to ask again.
    retry: Option<Instant>,
    /// When to set out at all.
    later: Option<Later>,
}

/// A return that waits for its moment.
#[derive(Clone, Debug)]
struct Later {
    at: Instant,
    host: MemberRecord,
    /// The epoch that is to be left. Should another begin before, there is no reason to go.
    epoch: Epoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    Address(SocketAddr),
    Ticket(RoomId),
    /// Back into our own room: nobody is told of failures.
    Return,
    /// Back into the room that our program was in when it ended.
    ComeBack(RoomId),
}

impl Joining {
    /// Whether the user wants to get to that node.
    pub(super) fn is_with(&self, id: NodeId, remote: SocketAddr) -> bool {
        self.is_asked_for() && (self.host == Some(id) || self.errand == Errand::Address(remote))
    }

    /// Whether it is the user's wish (and not a return to our own room).
    pub(super) const fn is_asked_for(&self) -> bool {
        !matches!(self.errand, Errand::Return | Errand::ComeBack(_))
    }

    /// When something is to be done.
    pub(super) fn next(&self) -> Instant {
        let later = self.later.as_ref().map(|later| later.at);
        [self.retry, later].into_iter().flatten().fold(self.deadline, Instant::min)
    }

    /// Whether it waits for its moment.
    pub(super) const fn is_later(&self) -> bool {
        self.later.is_some()
    }
}

impl Room {
    /// `C <ip> <port>`. An earlier `C` that waits for an answer is given up.
    pub fn join_address(&mut self, now: Instant, address: SocketAddr) {
        self.on_wake(now);
        let to = DialTo { addresses: vec![address], id: None, key: None, invitation: None };
        self.begin_joining(now, Errand::Address(address), vec![to]);
    }

    /// `C <ticket>`.
    pub fn join_ticket(&mut self, now: Instant, ticket: Invited) {
        self.on_wake(now);
        if ticket.room == self.view.room {
            return self.error(Some('C'), ErrorCode::Exists, "that ticket is for the room you are in");
        }
        let own = self.id();
        let hosts = ticket.hosts.into_iter().filter(|host| host.id != own).take(MAX_HOSTS);
        let dials: Vec<DialTo> = hosts
            .map(|host| DialTo {
                addresses: host.addresses,
                id: Some(host.id),
                key: Some(host.key),
                invitation: Some((ticket.id, ticket.secret.clone())),
            })
            .collect();
        if dials.is_empty() {
            return self.error(Some('C'), ErrorCode::Unreachable, "the ticket names nobody to ask");
        }
        self.begin_joining(now, Errand::Ticket(ticket.room), dials);
    }

    /// Our program was in that room when it ended without leaving it.
    pub fn was_in(&mut self, room: RoomId) {
        self.was_in = Some(room);
    }

    /// `host` is a member of the room that we were in. Not if the user wants to go elsewhere.
    pub(super) fn come_back(&mut self, now: Instant, host: NodeId, room: RoomId) {
        if self.joining.is_none() {
            self.begin_joining(now, Errand::ComeBack(room), Vec::new());
            self.ask(now, host);
        }
    }

    fn begin_joining(&mut self, now: Instant, errand: Errand, to: Vec<DialTo>) {
        let mut dials = BTreeMap::new();
        for to in to {
            let dial = self.links.next_dial();
            dials.insert(dial, to.id);
            self.outputs.push_back(RoomOutput::Dial { dial, to });
        }
        let deadline = now
            + match errand {
                Errand::Return | Errand::ComeBack(_) => NO_RETURN,
                Errand::Address(_) | Errand::Ticket(_) => NO_ANSWER,
            };
        self.joining = Some(Joining {
            errand,
            dials,
            host: None,
            voucher: None,
            redirects: 0,
            waiting: false,
            deadline,
            retry: None,
            later: None,
        });
    }

    /// Back to a supernode of our own room, with somebody's word if there is one. Not while the user wants to go elsewhere.
    ///
    /// A member is told to go back when all others are, and a thousand at once would be too many for whoever lets them in: each has its own
    /// moment, and follows whom it follows until then.
    pub(super) fn go_back(&mut self, now: Instant, host: &MemberRecord, voucher: Option<Voucher>) {
        if self.joining.is_some() || host.id() == self.id() {
            return;
        }
        if !matches!(self.standing, Standing::Following) {
            return self.set_out(now, host, voucher);
        }
        let at = now + self.own_moment(host.id());
        self.begin_joining(at, Errand::Return, Vec::new());
        if let Some(joining) = &mut self.joining {
            joining.voucher = voucher;
            joining.later = Some(Later { at, host: host.clone(), epoch: self.view.epoch });
        }
    }

    /// How long we wait before we go back to `host`: spread over all members by what nobody can choose again every time, their keys.
    fn own_moment(&self, host: NodeId) -> Duration {
        let members = u32::try_from(self.view.entries.len()).unwrap_or(u32::MAX);
        let span = SPREAD_EACH.saturating_mul(members).min(SPREAD);
        let lot = blake3::hash(&wire::encode(&(self.id(), host, self.view.epoch.counter)));
        let lot = lot.as_bytes().first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let micros = (u128::from(lot) * span.as_micros()) >> 32;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The moment has come to go back.
    fn set_out(&mut self, now: Instant, host: &MemberRecord, voucher: Option<Voucher>) {
        if self.links.contains(host.id()) {
            self.begin_joining(now, Errand::Return, Vec::new());
        } else {
            let (id, key) = (Some(host.id()), Some(host.noise()));
            let to = DialTo { addresses: self.addresses_of(host), id, key, invitation: None };
            self.begin_joining(now, Errand::Return, vec![to]);
        }
        if let Some(joining) = &mut self.joining {
            joining.voucher = voucher;
        }
        if self.links.contains(host.id()) {
            self.ask(now, host.id());
        }
    }

    /// A link came up: perhaps the one we wait for.
    pub(super) fn on_joining_link(&mut self, now: Instant, peer: &LinkedPeer) {
        let id = peer.record.id();
        let Some(joining) = &mut self.joining else { return };
        let Some(dial) = peer.dial else { return };
        if joining.dials.remove(&dial).is_none() || joining.host.is_some() {
            return;
        }
        if joining.is_asked_for() && self.view.contains(id) {
            let words = "that is a node of the room you are in";
            self.joining = None;
            return self.error(Some('C'), ErrorCode::Exists, words);
        }
        if joining.is_asked_for() && self.identity.id() < id && self.door.is_waiting(id) {
            // It asked us first; that we typed C is our consent, and the lower id leads.
            self.joining = None;
            return self.admit_id(now, &id.to_string());
        }
        self.ask(now, id);
    }

    fn ask(&mut self, now: Instant, host: NodeId) {
        let Some(joining) = &mut self.joining else { return };
        joining.host = Some(host);
        joining.retry = None;
        // A ticket names the node that we were sent on to as well: two calls to it may be on their way.
        let others: Vec<DialNumber> =
            joining.dials.iter().filter(|(_, to)| **to == Some(host)).map(|(dial, _)| *dial).collect();
        for dial in others {
            joining.dials.remove(&dial);
            self.outputs.push_back(RoomOutput::GiveUp { dial });
        }
        let room = match joining.errand {
            Errand::Address(_) => None,
            Errand::Ticket(room) | Errand::ComeBack(room) => Some(room),
            Errand::Return => Some(self.view.room),
        };
        let voucher = joining.voucher.clone();
        self.now = now;
        let back = joining.errand == Errand::Return;
        let (epoch, counter) = if back { (Some(self.view.epoch), self.last_counter) } else { (None, 0) };
        let join = Join { version: PROTOCOL_VERSION, record: self.record.clone(), room, voucher, epoch, counter };
        self.send(host, RoomMessage::Join(Box::new(join)));
    }

    /// A door answers.
    pub(super) fn on_answer(&mut self, now: Instant, from: NodeId, answer: Answer) {
        let Some(joining) = &mut self.joining else { return };
        if joining.host != Some(from) {
            return;
        }
        match answer {
            Answer::Waiting => {
                joining.deadline = now + self.config.times.door;
                let told = core::mem::replace(&mut joining.waiting, true);
                if let Some(host) = self.links.get(from).filter(|_| !told) {
                    let (name, addr) = (host.record.facts.name.clone(), host.remote.unwrap_or(NOWHERE));
                    self.event(Event::Waiting { id: from, name, addr });
                }
            }
            Answer::Busy => joining.retry = Some(now + self.config.times.retry),
            Answer::Refused(refusal) => {
                let asked_for = joining.is_asked_for();
                self.joining = None;
                if asked_for {
                    self.error(Some('C'), ErrorCode::Refused, refusal_words(refusal));
                }
            }
            Answer::Redirect(record, voucher) => {
                if record.verify().is_err() || joining.redirects >= MAX_REDIRECTS || record.id() == self.identity.id() {
                    return self.fail_joining(ErrorCode::Unreachable, "the room's supernode could not be found");
                }
                joining.redirects += 1;
                joining.voucher = Some(*voucher);
                joining.host = None;
                joining.waiting = false;
                joining.deadline = now + NO_ANSWER;
                let id = record.id();
                if self.links.contains(id) {
                    return self.ask(now, id);
                }
                let dial = self.links.next_dial();
                if let Some(joining) = &mut self.joining {
                    joining.dials.insert(dial, Some(id));
                }
                let (addresses, key) = (self.addresses_told_by(from, &record), Some(record.noise()));
                let to = DialTo { addresses, id: Some(id), key, invitation: None };
                self.outputs.push_back(RoomOutput::Dial { dial, to });
            }
        }
    }

    /// A dial for it came to nothing.
    pub(super) fn on_joining_dial_failed(&mut self, dial: DialNumber, why: DialFailure, words: &str) {
        let Some(joining) = &mut self.joining else { return };
        if joining.dials.remove(&dial).is_some() && joining.dials.is_empty() && joining.host.is_none() {
            self.fail_joining(ErrorCode::Unreachable, &failure_words(why, words));
        }
    }

    /// The link to the door is down.
    pub(super) fn on_joining_link_down(&mut self, id: NodeId) {
        if self.joining.as_ref().is_some_and(|joining| joining.host == Some(id)) {
            self.fail_joining(ErrorCode::Unreachable, "the connection was lost before they let you in: try again");
        }
    }

    /// Gives up, or asks again.
    pub(super) fn tick_joining(&mut self, now: Instant) {
        let Some(joining) = &mut self.joining else { return };
        if let Some(later) = joining.later.take_if(|later| now >= later.at) {
            let voucher = joining.voucher.take();
            self.joining = None;
            if later.epoch == self.view.epoch && matches!(self.standing, Standing::Following) {
                self.set_out(now, &later.host, voucher);
            }
            return;
        }
        if now >= joining.deadline {
            return self.fail_joining(ErrorCode::Timeout, "they did not let you in in time");
        }
        if joining.retry.is_some_and(|retry| now >= retry)
            && let Some(host) = joining.host
        {
            self.ask(now, host);
        }
    }

    fn fail_joining(&mut self, code: ErrorCode, words: &str) {
        if self.joining.take().is_some_and(|joining| joining.is_asked_for()) {
            self.error(Some('C'), code, words);
        }
    }

    /// Whether a welcome from `from` is expected, and if it is to a room that is new to us.
    pub(super) fn expects_welcome(&self, from: NodeId, room: RoomId) -> bool {
        self.joining.as_ref().is_some_and(|joining| {
            joining.host == Some(from)
                && match joining.errand {
                    Errand::Address(_) => true,
                    Errand::Ticket(asked) | Errand::ComeBack(asked) => asked == room,
                    Errand::Return => room == self.view.room,
                }
        })
    }
}

/// What a person is told of a failed dial. `words` may come from the other side.
fn failure_words(why: DialFailure, words: &str) -> String {
    let told = match why {
        DialFailure::NoAnswer => {
            "nobody answers there: check address and port, that they typed A with yours, and that their program speaks what yours does"
        }
        DialFailure::NoUdp => {
            "nobody answers, neither there nor any STUN server: UDP seems not to get out of this network; ask whoever runs its firewall, or try another one"
        }
        DialFailure::Refused => "nobody listens there: check address and port",
        DialFailure::WrongPeer => "somebody else answers there: ask for a new ticket (I)",
        DialFailure::BadAddress => "that is no address of another node",
        DialFailure::Rejected if words.is_empty() => "the connection was made and lost again: try again",
        DialFailure::Rejected => return format!("the connection was made and closed again: {words}"),
    };
    told.to_owned()
}

fn refusal_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Version(theirs) if theirs > PROTOCOL_VERSION => {
            "their program is newer and speaks another protocol: update"
        }
        Refusal::Version(_) => "their program is older and speaks another protocol: they need to update",
        Refusal::InvitationUsed => "somebody else used that invitation: ask for a new ticket (I)",
        Refusal::InvitationUnknown => "that invitation expired or is unknown there: ask for a new ticket (I)",
        Refusal::WrongRoom => "they are in another room by now",
        Refusal::Full => "the room is full",
        Refusal::Crowded => "too many are waiting at that door: try again later",
        Refusal::Malformed => "they did not accept our request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_closed_connection_reach_the_person_and_silence_has_words_too() {
        let words = "version 9 of the protocol is spoken there, 1 here";
        assert!(failure_words(DialFailure::Rejected, words).ends_with(words));
        for why in [
            DialFailure::NoAnswer,
            DialFailure::NoUdp,
            DialFailure::Refused,
            DialFailure::WrongPeer,
            DialFailure::BadAddress,
            DialFailure::Rejected,
        ] {
            assert!(!failure_words(why, "").ends_with(": "), "{why:?}");
        }
    }
}
