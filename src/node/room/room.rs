//! Signatures first; the parts follow.
#![expect(unused_variables, clippy::unused_self, missing_docs, reason = "signatures for those who build against them")]
use super::*;
use crate::node::api::{Election, RankExplained};
use crate::node::identity::{Identity, NodeId};
use crate::node::record::MemberRecord;
use crate::time::Instant;
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Debug)]
pub struct Room {
    identity: Arc<Identity>,
    view: View,
}

#[expect(clippy::todo, reason = "being written")]
impl Room {
    /// Opens a room of its own and leads it: epoch 1. The first outputs are the `supernode` and `Publish`.
    pub fn new(
        identity: Arc<Identity>,
        record: MemberRecord,
        config: RoomConfig,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        todo!()
    }
    // what the links report
    pub fn handle_link_up(&mut self, now: Instant, peer: LinkedPeer) {}
    pub fn handle_link_down(&mut self, now: Instant, id: NodeId, why: LinkDown) {}
    pub fn handle_dial_failed(&mut self, now: Instant, dial: DialNumber, why: DialFailure) {}
    pub fn handle_message(&mut self, now: Instant, from: NodeId, message: RoomMessage) {}
    /// Anything authentic came from there.
    pub fn handle_heard(&mut self, now: Instant, from: NodeId) {}
    /// ICMP hint while the link still stands: it is probed at once, nothing else changes.
    pub fn handle_unreachable(&mut self, now: Instant, id: NodeId) {}
    pub fn handle_timeout(&mut self, now: Instant) {}
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        None
    }
    // commands: mistakes come out as `Event::Error`
    pub fn join_address(&mut self, now: Instant, address: SocketAddr) {}
    pub fn join_ticket(&mut self, now: Instant, ticket: Invited) {}
    pub fn admit_address(&mut self, now: Instant, address: SocketAddr) {}
    pub fn admit_id(&mut self, now: Instant, prefix: &str) {}
    pub fn say(&mut self, now: Instant, text: &str, unix_ms: u64) {}
    /// `None`: an error event says why.
    pub fn invite(&mut self, now: Instant) -> Option<Invitation> {
        None
    }
    /// Ends in `RoomOutput::Left`, within `Times::quit`.
    pub fn quit(&mut self, now: Instant) {}
    /// Our addresses changed: a new signed record with a higher sequence.
    pub fn update_record(&mut self, now: Instant, record: MemberRecord) {}
    // what can be read
    /// Everybody in order of succession: epoch, entries (record, rank).
    pub fn view(&self) -> &View {
        &self.view
    }
    pub fn id(&self) -> NodeId {
        self.identity.id()
    }
    pub fn is_supernode(&self) -> bool {
        false
    }
    pub fn why(&self) -> (Vec<RankExplained>, Vec<Election>) {
        (Vec::new(), Vec::new())
    }
}
