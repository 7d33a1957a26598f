//! What the parts report to each other, after every call, until all are quiet.

use super::api::{Event, Path, PathExplained};
use super::catalogue::CatalogueOutput;
use super::disk::DiskRequest;
use super::identity::NodeId;
use super::links::{LinkEvent, LinkMessage};
use super::node::{Node, Purpose, Stage, path_of};
use super::record::MemberRecord;
use super::room::{DialFailure, DialTo, LinkedPeer, RoomOutput};
use super::transfer::{Around, TransferOutput};
use crate::mrt::{self, Class, ConnectionHandle, Route};
use crate::stun::fingerprint::Fingerprint;
use crate::time::{Duration, Instant};

/// How often peers are listened for: what the room learns of a sign of life is late by this much at most.
const LISTEN_EVERY: Duration = Duration::from_millis(100);

/// A link that the room dropped but a transfer used is closed after this long without one.
const SPARE_TIME: Duration = Duration::from_secs(10);

/// Closing links may take this long: a few retransmissions of the last words.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Bytes that wait for a peer when its catalogue is told no more for the moment.
const CATALOGUE_BACKLOG: usize = 256 << 10;

/// What the room wants done is done before more is heard when so much waits: a short question can have a long answer.
const MAX_OUTPUTS: usize = 64;

impl Node {
    /// Carries reports from part to part until there are none.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            let mut quiet = true;
            while let Some(event) = self.endpoint.poll_event() {
                self.on_transport(now, event);
                quiet = false;
            }
            while let Some(event) = self.links.poll_event() {
                self.on_link(now, event);
                if self.room.waiting_outputs() >= MAX_OUTPUTS {
                    self.settle_room(now);
                }
                quiet = false;
            }
            quiet &= !self.links.resume(now, &mut self.endpoint);
            quiet &= !self.settle_room(now);
            quiet &= !self.settle_catalogue(now);
            quiet &= !self.settle_transfer(now);
            if quiet {
                break;
            }
        }
        self.tell_paths(now);
        self.close_if_done(now);
    }

    /// Whether anything happened.
    fn settle_room(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(output) = self.room.poll_output() {
            self.on_room(now, output);
            any = true;
        }
        any
    }

    fn on_transport(&mut self, now: Instant, event: mrt::Event) {
        match event {
            mrt::Event::Readable { connection, channel } if channel.class() == Class::Bulk => {
                if !self.downloads.handle_readable(now, &mut self.endpoint, connection, channel) {
                    self.links.handle_event(now, &mut self.endpoint, event);
                }
            }
            mrt::Event::Writable { connection, channel } if channel.class() == Class::Bulk => {
                self.serving.handle_writable(&mut self.endpoint, (connection, channel));
            }
            mrt::Event::Moved { .. }
            | mrt::Event::PathUp { .. }
            | mrt::Event::PathFailed { .. }
            | mrt::Event::PathDown { .. } => {
                self.links.handle_event(now, &mut self.endpoint, event.clone());
                self.on_path_event(now, &event);
            }
            mrt::Event::Connected { connection, route, .. } => {
                self.links.handle_event(now, &mut self.endpoint, event);
                if !route.is_relayed() {
                    // By the time that both ends have proven who they are, it is known whether the path counts.
                    self.endpoint.prove_size(now, connection);
                }
            }
            event => self.links.handle_event(now, &mut self.endpoint, event),
        }
    }

    fn on_link(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::Up { record, remote, secret, dial } => {
                let peer = record.id();
                if let Some(remote) = remote {
                    self.links.on_answered(now, remote.ip());
                }
                let purpose = dial.and_then(|dial| self.dials.remove(&dial));
                let dial = match purpose {
                    Some(Purpose::Room(dial)) => Some(dial),
                    Some(Purpose::Holder(_) | Purpose::Callback) | None => None,
                };
                for waiting in self.links.answer_waiting(peer) {
                    if let Some(Purpose::Room(dial)) = self.dials.remove(&waiting) {
                        let (record, dial) = (record.clone(), Some(dial));
                        self.room.handle_link_up(now, LinkedPeer { record, remote, secret, dial });
                    }
                }
                self.room.handle_link_up(now, LinkedPeer { record, remote, secret, dial });
                self.catalogue.handle_link_up(peer);
                if let Some(remote) = remote {
                    self.on_met(now, peer, remote);
                    self.add_member_vantage(now, remote);
                }
                self.look_for_path(now, peer);
                self.paths.look = true;
            }
            LinkEvent::Down { peer, why } => {
                self.spare.remove(&peer);
                self.end_pair(now, peer);
                self.on_passing_down(now, peer);
                self.catalogue.handle_link_down(peer);
                self.paths.told.remove(&peer);
                self.room.handle_link_down(now, peer, why);
            }
            LinkEvent::WantRelay { dial, relay, to } => self.ask_relay(now, dial, relay, to),
            LinkEvent::DialFailed { dial, why, words } => {
                tracing::debug!(?dial, ?why, words, "a dial failed");
                self.on_call_end(now, dial);
                match self.dials.remove(&dial) {
                    Some(Purpose::Room(dial)) => {
                        let is_alone = self.nat.is_unheard() && self.links.linked().next().is_none();
                        let why = if why == DialFailure::NoAnswer && is_alone { DialFailure::NoUdp } else { why };
                        self.room.handle_dial_failed(now, dial, why, &words);
                    }
                    Some(Purpose::Holder(peer)) => self.downloads.on_link_failed(peer),
                    Some(Purpose::Callback) | None => {}
                }
            }
            LinkEvent::Message { from, message } => {
                self.room.handle_heard(now, from, Duration::ZERO);
                match message {
                    LinkMessage::Room(message) => self.room.handle_message(now, from, *message),
                    LinkMessage::Catalogue(message) => self.catalogue.handle_message(now, from, message),
                    LinkMessage::Path(message) => self.on_passing(now, from, &message),
                }
            }
            LinkEvent::Bulk { peer, connection, channel } => {
                let is_member = self.room.view().contains(peer);
                self.serving.handle_readable(now, &mut self.endpoint, peer, is_member, (connection, channel));
            }
            LinkEvent::Unreachable(peer) => self.room.handle_unreachable(now, peer),
            LinkEvent::Gone(connection) => {
                self.on_passing_gone(now, connection);
                self.downloads.on_lost(connection);
                self.serving.on_lost(connection);
            }
        }
    }

    fn on_room(&mut self, now: Instant, output: RoomOutput) {
        match output {
            RoomOutput::Send { to, message } => {
                self.spare.remove(&to);
                let message = LinkMessage::Room(Box::new(message));
                if let Err(error) = self.links.send(now, &mut self.endpoint, to, &message) {
                    tracing::debug!(%to, %error, "a message was not sent");
                }
            }
            RoomOutput::Dial { dial, to } => {
                let to = self.worth_calling(to);
                let typed = to.addresses.first().copied().filter(|_| to.id.is_none());
                let relays = self.relays_to(to.id);
                let number = self.links.dial(now, &mut self.endpoint, to, &relays);
                self.dials.insert(number, Purpose::Room(dial));
                if let Some(typed) = typed {
                    self.meet(now, typed, Some(number));
                }
            }
            RoomOutput::GiveUp { dial } => {
                let is_it = |(_, purpose): &(&_, &Purpose)| matches!(purpose, Purpose::Room(other) if *other == dial);
                let number = self.dials.iter().find(is_it).map(|(number, _)| *number);
                if let Some(number) = number.filter(|number| self.links.give_up(now, &mut self.endpoint, *number)) {
                    self.dials.remove(&number);
                }
            }
            RoomOutput::Drop { id } => {
                self.spare.insert(id, now);
                self.drop_spare(now);
            }
            RoomOutput::Probe { id } => {
                if let Some(connection) = self.links.connection(id) {
                    self.endpoint.ping(now, connection);
                }
            }
            RoomOutput::Punch { to } => self.meet(now, to, None),
            RoomOutput::AddSecret { id, secret } => self.endpoint.add_secret(id, secret),
            RoomOutput::RemoveSecret { id } => self.endpoint.remove_secret(id),
            RoomOutput::Publish => {
                let view = self.room.view();
                self.links.set_members(view.ids());
                // A room in which nobody else ever was is not worth coming back to.
                let room = (view.admitted > 1).then_some(view.room.0);
                if room.is_some() && core::mem::replace(&mut self.noted, room) != room {
                    self.disk.push_back(DiskRequest::InRoom(room));
                }
                self.passing.on_view(now, view.epoch.supernode);
                self.catalogue.handle_view(now, view.ids(), view.epoch.supernode);
                self.tell_peers(now);
                self.open_for_callers(now);
                self.on_records(now);
                self.paths.look = true;
            }
            RoomOutput::Event(event) => self.told.push(event),
            RoomOutput::Left => {
                self.disk.push_back(DiskRequest::InRoom(None));
                self.links.close_all(now, &mut self.endpoint);
                self.stage = Stage::Closing(now + CLOSE_TIME);
            }
        }
    }

    /// Tells how each member is reached, once its link is up and whenever its address is another one.
    fn tell_paths(&mut self, now: Instant) {
        if !core::mem::take(&mut self.paths.look) || self.stage != Stage::InRoom {
            return;
        }
        let view = self.room.view();
        self.paths.told.retain(|peer, _| view.contains(*peer));
        for (id, connection) in self.links.linked().filter(|(peer, _)| view.contains(*peer)) {
            let Some(stats) = self.endpoint.stats(now, connection) else { continue };
            let before = self.paths.told.get(&id).map(|(route, _)| *route);
            if before == Some(stats.route) {
                continue;
            }
            let Some(path) = path_of(&stats) else {
                // It counts once datagrams of full size went both ways.
                self.paths.told.remove(&id);
                self.endpoint.prove_size(now, connection);
                continue;
            };
            let rtt_ms = stats.min_rtt.map(|_| stats.rtt.as_secs_f64() * 1e3);
            let (punched, why) = self.punching.explain(id);
            // Without a punch it took the packets of the call.
            let probes = if punched == 0 && before.is_none() { stats.sent_packets } else { punched };
            self.paths.told.insert(id, (stats.route, probes));
            let why = why.filter(|_| stats.route.is_relayed());
            self.told.push(Event::Path { id, path, rtt_ms, probes, why });
        }
    }

    /// What is known of our NAT, in a line for people; or why nothing is.
    pub(super) fn explain_nat(&self) -> String {
        let nat = self.nat.fingerprint();
        let ignored = match self.nat.ignored_answers() {
            0 => String::new(),
            count => format!("; {count} STUN answers were wrong and ignored"),
        };
        if is_measured(nat) {
            return format!("{nat}{ignored}");
        }
        let why = if self.config.room.local {
            "all are on this machine or network, and no server or member is asked what it sees of this node"
        } else if self.config.stun.is_empty() {
            "no STUN server is asked, and no member has said yet what it sees of this node"
        } else {
            "no STUN server has answered yet, and no member has said what it sees of this node"
        };
        format!("not measured: {why}{ignored}")
    }

    /// How each member is reached, and why no better.
    pub(super) fn explain_paths(&self, now: Instant) -> Vec<PathExplained> {
        let view = self.room.view();
        let members = self.links.linked().filter_map(|(id, connection)| Some((id, connection, view.record(id)?)));
        let explain = |(id, connection, record): (NodeId, ConnectionHandle, &MemberRecord)| {
            let stats = self.endpoint.stats(now, connection)?;
            let route = stats.route;
            let via = match route {
                Route::Relayed { by, .. } => self.links.peer_of(by),
                Route::Udp { .. } => None,
            };
            let paths = self.endpoint.paths(now, connection);
            let standby = paths.iter().filter(|path| path.validated && !path.active).count();
            let theirs = &record.facts.nat;
            let nat = if is_measured(theirs) { theirs.to_string() } else { "not measured by that member".to_owned() };
            let (punched, why) = self.punching.explain(id);
            let probes = self.paths.told.get(&id).map_or(punched, |(_, told)| punched.max(*told));
            let small =
                || (!stats.full_size).then(|| "packets of full size (1200 bytes) do not get through".to_owned());
            let (path, why) = match path_of(&stats) {
                Some(Path::Relayed) => (Path::Relayed, why),
                _ => (Path::Direct, small()),
            };
            Some(PathExplained { id, path, via, standby, probes, nat, why })
        };
        members.filter_map(explain).collect()
    }

    /// Whether anything happened.
    fn settle_catalogue(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(output) = self.catalogue.poll_output() {
            match output {
                CatalogueOutput::Disk(request) => self.disk.push_back(request),
                CatalogueOutput::Event(event) => self.told.push(event),
            }
            any = true;
        }
        let links = &self.links;
        let next = self.catalogue.poll_message(|peer| links.waiting(peer) < CATALOGUE_BACKLOG);
        if let Some((to, message)) = next {
            if let Err(error) = self.links.send(now, &mut self.endpoint, to, &LinkMessage::Catalogue(message)) {
                tracing::debug!(%to, %error, "offers were not sent");
            }
            any = true;
        }
        any
    }

    /// Whether anything happened.
    fn settle_transfer(&mut self, now: Instant) -> bool {
        if self.stage == Stage::InRoom {
            let (links, catalogue) = (&self.links, &self.catalogue);
            self.downloads.pump(now, &mut Around { endpoint: &mut self.endpoint, links, catalogue });
            self.serving.pump(now, &mut self.endpoint, catalogue);
        }
        let mut any = false;
        while let Some(request) = self.serving.poll_disk() {
            self.disk.push_back(request);
            any = true;
        }
        while let Some(output) = self.downloads.poll_output() {
            match output {
                TransferOutput::Disk(request) => self.disk.push_back(request),
                TransferOutput::Event(event) => self.told.push(event),
                TransferOutput::NeedLink(holder) => self.dial_holder(now, holder),
            }
            any = true;
        }
        any
    }

    fn dial_holder(&mut self, now: Instant, holder: NodeId) {
        let Some(record) = self.room.view().record(holder) else { return self.downloads.on_link_failed(holder) };
        let addresses = self.room.addresses_of(record);
        let to = DialTo { addresses, id: Some(holder), key: Some(record.noise()), invitation: None };
        let to = self.worth_calling(to);
        let relays = self.relays_to(to.id);
        let number = self.links.dial(now, &mut self.endpoint, to, &relays);
        self.dials.insert(number, Purpose::Holder(holder));
    }

    /// Tells the room who gave a sign of life, acknowledgements included.
    pub(super) fn listen(&mut self, now: Instant) {
        if self.listen_at().is_none_or(|at| now < at) {
            return;
        }
        let since = now.saturating_since(self.listened);
        for (peer, connection) in self.links.linked() {
            let silent_for = self.endpoint.stats(now, connection).map(|stats| stats.silent_for);
            if let Some(ago) = silent_for.filter(|ago| *ago < since) {
                self.room.handle_heard(now, peer, ago);
            }
        }
        self.listened = now;
        self.drop_spare(now);
    }

    /// When [`listen`](Self::listen) is due.
    pub(super) fn listen_at(&self) -> Option<Instant> {
        self.links.linked().next().map(|_| self.listened + LISTEN_EVERY)
    }

    /// Closes links that neither the room nor a transfer needs.
    fn drop_spare(&mut self, now: Instant) {
        let mut idle = Vec::new();
        for (peer, since) in &mut self.spare {
            if self.downloads.uses(*peer) || self.serving.uses(*peer) {
                *since = now + SPARE_TIME;
            } else if now >= *since {
                idle.push(*peer);
            }
        }
        for peer in idle {
            self.spare.remove(&peer);
            self.links.drop_link(now, peer);
        }
    }

    /// Says bye once the links are closed.
    fn close_if_done(&mut self, now: Instant) {
        let Stage::Closing(until) = self.stage else { return };
        if now >= until || (self.links.is_empty() && self.endpoint.is_quiet()) {
            self.stage = Stage::Over;
            self.told.push(Event::Bye);
        }
    }

    /// When closing links has taken long enough.
    pub(super) const fn close_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Closing(until) => Some(until),
            Stage::InRoom | Stage::Leaving | Stage::Over => None,
        }
    }
}

/// Whether anything is known of a NAT that a person could make something of.
fn is_measured(nat: &Fingerprint) -> bool {
    (Fingerprint { lifetime: None, ..*nat }) != Fingerprint::default()
}
