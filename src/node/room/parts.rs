//! The room as its parts, and the verbs over all of them.

use super::author::Outbox;
use super::bucket::Bucket;
use super::comparing::Comparing;
use super::config::RoomConfig;
use super::crashes::Crashes;
use super::delivery::Delivery;
use super::detector::Detector;
use super::dice::Dice;
use super::door::Door;
use super::epoch::{Epoch, Head, RoomId};
use super::former::Former;
use super::handover::{Inheriting, Leaving};
use super::joining::Joining;
use super::links::Links;
use super::log::Log;
use super::message::{HandOverFacts, RoomMessage};
use super::muster::Musters;
use super::output::{DialFailure, DialNumber, LinkDown, LinkedPeer, RoomOutput};
use super::plant::{Plant, planted};
use super::rank::Rank;
use super::rescue::Rescue;
use super::sequencer::Sequencer;
use super::takeover::{Claiming, Promised};
use super::telling::Published;
use super::view::{Entry, Reason, Reign, View};
use super::warm::Warm;
use crate::mrt::SecretId;
use crate::node::api::{Election, ErrorCode, Event, RankExplained, Succession};
use crate::node::identity::{Identity, NodeId};
use crate::node::record::MemberRecord;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Elections that `W` shows, at most.
pub(super) const MAX_ELECTIONS: usize = 32;

/// Alerts that may come at once.
pub(super) const MAX_ALERTS: u32 = 16;

/// One more every so often.
const ALERT_EVERY: Duration = Duration::from_secs(5);

/// What one member can make the room do at once: a view to everyone costs [`VIEW_COST`], a line one and one more for each KiB.
const MAX_FAVOURS: u32 = 8192;

/// One more comes back every so often: two views or 250 short lines a second.
const FAVOUR_EVERY: Duration = Duration::from_millis(4);

/// What a view to everyone costs.
pub(super) const VIEW_COST: u32 = 128;

/// Askers that are remembered, at most.
const MAX_ASKERS: usize = 8192;

/// One node's part in a room. A value: a copy goes on as the room itself would.
#[derive(Clone, Debug)]
pub struct Room {
    pub(super) identity: Arc<Identity>,
    pub(super) record: MemberRecord,
    pub(super) config: RoomConfig,
    pub(super) dice: Dice,
    /// Who is in the room, as the supernode says (or we do).
    pub(super) view: View,
    /// What we are in it.
    pub(super) standing: Standing,
    pub(super) links: Links,
    /// Whom we would reach without the supernode.
    pub(super) warm: Warm,
    /// How often which programs were lost.
    pub(super) crashes: Crashes,
    pub(super) detector: Detector,
    /// Who may come in.
    pub(super) door: Door,
    /// Where we want to get in.
    pub(super) joining: Option<Joining>,
    pub(super) former: Former,
    /// What was said, in order.
    pub(super) log: Log,
    /// What we said.
    pub(super) outbox: Outbox,
    /// What others and we said in an order that was given up.
    pub(super) rescue: Rescue,
    /// Whether what we hold is what others hold.
    pub(super) comparing: Comparing,
    /// Who follows whom, when two halves meet.
    pub(super) musters: Musters,
    /// The hand-over that we took last.
    pub(super) handed: Option<HandOverFacts>,
    /// Who holds what; means something while we lead.
    pub(super) sequencer: Sequencer,
    /// What the members were told of the view; means something while we lead.
    pub(super) published: Published,
    /// Of which epoch we last asked for a whole view, since a patch did not fit, and when.
    pub(super) asked_whole: Option<(Epoch, Instant)>,
    /// What was shown.
    pub(super) delivery: Delivery,
    pub(super) history: VecDeque<Election>,
    /// Epochs whose claimers we reported to.
    pub(super) promises: VecDeque<Epoch>,
    /// The highest counter of an epoch that we know of or claimed.
    pub(super) last_counter: u64,
    /// The room that our program was in when it ended without leaving it.
    pub(super) was_in: Option<RoomId>,
    /// When the user wants to be gone.
    pub(super) quitting: Option<Instant>,
    /// When we last answered another leader of this room.
    pub(super) said_hello: Option<Instant>,
    pub(super) dirty: Dirty,
    pub(super) alerts: Bucket,
    /// Invitations that two used, as the user was told.
    pub(super) disputed: BTreeSet<[u8; 16]>,
    /// What each member may still make us do.
    pub(super) favours: BTreeMap<NodeId, Bucket>,
    /// The time of the last call.
    pub(super) now: Instant,
    pub(super) outputs: VecDeque<RoomOutput>,
}

/// What we are in the room.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// Its supernode.
    Leading(Leading),
    /// A member like others, under a supernode that may be suspected.
    Following,
    /// We lost the supernode, reported to a claimer (or were handed over), and wait for its view.
    Promised(Promised),
    /// We lost the supernode and claim to follow it.
    Claiming(Claiming),
    /// The supernode named us, and we fetch what we lack.
    Inheriting(Inheriting),
    /// We led, named the next, and wait until everybody moved.
    Leaving(Leaving),
    /// We left.
    Gone,
}

/// What exists only while we lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leading {
    /// When the next heartbeat is due.
    pub(super) next_beat: Instant,
}

/// What is to be sent once the calls that caused it are through: one message for many causes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dirty {
    /// Acknowledge to the supernode.
    pub(super) held: bool,
    /// Tell the members how far we are.
    pub(super) beat: bool,
}

impl Room {
    /// Opens a room of its own and leads it, in epoch 1.
    pub fn new(
        identity: Arc<Identity>,
        record: MemberRecord,
        config: RoomConfig,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        let mut dice = Dice::new(seed);
        let mut room = [0; 16];
        dice.fill(&mut room);
        let start = dice.number();
        let id = identity.id();
        let epoch = Epoch { counter: 1, supernode: id };
        let rank = Rank::first(id);
        let view = View {
            room: RoomId(room),
            epoch,
            reason: Reason::First,
            number: 1,
            entries: vec![Entry { record: record.clone(), rank, seen: None }],
            reigns: vec![Reign { epoch, base: Head::default() }],
            invitations: Vec::new(),
            crashes: Vec::new(),
            admitted: 1,
            former: Vec::new(),
            proof: None,
        };
        let mut room = Self {
            identity,
            record,
            config,
            dice,
            view,
            standing: Standing::Leading(Leading { next_beat: now }),
            links: Links::default(),
            warm: Warm::default(),
            crashes: Crashes::default(),
            detector: Detector::default(),
            door: Door::default(),
            joining: None,
            former: Former::default(),
            log: Log::default(),
            outbox: Outbox::new(id, start, now),
            rescue: Rescue::default(),
            comparing: Comparing::default(),
            musters: Musters::default(),
            handed: None,
            sequencer: Sequencer::default(),
            published: Published::default(),
            asked_whole: None,
            delivery: Delivery::default(),
            history: VecDeque::new(),
            promises: VecDeque::new(),
            last_counter: 1,
            was_in: None,
            quitting: None,
            said_hello: None,
            dirty: Dirty::default(),
            alerts: Bucket::new(now, MAX_ALERTS),
            disputed: BTreeSet::new(),
            favours: BTreeMap::new(),
            now,
            outputs: VecDeque::new(),
        };
        room.announce(now, Succession::First);
        room.outputs.push_back(RoomOutput::Publish);
        room
    }

    /// A link came up. What was sent over an earlier link to the same peer may be lost: what matters is said again.
    pub fn handle_link_up(&mut self, now: Instant, peer: LinkedPeer) {
        self.on_wake(now);
        let id = peer.record.id();
        if id == self.id() || matches!(self.standing, Standing::Gone) {
            return;
        }
        let again = self.links.contains(id) && peer.dial.is_some();
        self.links.insert(peer.clone());
        self.on_linked(now, &peer);
        self.on_heard(now, now, id);
        if planted(Plant::OpenDoor) && self.is_supernode() && !self.knows(id) {
            self.admit(now, peer.record.clone());
        }
        if matches!(self.standing, Standing::Leading(_)) && self.note_seen(id) {
            self.view_changed(now);
        }
        if !again && let Some(follower) = self.sequencer.followers.get_mut(&id) {
            follower.sent = None;
            follower.has = follower.has.over_another_link();
        }
        self.on_joining_link(now, &peer);
        if self.knows(id) {
            self.say_hello(id);
        }
        if id == self.view.epoch.supernode && matches!(self.standing, Standing::Following) {
            self.dirty.held = true;
            self.flush_held();
            self.resend(now);
        }
        self.on_claim_link(id);
        self.keep_warm(now);
    }

    /// A link is down, or will never come up.
    pub fn handle_link_down(&mut self, now: Instant, id: NodeId, _why: LinkDown) {
        self.on_wake(now);
        if self.links.remove(id).is_none() {
            return;
        }
        self.on_unlinked(now, id);
        if !self.knows(id) {
            self.detector.forget(id);
        }
        self.links.retain(|id| self.view.contains(id) || self.former.contains(id));
        self.on_joining_link_down(id);
        self.on_leaving_link_down(now, id);
        if let Some(follower) = self.sequencer.followers.get_mut(&id) {
            follower.sent = None;
            follower.has = follower.has.over_another_link();
            follower.behind = follower.behind.or(Some(now));
        }
        if matches!(self.standing, Standing::Following) && id == self.view.epoch.supernode {
            self.suspect(now);
            self.tick_detector(now);
        }
        self.keep_warm(now);
    }

    /// A dial came to nothing.
    pub fn handle_dial_failed(&mut self, now: Instant, dial: DialNumber, why: DialFailure, words: &str) {
        self.on_wake(now);
        self.links.on_dial_failed(dial);
        self.on_joining_dial_failed(dial, why, words);
    }

    /// A message came over the link to `from`, which proved to hold that key.
    pub fn handle_message(&mut self, now: Instant, from: NodeId, message: RoomMessage) {
        self.on_wake(now);
        if !self.links.contains(from) || matches!(self.standing, Standing::Gone) {
            return;
        }
        self.on_heard(now, now, from);
        match message {
            RoomMessage::Hello(hello) => self.on_hello(now, from, hello),
            RoomMessage::Join(join) => self.on_join(now, from, *join),
            RoomMessage::Welcome(welcome) => self.on_welcome(now, from, *welcome),
            RoomMessage::Answer(answer) => self.on_answer(now, from, answer),
            RoomMessage::Leave => self.on_leave(now, from),
            RoomMessage::Stranger => self.on_stranger(now, from),
            // Of strangers nothing else is listened to; those who were members may not know that they are not.
            _ if !self.knows(from) => self.call_stranger(from),
            RoomMessage::View(view) => self.on_view(now, from, *view),
            RoomMessage::Patch(patch) => self.on_patch(now, from, &patch),
            RoomMessage::Lines(lines) => self.on_lines(now, from, lines),
            RoomMessage::Beat(beat) => self.on_beat(now, from, beat),
            RoomMessage::HandOver(hand_over) => self.on_hand_over(now, from, hand_over),
            RoomMessage::Merge(merge) => self.on_merge(now, from, *merge),
            RoomMessage::Say(say) => self.on_say(now, from, say),
            RoomMessage::Held(held) => self.on_held(now, from, held),
            RoomMessage::Rescue(lines) => self.on_rescue(now, from, lines),
            RoomMessage::Elsewhere(hello) => self.on_elsewhere(now, from, &hello),
            RoomMessage::Whole(epoch) => self.on_whole(from, epoch),
            RoomMessage::Reaches(reaches) => self.on_reaches(from, reaches),
            RoomMessage::Record(record) => self.on_record(now, from, *record),
            RoomMessage::Invite(state) => self.on_invite(now, from, state),
            RoomMessage::Moved(next) => self.on_moved(now, from, next),
            RoomMessage::Ask(epoch) => self.on_ask(now, from, epoch),
            RoomMessage::Verdict(verdict) => self.on_verdict(now, from, verdict),
            RoomMessage::Claim(claim) => self.on_claim(now, from, claim),
            RoomMessage::Report(report) => self.on_report(now, from, report),
            RoomMessage::Taken(taken) => self.on_taken(now, from, taken),
            RoomMessage::Alive(epoch) => self.on_alive(now, from, epoch),
            RoomMessage::Abandon(next) => self.on_abandon(now, from, next),
            RoomMessage::Fetch(fetch) => self.on_fetch(from, fetch),
            RoomMessage::Compare(seal) => self.on_compare(now, from, seal),
            RoomMessage::Equivocation(proof) => self.on_equivocation(from, *proof),
            RoomMessage::Muster(muster) => self.on_muster(now, from, muster),
            RoomMessage::Allegiance(allegiance) => self.on_allegiance(now, from, &allegiance),
            RoomMessage::Proof(proof) => self.on_proof(now, from, &proof),
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Harmless when called early.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.on_wake(now);
        if matches!(self.standing, Standing::Gone) {
            return;
        }
        for id in self.door.expire(now) {
            self.disputed.remove(&id);
            self.outputs.push_back(RoomOutput::RemoveSecret { id: SecretId(id) });
        }
        self.tick_joining(now);
        self.tick_leading(now);
        self.tick_takeover(now);
        self.tick_detector(now);
        self.tick_author(now);
        self.tick_quit(now);
        self.keep_warm(now);
        self.tick_warm(now);
    }

    fn tick_leading(&mut self, now: Instant) {
        let heartbeat = self.times().heartbeat;
        let Standing::Leading(leading) = &mut self.standing else { return };
        if now >= leading.next_beat {
            leading.next_beat = now + heartbeat;
            self.sequencer.round = self.sequencer.round.saturating_add(1);
            self.dirty.beat = true;
            self.drop_lost(now);
            self.seek_former(now);
            self.note_loneliness(now);
            self.prove(now);
        }
        if self.published.due().is_some_and(|due| now >= due) {
            self.flush_view(now);
        }
        self.update_marks(now);
    }

    fn tick_author(&mut self, now: Instant) {
        if self.next_resend().is_some_and(|due| now >= due) {
            self.resend(now);
        }
    }

    fn next_resend(&self) -> Option<Instant> {
        let waits = self.outbox.unplaced().next().is_some() || !self.rescue.is_empty();
        let waits = waits && matches!(self.standing, Standing::Following);
        waits.then(|| self.outbox.sent + self.config.times.resend)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let beat = match &self.standing {
            Standing::Gone => return None,
            Standing::Leading(leading) => Some(leading.next_beat),
            _ => None,
        };
        let pass_over = beat.and_then(|_| self.next_pass_over());
        let telling = beat.and_then(|_| self.published.due());
        let joining = self.joining.as_ref().map(Joining::next);
        let due = [
            beat,
            pass_over,
            telling,
            joining,
            self.next_detection(),
            self.next_takeover(),
            self.next_resend(),
            self.next_quit(),
            self.door.next_expiry(),
            self.links.next_attempt(),
            self.next_warm(),
        ];
        due.into_iter().flatten().min()
    }

    /// How much waits to be done. Whoever has many messages for us does some of it in between.
    pub fn waiting_outputs(&self) -> usize {
        self.outputs.len()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        if self.outputs.is_empty() {
            self.flush_held();
            self.flush_beat();
        }
        self.outputs.pop_front()
    }

    /// Every verb begins here. If we were due long ago our own machine stood still: then we suspect ourselves first, and everyone else
    /// gets the time that we missed.
    pub(super) fn on_wake(&mut self, now: Instant) {
        let late = self.poll_timeout().map_or(Duration::ZERO, |due| now.saturating_since(due));
        self.now = self.now.max(now);
        if late >= self.config.times.late {
            self.detector.on_late(now);
        }
        if late < self.config.times.freeze {
            return;
        }
        self.detector.on_freeze(now);
        self.sequencer.stale = self.sequencer.round;
        for follower in self.sequencer.followers.values_mut() {
            follower.patience = now;
            follower.answered = None;
            follower.behind = follower.behind.map(|_| now);
        }
        if let Standing::Promised(promised) = &mut self.standing {
            promised.since = now;
        }
    }

    /// `W`: every member's rank with all its terms, and the last elections.
    pub fn why(&self) -> (Vec<RankExplained>, Vec<Election>) {
        let explain = |(rank, entry): (usize, &Entry)| {
            let mut terms = entry.rank.terms();
            if rank == 0 {
                terms.insert(0, "leads".to_owned());
            }
            RankExplained { id: entry.record.id(), rank, terms }
        };
        (self.view.entries.iter().enumerate().map(explain).collect(), self.history.iter().cloned().collect())
    }

    /// Our own record changed: its sequence is higher than that of the one before.
    pub fn update_record(&mut self, now: Instant, record: MemberRecord) {
        self.on_wake(now);
        self.record = record.clone();
        let (own, supernode) = (self.id(), self.view.epoch.supernode);
        if matches!(self.standing, Standing::Leading(_)) {
            if let Some(entry) = self.view.entries.iter_mut().find(|entry| entry.record.id() == own) {
                entry.record = record;
            }
            self.view_changed(now);
        } else {
            self.send(supernode, RoomMessage::Record(Box::new(record)));
        }
    }

    /// The room as we know it: epoch, members in order of succession, their records and ranks.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Who we are.
    pub fn id(&self) -> NodeId {
        self.identity.id()
    }

    /// Whether we lead.
    pub const fn is_supernode(&self) -> bool {
        matches!(self.standing, Standing::Leading(_))
    }

    /// Whether that key is a member of the room, ourselves too.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.view.contains(id)
    }

    /// Whether it is a member, or was one until it was lost.
    pub(super) fn knows(&self, id: NodeId) -> bool {
        self.view.contains(id) || self.former.contains(id)
    }

    pub(super) fn send(&mut self, to: NodeId, message: RoomMessage) {
        if self.links.contains(to) {
            self.outputs.push_back(RoomOutput::Send { to, message });
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(RoomOutput::Event(event));
    }

    pub(super) fn error(&mut self, command: Option<char>, code: ErrorCode, message: &str) {
        self.event(Event::Error { command, code, message: message.to_owned() });
    }

    /// Something is wrong. Whoever does wrong on purpose can do so all day: the screen shows some of it.
    pub(super) fn alert(&mut self, code: &'static str, message: String) {
        if self.alerts.take(self.now, MAX_ALERTS, ALERT_EVERY, 1) {
            self.event(Event::Alert { code, message });
        } else {
            tracing::warn!(code, message, "alerts are too many: not shown");
        }
    }

    /// Whether a member may make the room do so much; `cost` of [`MAX_FAVOURS`], which come back one by one.
    pub(super) fn may_ask(&mut self, id: NodeId, cost: u32) -> bool {
        let now = self.now;
        if !self.favours.contains_key(&id) && self.favours.len() >= MAX_ASKERS {
            self.favours.retain(|_, bucket| !bucket.is_full(now, MAX_FAVOURS, FAVOUR_EVERY));
            if self.favours.len() >= MAX_ASKERS {
                return false;
            }
        }
        self.favours.entry(id).or_insert_with(|| Bucket::new(now, MAX_FAVOURS)).take(
            now,
            MAX_FAVOURS,
            FAVOUR_EVERY,
            cost,
        )
    }

    pub(super) fn remember(&mut self, now: Instant, reason: Succession) {
        let Epoch { counter: epoch, supernode } = self.view.epoch;
        self.history.push_back(Election { epoch, supernode, reason, at_ms: now.as_millis() });
        while self.history.len() > MAX_ELECTIONS {
            self.history.pop_front();
        }
    }
}
