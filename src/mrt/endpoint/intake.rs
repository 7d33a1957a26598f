//! A datagram that came: whose it is, or what is done about a stranger.
//!
//! Nothing is answered that is damaged, unknown, or not a request; a request of 1200 bytes gets one answer of fewer.

use super::endpoint::{Endpoint, Entry, RequestId};
use crate::machine::{Datagram, Ecn};
use crate::mrt::connection::{Connection, Request};
use crate::mrt::route::Route;
use crate::mrt::wire::{Clear, DataHeader, PacketKind, Pattern};
use crate::time::{Duration, Instant};

/// How many times `max_half_open` strangers may be half-open at once, even with a cookie.
const HALF_OPEN_WITH_COOKIE: usize = 8;

/// How long a half-open stranger keeps its place when all are taken: a few round trips of the slowest link.
const HALF_OPEN_UNDISTURBED: Duration = Duration::from_secs(1);

impl Endpoint {
    pub(super) fn take_in(&mut self, now: Instant, datagram: Datagram<'_>) {
        let route = Route::Udp { socket: datagram.socket, remote: datagram.from };
        match datagram.contents.first().copied().and_then(PacketKind::of) {
            Some(PacketKind::Rely) => self.take_in_relayed(now, datagram, route),
            _ => self.take_in_on(now, route, datagram.ecn, datagram.contents),
        }
    }

    /// A datagram that came this way, its wrapping taken off. One that is wrapped again is nobody's.
    pub(super) fn take_in_on(&mut self, now: Instant, from: Route, ecn: Ecn, contents: &mut [u8]) {
        match contents.first().copied().and_then(PacketKind::of) {
            Some(PacketKind::Data) => {
                let Ok(header) = DataHeader::parse(contents) else { return };
                let Some(handle) = self.by_cid.get(&header.to).copied() else { return };
                let Some(entry) = self.entry_mut(handle) else { return };
                entry.connection.on_data(now, from, ecn, header, contents);
                self.touched(handle);
            }
            Some(PacketKind::Rcon | PacketKind::Rtry | PacketKind::Acon) => {
                if let Ok(packet) = Clear::parse(contents) {
                    self.take_in_clear(now, from, &packet, contents.len());
                }
            }
            Some(PacketKind::Rely | PacketKind::Pnch) | None => {}
        }
    }

    fn take_in_clear(&mut self, now: Instant, from: Route, packet: &Clear<'_>, bytes: usize) {
        match *packet {
            Clear::Rcon { relayed, pattern, from: cid, cookie, noise } => {
                // The size of the other kind would be less than a path has to carry, or more than it does.
                if relayed == from.is_relayed() {
                    self.on_request(now, &Request { from, cid, pattern, noise }, cookie);
                }
            }
            Clear::Rtry { to, cookie } => {
                let Some(handle) = self.by_cid.get(&to).copied() else { return };
                if let Some(entry) = self.entry_mut(handle) {
                    entry.connection.on_retry(now, cookie);
                }
                self.touched(handle);
            }
            Clear::Acon { to, noise, .. } => {
                let Some(handle) = self.by_cid.get(&to).copied() else { return };
                if let Some(entry) = self.connections.get_mut(&handle) {
                    entry.connection.on_accept(now, &self.config, from, noise, bytes);
                }
                self.touched(handle);
            }
        }
    }

    fn on_request(&mut self, now: Instant, request: &Request<'_>, cookie: &[u8]) {
        let id = (request.cid, *blake3::hash(request.noise).as_bytes());
        if let Some(handle) = self.by_request.get(&id).copied() {
            if let Some(entry) = self.entry_mut(handle) {
                entry.connection.on_repeated_request(now, request.from);
                self.touched(handle);
            }
            return;
        }
        if self.connections.len() >= self.config.max_connections
            || (request.pattern == Pattern::XX && !self.listens_to_strangers)
        {
            return;
        }
        if self.half_open.len().saturating_add(self.unreadable(now)) >= self.config.max_half_open {
            if !self.cookies.is_good(now, request.from, request.cid, cookie) {
                let cookie = self.cookies.bake(now, request.from, request.cid);
                self.reply(request.from, &Clear::Rtry { to: request.cid, cookie: &cookie });
                return;
            }
            if self.half_open.len() >= self.config.max_half_open.saturating_mul(HALF_OPEN_WITH_COOKIE)
                && !self.make_room(now)
            {
                return;
            }
        }
        self.accept(now, request, id);
    }

    /// Whoever has an address can fill all places. Who means it takes a round trip or two, who does not stays for twenty seconds: the
    /// oldest has to go, if it had its time.
    fn make_room(&mut self, now: Instant) -> bool {
        let Some(oldest) = self.half_open.first().copied() else { return false };
        let had_its_time = self
            .connections
            .get(&oldest)
            .is_none_or(|entry| now.saturating_since(entry.connection.began()) >= HALF_OPEN_UNDISTURBED);
        if had_its_time {
            self.remove(oldest);
        }
        had_its_time
    }

    fn accept(&mut self, now: Instant, request: &Request<'_>, id: RequestId) {
        let birth = self.draw();
        let secrets = &self.secrets;
        let accepted = Connection::accept(now, &self.config, &birth, request, |id| secrets.get(&id).cloned());
        if let Ok(connection) = accepted {
            self.insert(birth.handle, Entry { connection, cid: birth.cid, request: Some(id), half_open: true });
        } else {
            self.unreadable = match self.unreadable(now) {
                0 => (now, 1),
                others => (self.unreadable.0, others.saturating_add(1)),
            };
        }
    }

    /// Requests that could not be read within the last second. Each cost an agreement of keys, so that they are load as the half-open
    /// are, and a flood of them from addresses that are not proven is held off by the same cookie.
    fn unreadable(&self, now: Instant) -> usize {
        let (began, count) = self.unreadable;
        if now.saturating_since(began) < Duration::from_secs(1) { count } else { 0 }
    }
}
