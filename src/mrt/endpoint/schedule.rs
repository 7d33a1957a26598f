//! Which connections have something to send, and when each wants to be woken.

use crate::mrt::api::ConnectionHandle;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Turns to send, and alarms.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    turns: VecDeque<ConnectionHandle>,
    waiting: BTreeSet<ConnectionHandle>,
    alarms: BTreeSet<(Instant, ConnectionHandle)>,
    alarm_of: BTreeMap<ConnectionHandle, Instant>,
}

impl Schedule {
    /// Something happened to it: it may have something to send.
    pub(super) fn wake(&mut self, handle: ConnectionHandle) {
        if self.waiting.insert(handle) {
            self.turns.push_back(handle);
        }
    }

    /// Whose turn it is. The same one until [`next`](Self::next) or [`rest`](Self::rest).
    pub(super) fn current(&self) -> Option<ConnectionHandle> {
        self.turns.front().copied()
    }

    /// It sent something and may have more: the others come first.
    pub(super) fn next(&mut self) {
        if self.turns.len() > 1 {
            self.turns.rotate_left(1);
        }
    }

    /// It has nothing to send before `alarm`.
    pub(super) fn rest(&mut self, handle: ConnectionHandle, alarm: Option<Instant>) {
        if self.turns.front() == Some(&handle) {
            self.turns.pop_front();
        }
        self.waiting.remove(&handle);
        self.set_alarm(handle, alarm);
    }

    /// It is gone.
    pub(super) fn forget(&mut self, handle: ConnectionHandle) {
        if self.waiting.remove(&handle) {
            self.turns.retain(|other| *other != handle);
        }
        self.set_alarm(handle, None);
    }

    /// The first alarm of all.
    pub(super) fn first_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Takes a connection whose alarm has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ConnectionHandle> {
        let (_, handle) = self.alarms.first().filter(|(at, _)| *at <= now).copied()?;
        self.set_alarm(handle, None);
        Some(handle)
    }

    fn set_alarm(&mut self, handle: ConnectionHandle, alarm: Option<Instant>) {
        if self.alarm_of.get(&handle).copied() == alarm {
            return;
        }
        if let Some(old) = self.alarm_of.remove(&handle) {
            self.alarms.remove(&(old, handle));
        }
        if let Some(at) = alarm {
            self.alarm_of.insert(handle, at);
            self.alarms.insert((at, handle));
        }
    }
}
