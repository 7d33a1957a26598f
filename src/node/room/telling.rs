//! Telling the members of a changed view: as a patch to those who have the view before, whole to others; in a large room several changes
//! at a time.

use super::epoch::Epoch;
use super::message::{RoomMessage, ViewStamp, Welcome};
use super::output::RoomOutput;
use super::parts::{Room, Standing, VIEW_COST};
use super::patch::{Patch, PatchError};
use super::plant::{Plant, planted};
use super::sequencer::Follower;
use super::view::{Reason, View, ViewName};
use crate::node::identity::NodeId;
use crate::node::wire::Encoded;
use crate::time::Instant;
use std::collections::BTreeSet;

/// Which view a follower has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// None that we know of: it is told all of it.
    Nothing,
    /// It was told over a link that is gone, and has to say first how far it got.
    Unsaid,
    /// This one, or it is on its way.
    View(ViewName),
}

impl Has {
    /// What is on the way over a link that ends may be lost.
    pub(super) const fn over_another_link(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Unsaid | Self::View(_) => Self::Unsaid,
        }
    }

    /// Whoever has to say first what it has says it of the epoch before: it is told all of this one.
    pub(super) const fn in_another_epoch(self) -> Self {
        match self {
            Self::Unsaid | Self::Nothing => Self::Nothing,
            Self::View(name) => Self::View(name),
        }
    }
}

/// What the members were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    /// The view that was told last: in the first moment of an epoch the last of the one before.
    view: Option<View>,
    /// When; and when the changes since will be told.
    last: Option<Instant>,
    due: Option<Instant>,
    /// Who was let in since.
    newcomers: BTreeSet<NodeId>,
    /// Survivors that have the view that we had when the supernode was lost.
    same_view: BTreeSet<NodeId>,
}

impl Published {
    /// An epoch of ours begins: the view that its first patch changes.
    pub(super) fn begin(&mut self, view: &View, reason: Reason) -> ViewName {
        if reason == Reason::Merged {
            return self.name(view);
        }
        let same_view = std::mem::take(&mut self.same_view);
        *self = Self { view: Some(view.clone()), same_view, ..Self::default() };
        view.name()
    }

    /// Those survivors have our view.
    pub(super) fn expect(&mut self, same_view: BTreeSet<NodeId>) {
        self.same_view = same_view;
    }

    /// What a survivor has, by its report.
    pub(super) fn has(&self, id: NodeId) -> Has {
        match &self.view {
            Some(view) if self.same_view.contains(&id) => Has::View(view.name()),
            _ => Has::Nothing,
        }
    }

    /// Somebody was let in.
    pub(super) fn welcome(&mut self, id: NodeId) {
        self.newcomers.insert(id);
    }

    /// When what changed will be told.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The view that was told last; `view` if there was nobody to tell.
    pub(super) fn name(&self, view: &View) -> ViewName {
        self.view.as_ref().map_or_else(|| view.name(), View::name)
    }

    /// Its number.
    pub(super) fn number(&self, view: &View) -> u64 {
        self.name(view).number
    }
}

impl Room {
    /// Supernode: the view changed; everyone is told, at once or soon.
    pub(super) fn view_changed(&mut self, now: Instant) {
        self.rerank(now);
        self.view.number = self.view.number.saturating_add(1);
        self.view.invitations = self.door.invitations(now);
        self.view.former = self.former.records();
        let earliest = self.published.last.map(|last| last + self.config.times.gather).filter(|at| *at > now);
        match earliest {
            Some(at) if self.view.entries.len() >= self.config.at_once => self.published.due = Some(at),
            _ => self.flush_view(now),
        }
    }

    /// Tells what is to be told later, if there is something.
    pub(super) fn flush_due_view(&mut self, now: Instant) {
        if self.published.due.is_some() {
            self.flush_view(now);
        }
    }

    /// Tells everyone now, and welcomes who was let in.
    pub(super) fn flush_view(&mut self, now: Instant) {
        let here = self.view.name();
        let before = self.published.view.replace(self.view.clone());
        (self.published.due, self.published.last) = (None, Some(now));
        self.published.same_view.clear();
        let from = before.as_ref().map(View::name);
        if from == Some(here) {
            return;
        }
        let mut patch = None;
        for id in self.sequencer.followers.keys().copied().collect::<Vec<_>>() {
            let linked = self.links.contains(id);
            let Some(follower) = self.sequencer.followers.get_mut(&id) else { continue };
            match follower.has {
                Has::Unsaid => continue,
                _ if !linked => follower.has = Has::Nothing,
                Has::View(name) if Some(name) == from && !planted(Plant::HalfAView) => {
                    follower.has = Has::View(here);
                    let new = || before.as_ref().map(|before| Encoded::new(&Patch::between(before, &self.view)));
                    let Some(patch) = patch.get_or_insert_with(new).clone() else { continue };
                    self.send(id, RoomMessage::Patch(patch));
                }
                Has::Nothing | Has::View(_) => self.tell_whole(id),
            }
        }
        for id in std::mem::take(&mut self.published.newcomers) {
            if self.view.contains(id) {
                let has = if self.links.contains(id) { Has::View(here) } else { Has::Nothing };
                self.sequencer.followers.insert(id, Follower { has, ..Follower::new(now) });
                let (view, head) = (self.view.clone(), self.log.head());
                let welcome = Welcome { view, head, voices: self.sequencer.voices.all() };
                self.send(id, RoomMessage::Welcome(Box::new(welcome)));
            }
        }
        self.outputs.push_back(RoomOutput::Publish);
    }

    /// Supernode: sends all of the view that was told last.
    pub(super) fn tell_whole(&mut self, id: NodeId) {
        let mut view = self.published.view.clone().unwrap_or_else(|| self.view.clone());
        if let Some(follower) = self.sequencer.followers.get_mut(&id) {
            follower.has = Has::View(view.name());
        }
        if planted(Plant::HalfAView) && self.sequencer.followers.keys().next() == Some(&id) {
            view.entries.pop();
        }
        self.send(id, RoomMessage::View(Box::new(view)));
    }

    /// A member has another view than the one that a patch changes, or lost its way.
    pub(super) fn on_whole(&mut self, from: NodeId, epoch: Epoch) {
        let ours = self.is_supernode() && epoch == self.view.epoch && self.sequencer.followers.contains_key(&from);
        if ours && self.may_ask(from, VIEW_COST) {
            self.tell_whole(from);
        }
    }

    /// Which view we have.
    pub(super) fn stamp(&self) -> ViewStamp {
        ViewStamp { number: self.view.number, digest: self.view.digest() }
    }

    /// What changed of the view.
    pub(super) fn on_patch(&mut self, now: Instant, from: NodeId, patch: &Encoded) {
        let Ok(patch) = patch.decode::<Patch>() else {
            return self.alert("forged", format!("{from} sent a patch that is none"));
        };
        if from != patch.to.epoch.supernode {
            return self.alert("forged", format!("{from} sent a view in somebody else's place"));
        }
        let (ours, to) = (self.view.name(), patch.to);
        let newer = if to.epoch == ours.epoch {
            matches!(self.standing, Standing::Following) && to.number > ours.number
        } else {
            !matches!(self.standing, Standing::Gone)
        };
        if !newer {
            return;
        }
        if patch.from != ours {
            return self.ask_whole(now, from, to.epoch);
        }
        // Nobody makes us verify signatures who could not lead us.
        if to.epoch != ours.epoch && self.way_to(from, to.epoch, patch.proof.as_ref()).is_none() {
            return self.refuse_epoch(from, to.epoch, patch.proof.as_ref());
        }
        self.refresh_invitations(now);
        match patch.apply(&self.view) {
            Ok(view) => self.take_view(now, from, view, true),
            Err(PatchError::OtherBase | PatchError::OtherDigest) => self.ask_whole(now, from, to.epoch),
            Err(error @ PatchError::Unsound(_)) => {
                self.alert("forged", format!("{from} sent a view that is not in order: {error}"));
            }
        }
    }

    /// Of the invitations in the view that is to be changed, the time that they have left has changed already.
    fn refresh_invitations(&mut self, now: Instant) {
        if self.view.invitations.is_empty() {
            return;
        }
        let open = self.door.invitations(now);
        for state in &mut self.view.invitations {
            let left = open.iter().find(|other| other.id == state.id).map(|other| other.remaining_ms);
            state.remaining_ms = left.unwrap_or(0);
        }
    }

    /// Asks for all of a view; now and then.
    fn ask_whole(&mut self, now: Instant, from: NodeId, epoch: Epoch) {
        if !self.awaits_whole(now, epoch) {
            self.asked_whole = Some((epoch, now));
            self.send(from, RoomMessage::Whole(epoch));
        }
    }

    /// Whether we asked for it just now.
    pub(super) fn awaits_whole(&self, now: Instant, epoch: Epoch) -> bool {
        let lately = |(asked, at)| asked == epoch && now.saturating_since(at) < self.times().heartbeat;
        self.asked_whole.is_some_and(lately)
    }
}
