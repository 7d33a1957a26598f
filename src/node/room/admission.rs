//! Letting people in: the door's answers, the supernode's welcome.

use super::door::{Asked, Decision};
use super::message::{Answer, InvitationState, Join, Refusal, RoomMessage, Voucher, VoucherFacts};
use super::output::{Invitation, RoomOutput};
use super::parts::{Room, Standing, VIEW_COST};
use super::plant::{Plant, planted};
use super::sequencer::Follower;
use super::takeover::MAX_EPOCHS_SKIPPED;
use super::view::{Entry, MAX_COUNTER, MAX_MEMBERS, Reason};
use crate::mrt::{SecretId, SharedSecret};
use crate::node::api::{ErrorCode, Event};
use crate::node::identity::NodeId;
use crate::node::record::{MemberRecord, PROTOCOL_VERSION};
use crate::time::Instant;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Characters of an id that must be typed at least.
pub(super) const MIN_ID_PREFIX: usize = 4;

/// Where somebody is whose packets another member passes on.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A voucher is good for this many epochs after the one it was given in.
const VOUCHER_EPOCHS: u64 = 2;

impl Room {
    /// `A <ip> <port>`.
    pub fn admit_address(&mut self, now: Instant, address: SocketAddr) {
        self.on_wake(now);
        let (opened, waiting) = self.door.open_window(now, address, now + self.config.times.door);
        if !opened {
            return self.error(Some('A'), ErrorCode::NotAllowed, "16 windows are open already: wait until one closes");
        }
        self.outputs.push_back(RoomOutput::Punch { to: address });
        match waiting {
            Some(asked) => self.let_in(now, &asked),
            None => {
                let seconds = self.config.times.door.as_secs();
                self.event(Event::Admitting { addr: Some(address), id: None, seconds });
            }
        }
    }

    /// `A <id>`: the id that `asked`, or an unambiguous beginning of it.
    pub fn admit_id(&mut self, now: Instant, prefix: &str) {
        self.on_wake(now);
        if prefix.len() < MIN_ID_PREFIX {
            return self.error(Some('A'), ErrorCode::Usage, "type at least four characters of the id: A <id>");
        }
        match self.door.waiting(now, &prefix.to_lowercase()).as_slice() {
            [] => self.error(Some('A'), ErrorCode::NotFound, "nobody asked under that id"),
            [asked] => self.let_in(now, asked),
            _ => {
                self.error(Some('A'), ErrorCode::Ambiguous, "several asked whose id begins like that: type more of it")
            }
        }
    }

    fn let_in(&mut self, now: Instant, asked: &Asked) {
        let id = asked.record.id();
        self.door.give_pass(id, now + self.config.times.door);
        if self.links.contains(id) {
            self.open_door(now, &asked.record, None);
        } else {
            let seconds = self.config.times.door.as_secs();
            self.event(Event::Admitting { addr: None, id: Some(id), seconds });
        }
    }

    /// `I`: an invitation for one person. `None`: an error event says why.
    pub fn invite(&mut self, now: Instant) -> Option<Invitation> {
        self.on_wake(now);
        let (mut id, mut secret) = ([0; 16], [0; 32]);
        self.dice.fill(&mut id);
        self.dice.fill(&mut secret);
        let lifetime = self.config.times.invitation;
        let remaining_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let state = InvitationState { id, secret, by: self.id(), remaining_ms, used_by: None };
        if !self.learn_invitation(now, state.clone()) {
            let words = "too many invitations are open: wait until one is used or expires";
            self.error(Some('I'), ErrorCode::NotAllowed, words);
            return None;
        }
        match self.standing {
            Standing::Leading(_) => self.view_changed(now),
            Standing::Following => self.send(self.view.epoch.supernode, RoomMessage::Invite(state)),
            // The next supernode is told when there is one.
            _ => {}
        }
        let others = self.view.entries.iter().map(|entry| &entry.record).filter(|record| record.id() != self.id());
        let members = std::iter::once(&self.record).chain(others.take(4)).cloned().collect();
        Some(Invitation { room: self.view.room, id: SecretId(id), secret: SharedSecret(secret), lifetime, members })
    }

    /// An invitation is known from here on; `false` if it was, or there are too many.
    pub(super) fn learn_invitation(&mut self, now: Instant, state: InvitationState) -> bool {
        if let (Some(one), Some(other)) = (self.door.used_by(state.id), state.used_by)
            && one != other
            && self.disputed.insert(state.id)
        {
            let by = state.by;
            self.alert(
                "invitation",
                format!("{one} and {other} both came in by one invitation of {by}, while the room was split"),
            );
        }
        let (id, secret) = (SecretId(state.id), SharedSecret(state.secret));
        let new = self.door.add_invitation(now, state, self.config.times.invitation);
        if new {
            self.outputs.push_back(RoomOutput::AddSecret { id, secret });
        }
        new
    }

    /// Supernode: a member invited someone.
    pub(super) fn on_invite(&mut self, now: Instant, from: NodeId, state: InvitationState) {
        if matches!(self.standing, Standing::Leading(_))
            && self.view.contains(from)
            && state.by == from
            && state.used_by.is_none()
            && self.may_ask(from, VIEW_COST)
            && self.learn_invitation(now, state)
        {
            self.view_changed(now);
        }
    }

    /// Somebody asks to be let in.
    pub(super) fn on_join(&mut self, now: Instant, from: NodeId, join: Join) {
        if !self.may_ask(from, VIEW_COST) {
            return self.send(from, RoomMessage::Answer(Answer::Busy));
        }
        if join.version != PROTOCOL_VERSION {
            return self.refuse(from, Refusal::Version(PROTOCOL_VERSION));
        }
        if join.record.id() != from || join.record.verify().is_err() {
            return self.refuse(from, Refusal::Malformed);
        }
        if join.room.is_some_and(|room| room != self.view.room) {
            return self.refuse(from, Refusal::WrongRoom);
        }
        if join.room == Some(self.view.room) && self.knows(from) {
            return self.on_return(now, from, join);
        }
        let Some(link) = self.links.get(from) else { return };
        let (remote, secret) = (link.remote.unwrap_or(NOWHERE), link.secret);
        if let Some(joining) = &self.joining
            && joining.is_with(from, remote)
        {
            // Both typed C at each other: that is consent on either side, and the lower id leads.
            if self.id() < from {
                self.joining = None;
                self.door.give_pass(from, now + self.config.times.door);
                self.open_door(now, &join.record, None);
            }
            return;
        }
        if let Some(voucher) = &join.voucher {
            return match self.check_voucher(now, voucher, from) {
                Ok(()) => {
                    if self.raise_above(now, &join) {
                        self.open_door(now, &join.record, voucher.facts.invitation);
                    }
                }
                Err(refusal) => self.refuse(from, refusal),
            };
        }
        let always = self.config.open || (self.config.local && remote.ip().to_canonical().is_loopback());
        match self.door.decide(now, &join.record, remote, secret, always, self.config.times.door) {
            Decision::Admit(invitation) => self.open_door(now, &join.record, invitation),
            Decision::Refuse(refusal) => self.refuse(from, refusal),
            Decision::Ask(first) => {
                if first {
                    let name = join.record.facts.name.clone();
                    self.event(Event::Asked { addr: remote, id: from, name });
                }
                self.send(from, RoomMessage::Answer(Answer::Waiting));
            }
        }
    }

    /// A member that was lost, or lost us, comes back.
    fn on_return(&mut self, now: Instant, from: NodeId, join: Join) {
        match self.standing {
            Standing::Leading(_) => {
                let crossing = self.joining.as_ref().is_some_and(|joining| joining.host == Some(from));
                if crossing && self.id() > from {
                    return;
                }
                if crossing {
                    self.joining = None;
                }
                if self.raise_above(now, &join) {
                    self.admit(now, join.record);
                }
            }
            Standing::Following => self.open_door(now, &join.record, None),
            _ => self.say_hello(from),
        }
    }

    /// Supernode: whoever comes from another epoch of this room finds a higher one here than any it gave its word to. So an epoch never
    /// falls for anyone, and nobody follows two supernodes under one counter. The first who comes over raises it for all that follow.
    /// `false`: not by so much.
    fn raise_above(&mut self, now: Instant, join: &Join) -> bool {
        let ours = self.view.epoch;
        if planted(Plant::EpochStays)
            || !self.is_supernode()
            || join.epoch.is_none_or(|theirs| theirs == ours)
            || join.counter < ours.counter
        {
            return true;
        }
        let id = join.record.id();
        if join.counter - ours.counter > MAX_EPOCHS_SKIPPED || join.counter >= MAX_COUNTER {
            self.alert("forged", format!("{id} wants the epoch to be {}, and it is {}", join.counter, ours.counter));
            self.refuse(id, Refusal::Malformed);
            return false;
        }
        self.flush_due_view(now);
        self.last_counter = self.last_counter.max(join.counter);
        let next = self.next_epoch();
        let members = self.sequencer.followers.keys().copied().collect();
        self.lead(now, next, Reason::Merged, &members, None);
        true
    }

    /// The decision is made: let in, or send to the supernode with our word.
    fn open_door(&mut self, now: Instant, record: &MemberRecord, invitation: Option<[u8; 16]>) {
        let id = record.id();
        match self.standing {
            Standing::Leading(_) => {
                if let Some(invitation) = invitation {
                    if let Err(refusal) = self.door.check_invitation(now, invitation, id) {
                        return self.refuse(id, refusal);
                    }
                    self.door.use_invitation(invitation, id);
                }
                self.admit(now, record.clone());
            }
            Standing::Following => {
                let supernode = self.view.epoch.supernode;
                let Some(host) = self.view.record(supernode).cloned() else { return };
                let facts = VoucherFacts {
                    room: self.view.room,
                    counter: self.view.epoch.counter,
                    joiner: id,
                    member: self.id(),
                    invitation,
                };
                let voucher = Voucher::sign(&self.identity, facts);
                // A pass stays: should the joiner have to come back, it is not asked about again.
                self.door.give_pass(id, now + self.config.times.door);
                self.send(id, RoomMessage::Answer(Answer::Redirect(Box::new(host), Box::new(voucher))));
            }
            _ => {
                self.door.give_pass(id, now + self.config.times.door);
                self.send(id, RoomMessage::Answer(Answer::Busy));
            }
        }
    }

    fn check_voucher(&self, now: Instant, voucher: &Voucher, joiner: NodeId) -> Result<(), Refusal> {
        let facts = &voucher.facts;
        let current =
            facts.counter <= self.view.epoch.counter && self.view.epoch.counter - facts.counter <= VOUCHER_EPOCHS;
        if facts.room != self.view.room || facts.joiner != joiner || !self.knows(facts.member) || !current {
            return Err(Refusal::Malformed);
        }
        if !voucher.verify() {
            return Err(Refusal::Malformed);
        }
        facts.invitation.map_or(Ok(()), |invitation| self.door.check_invitation(now, invitation, joiner))
    }

    /// Supernode: notes from where a member is heard. Whether that is another address than before.
    pub(super) fn note_seen(&mut self, id: NodeId) -> bool {
        let Some(seen) = self.links.get(id).map(|link| link.remote.map(|remote| remote.ip().to_canonical())) else {
            return false;
        };
        let Some(entry) = self.view.entries.iter_mut().find(|entry| entry.record.id() == id) else { return false };
        let before = core::mem::replace(&mut entry.seen, seen);
        before != seen
    }

    /// A supernode that lies about where it hears a member.
    #[cfg(test)]
    pub(in crate::node) fn claim_to_hear(&mut self, now: Instant, id: NodeId, at: std::net::IpAddr) {
        let entry = self.view.entries.iter_mut().find(|entry| entry.record.id() == id);
        entry.expect("a member").seen = Some(at);
        self.view_changed(now);
    }

    fn refuse(&mut self, id: NodeId, refusal: Refusal) {
        self.send(id, RoomMessage::Answer(Answer::Refused(refusal)));
        if !self.knows(id) {
            self.outputs.push_back(RoomOutput::Drop { id });
        }
    }

    /// Supernode: takes a lost member back under the record it had.
    pub(super) fn readmit(&mut self, now: Instant, id: NodeId) {
        let record = self.former.record(id).or_else(|| self.view.record(id)).cloned();
        if let Some(record) = record {
            self.admit(now, record);
        }
    }

    /// Supernode: makes `record`'s node a member. It is welcomed when the others hear of it.
    pub(super) fn admit(&mut self, now: Instant, record: MemberRecord) {
        let id = record.id();
        if id == self.id() {
            return;
        }
        self.door.forget(id);
        self.former.remove(id);
        self.note_survival(&record);
        self.sequencer.followers.insert(id, Follower::new(now));
        if let Some(entry) = self.view.entries.iter_mut().find(|entry| entry.record.id() == id) {
            if record.facts.sequence >= entry.record.facts.sequence {
                entry.record = record;
            }
        } else if self.view.entries.len() >= MAX_MEMBERS {
            self.sequencer.followers.remove(&id);
            return self.refuse(id, Refusal::Full);
        } else {
            self.view.admitted = self.view.admitted.saturating_add(1);
            let rank = self.rank_of(now, &record, self.view.admitted);
            self.view.entries.push(Entry { record, rank, seen: None });
        }
        self.sequencer.followers.remove(&id);
        self.note_seen(id);
        self.published.welcome(id);
        self.view_changed(now);
    }
}
