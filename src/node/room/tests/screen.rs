//! What the screens show, and a picture of the whole.

use super::super::*;
use super::world::{Peer, World};
use crate::node::api::Event;
use crate::node::identity::NodeId;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// What node `who` has on its screen: author's name, text.
    pub(crate) fn lines(&self, who: usize) -> Vec<String> {
        let texts = self.peers[who].events.iter().filter_map(|event| match event {
            Event::Chat { text, history: false, .. } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub(crate) fn errors(&self, who: usize) -> Vec<&Event> {
        let wrong = |event: &&Event| matches!(event, Event::Error { .. } | Event::Alert { .. } | Event::Missed { .. });
        self.peers[who].events.iter().filter(wrong).collect()
    }

    pub(crate) fn alerts(&self, who: usize) -> usize {
        self.peers[who].events.iter().filter(|event| matches!(event, Event::Alert { .. })).count()
    }

    /// The one supernode among those that run, if they agree and all of them are members.
    pub(crate) fn leader(&self) -> Option<usize> {
        let running: Vec<usize> = (0..self.peers.len()).filter(|index| self.is_running(*index)).collect();
        let everybody: BTreeSet<NodeId> = running.iter().map(|index| self.peers[*index].id).collect();
        let leader = running.iter().copied().find(|index| self.peers[*index].room.is_supernode())?;
        let epoch = self.peers[leader].room.view().epoch;
        let agreed = running.iter().all(|index| {
            let room = &self.peers[*index].room;
            room.view().epoch == epoch
                && room.view().ids().collect::<BTreeSet<_>>() == everybody
                && room.is_supernode() == (*index == leader)
        });
        agreed.then_some(leader)
    }

    pub(crate) fn assert_leader(&self) -> usize {
        self.leader().unwrap_or_else(|| {
            for peer in self.peers.iter().filter(|peer| peer.alive && !peer.left) {
                let view = peer.room.view();
                println!(
                    "{:?}: {:?} {:?} {:?}",
                    peer.id,
                    view.epoch,
                    peer.room.standing,
                    view.ids().collect::<Vec<_>>()
                );
            }
            panic!("no agreement")
        })
    }

    /// Who runs, by room.
    pub(crate) fn rooms(&self) -> Vec<Vec<usize>> {
        let mut rooms: BTreeMap<(RoomId, Epoch), Vec<usize>> = BTreeMap::new();
        for index in (0..self.peers.len()).filter(|index| self.is_running(*index)) {
            let view = self.peers[index].room.view();
            rooms.entry((view.room, view.epoch)).or_default().push(index);
        }
        rooms.into_values().collect()
    }

    pub(crate) fn picture(&self) -> String {
        let of = |(index, peer): (usize, &Peer)| {
            let view = peer.room.view();
            let members: Vec<usize> = view.ids().map(|id| self.index_of(id)).collect();
            let state = (peer.alive, peer.paused, peer.left);
            let leader = self.index_of(view.epoch.supernode);
            let room = &peer.room;
            format!(
                "\n{index} {state:?} room {:?} epoch {}@{leader} {members:?} leads {} shown {} target {} head {} joining {:?} former {:?} standing {:?} outbox {:?}",
                view.room,
                view.epoch.counter,
                room.is_supernode(),
                room.delivery.shown,
                room.delivery.target,
                room.log.head().seq,
                room.joining,
                room.former.records().iter().map(|record| self.index_of(record.id())).collect::<Vec<_>>(),
                room.standing,
                room.outbox.unplaced().map(|line| line.saying.text.clone()).collect::<Vec<_>>()
            )
        };
        self.peers.iter().enumerate().map(of).collect()
    }
}
