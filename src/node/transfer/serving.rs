//! Slices for others: read, sent, and forgotten once they are acknowledged.

use super::ask::{ASK_LEN, Ask, code};
use crate::mrt::{ChannelId, ConnectionHandle, Endpoint, Received};
use crate::node::catalogue::Catalogue;
use crate::node::disk::{DiskError, DiskRequest, Token};
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of slices in memory for one peer: what a long fast path needs under way.
const MAX_FOR_ONE: u64 = 16 << 20;

/// Bytes of slices in memory for all peers.
const MAX_FOR_ALL: u64 = 24 << 20;

/// Questions of one peer that may be open, waiting ones included.
const MAX_QUESTIONS_OF_ONE: usize = 64;

/// Questions of all peers that may be open.
const MAX_QUESTIONS: usize = 4096;

/// A peer that takes nothing of a slice for this long loses it: its memory is needed for others.
const PATIENCE: Duration = Duration::from_secs(30);

/// How soon waiting questions are looked at again: acknowledgements make room without a word.
const PUMP_EVERY: Duration = Duration::from_millis(2);

type Key = (ConnectionHandle, ChannelId);

/// What is awaited for one question.
#[derive(Debug)]
enum Answer {
    /// The rest of the question.
    Question(Vec<u8>),
    /// Memory.
    Turn(Ask),
    /// The disk.
    Slice(Ask),
    /// The connection takes, the other side acknowledges.
    Acknowledgement { rest: Bytes, size: u64, until: Instant, last: usize },
}

#[derive(Debug)]
struct Question {
    peer: NodeId,
    answer: Answer,
}

/// The questions of others.
#[derive(Debug, Default)]
pub struct Serving {
    questions: BTreeMap<Key, Question>,
    /// In the order they came.
    waiting: VecDeque<Key>,
    /// Which question the disk reads for, and how many bytes.
    reading: BTreeMap<Token, (Key, u64)>,
    /// When to look at what waits.
    pump_at: Option<Instant>,
    next_token: u64,
    requests: VecDeque<DiskRequest>,
}

impl Serving {
    /// Something came on a channel that `peer` opened. Only members are answered.
    pub fn handle_readable(&mut self, now: Instant, endpoint: &mut Endpoint, peer: NodeId, is_member: bool, key: Key) {
        if !is_member {
            self.refuse(now, endpoint, key, code::NOT_A_MEMBER);
            return;
        }
        if !self.questions.contains_key(&key) {
            let of_this_one = self.questions.values().filter(|question| question.peer == peer).count();
            if of_this_one >= MAX_QUESTIONS_OF_ONE || self.questions.len() >= MAX_QUESTIONS {
                self.refuse(now, endpoint, key, code::BUSY);
                return;
            }
            self.questions.insert(key, Question { peer, answer: Answer::Question(Vec::new()) });
        }
        loop {
            match endpoint.receive(now, key.0, key.1) {
                Ok(Received::Bytes(bytes)) => {
                    let Some(Question { answer: Answer::Question(read), .. }) = self.questions.get_mut(&key) else {
                        self.refuse(now, endpoint, key, code::BAD_QUESTION);
                        return;
                    };
                    if read.len() + bytes.len() > ASK_LEN {
                        self.refuse(now, endpoint, key, code::BAD_QUESTION);
                        return;
                    }
                    read.extend_from_slice(&bytes);
                }
                Ok(Received::Finished) => return self.on_question(now, endpoint, key),
                Ok(Received::Nothing) => return,
                Err(_) => return self.forget(key), // the asker gave up
            }
        }
    }

    fn on_question(&mut self, now: Instant, endpoint: &mut Endpoint, key: Key) {
        let Some(question) = self.questions.get_mut(&key) else { return };
        let Answer::Question(read) = &question.answer else { return };
        match Ask::parse(read) {
            Some(ask) => {
                question.answer = Answer::Turn(ask);
                self.waiting.push_back(key);
                self.pump_at = Some(now);
            }
            None => {
                self.refuse(now, endpoint, key, code::BAD_QUESTION);
            }
        }
    }

    /// Takes up questions as far as there is memory. To be called after anything else.
    pub fn pump(&mut self, now: Instant, endpoint: &mut Endpoint, catalogue: &Catalogue) {
        if self.pump_at.is_none_or(|at| now < at) {
            return;
        }
        self.reap(now, endpoint);
        let (mut all, mut of_peer) = self.held();
        for _ in 0..self.waiting.len() {
            let Some(key) = self.waiting.pop_front() else { break };
            let Some(Question { peer, answer: Answer::Turn(ask) }) = self.questions.get(&key) else { continue };
            let (ask, of_this_one) = (*ask, of_peer.entry(*peer).or_default());
            let size = ask.range.end - ask.range.start;
            if all + size > MAX_FOR_ALL || *of_this_one + size > MAX_FOR_ONE {
                self.waiting.push_back(key); // others may still have a turn
                continue;
            }
            if self.take_up(now, endpoint, catalogue, key, ask) {
                all += size;
                *of_this_one += size;
            }
        }
        self.pump_at = (!self.waiting.is_empty()).then(|| now + PUMP_EVERY);
    }

    /// Whether the disk is asked for it; else the asker was refused.
    fn take_up(&mut self, now: Instant, endpoint: &mut Endpoint, catalogue: &Catalogue, key: Key, ask: Ask) -> bool {
        let offer = match catalogue.own(&ask.hash) {
            Some((offer, size)) if ask.is_within(size) => offer,
            Some(_) => return self.refuse(now, endpoint, key, code::BAD_QUESTION),
            None => return self.refuse(now, endpoint, key, code::NOT_HELD),
        };
        let token = Token(self.next_token);
        self.next_token += 1;
        self.reading.insert(token, (key, ask.range.end - ask.range.start));
        self.requests.push_back(DiskRequest::Slice { token, offer, range: ask.range });
        if let Some(question) = self.questions.get_mut(&key) {
            question.answer = Answer::Slice(ask);
        }
        true
    }

    /// The disk read a slice, or could not.
    pub fn handle_slice(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        token: Token,
        slice: Result<Bytes, DiskError>,
    ) {
        let Some((key, size)) = self.reading.remove(&token) else { return };
        match (slice, self.questions.get_mut(&key)) {
            (Ok(rest), Some(question)) => {
                question.answer = Answer::Acknowledgement { rest, size, until: now + PATIENCE, last: usize::MAX };
                self.handle_writable(endpoint, key);
            }
            (Err(_), Some(_)) => {
                self.refuse(now, endpoint, key, code::UNREADABLE);
            }
            (_, None) => {} // the asker is gone
        }
    }

    /// The connection takes more of a slice. `false` if there is none on this channel.
    pub fn handle_writable(&mut self, endpoint: &mut Endpoint, key: Key) -> bool {
        let Some(Question { answer: Answer::Acknowledgement { rest, .. }, .. }) = self.questions.get_mut(&key) else {
            return false;
        };
        let taken = endpoint.send(key.0, key.1, rest);
        if taken.is_err() || (rest.is_empty() && endpoint.finish(key.0, key.1).is_err()) {
            self.forget(key); // the asker is gone or does not want it
        }
        true
    }

    /// Whether this peer waits for an answer.
    pub fn uses(&self, peer: NodeId) -> bool {
        self.questions.values().any(|question| question.peer == peer)
    }

    /// The connection is gone, and its questions.
    pub fn on_lost(&mut self, connection: ConnectionHandle) {
        let keys: Vec<Key> = self.questions.keys().filter(|key| key.0 == connection).copied().collect();
        for key in keys {
            self.forget(key);
        }
    }

    /// Gives up on peers that take nothing.
    pub fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint, catalogue: &Catalogue) {
        self.reap(now, endpoint);
        self.pump(now, endpoint, catalogue);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.questions
            .values()
            .filter_map(|question| match question.answer {
                Answer::Acknowledgement { until, .. } => Some(until),
                _ => None,
            })
            .chain(self.pump_at)
            .min()
    }

    /// Work for the disk.
    pub fn poll_disk(&mut self) -> Option<DiskRequest> {
        self.requests.pop_front()
    }

    /// Forgets slices that are acknowledged, and those that nobody takes.
    fn reap(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let mut stuck = Vec::new();
        self.questions.retain(|&(connection, channel), question| {
            let Answer::Acknowledgement { rest, until, last, .. } = &mut question.answer else { return true };
            let left = endpoint.unacknowledged(connection, channel).saturating_add(rest.len());
            if left < *last {
                (*last, *until) = (left, now + PATIENCE);
            } else if now >= *until {
                stuck.push((connection, channel));
            }
            left > 0
        });
        for key in stuck {
            self.refuse(now, endpoint, key, code::NOT_WANTED);
        }
    }

    /// Bytes of slices in memory, or on their way there: in all, and for each peer.
    fn held(&self) -> (u64, BTreeMap<NodeId, u64>) {
        let (mut all, mut of_peer) = (0, BTreeMap::<NodeId, u64>::new());
        for question in self.questions.values() {
            let size = match &question.answer {
                Answer::Acknowledgement { size, .. } => *size,
                Answer::Slice(ask) => ask.range.end - ask.range.start,
                Answer::Question(_) | Answer::Turn(_) => 0,
            };
            all += size;
            *of_peer.entry(question.peer).or_default() += size;
        }
        // What the disk still reads for askers that are gone.
        all += self
            .reading
            .values()
            .filter(|(key, _)| !self.questions.contains_key(key))
            .map(|(_, size)| size)
            .sum::<u64>();
        (all, of_peer)
    }

    /// Always `false`: the question is not taken up.
    fn refuse(&mut self, now: Instant, endpoint: &mut Endpoint, key: Key, code: u32) -> bool {
        let _ = endpoint.reset(now, key.0, key.1, code);
        self.forget(key);
        false
    }

    fn forget(&mut self, key: Key) {
        self.questions.remove(&key);
        self.waiting.retain(|waiting| *waiting != key);
    }
}
