//! Ends, and the wire between them.

use crate::machine::{Datagram, Ecn, Machine, SocketId};
use crate::mrt::Config;
use crate::node::catalogue::CatalogueMessage;
use crate::node::links::table::*;
use std::net::SocketAddr;

pub(super) const SECOND: Duration = Duration::from_secs(1);

const DELAY: Duration = Duration::from_millis(10);

/// One end: an endpoint and its links.
pub(super) struct End {
    pub(super) identity: Arc<Identity>,
    pub(super) address: SocketAddr,
    pub(super) endpoint: Endpoint,
    pub(super) links: Links,
    pub(super) events: Vec<LinkEvent>,
    /// Completes handshakes, and says nothing.
    pub(super) silent: bool,
}

impl End {
    pub(super) fn new(seed: u8, program: u64) -> Self {
        let identity = Arc::new(Identity::from_seed(&[seed; 32]));
        let address = SocketAddr::from(([10, 0, 0, seed], 7000));
        let record = MemberRecord::sign(&identity, "x", &[address], 1);
        let endpoint = Endpoint::new(Config::new(identity.noise().clone(), b"test"), [seed ^ program as u8; 32]);
        let links = Links::new(identity.clone(), program, record);
        Self { identity, address, endpoint, links, events: Vec::new(), silent: false }
    }

    pub(super) fn id(&self) -> NodeId {
        self.identity.id()
    }

    pub(super) fn known(&self) -> DialTo {
        let key = Some(self.identity.noise().public());
        DialTo { addresses: vec![self.address], id: Some(self.id()), key, invitation: None }
    }

    pub(super) fn unknown(&self) -> DialTo {
        DialTo { id: None, key: None, ..self.known() }
    }

    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            if !self.silent {
                self.links.handle_event(now, &mut self.endpoint, event);
            }
        }
        self.events.extend(std::iter::from_fn(|| self.links.poll_event()));
    }

    pub(super) fn ups(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, LinkEvent::Up { .. })).count()
    }

    pub(super) fn downs(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, LinkEvent::Down { .. })).count()
    }

    /// What others said, as numbers.
    pub(super) fn heard(&self) -> Vec<u64> {
        let number = |event: &LinkEvent| match event {
            LinkEvent::Message { message: LinkMessage::Catalogue(CatalogueMessage::Want(owners)), .. } => {
                owners.first().map(|owner| u64::from_be_bytes(*owner.0.first_chunk().unwrap()))
            }
            _ => None,
        };
        self.events.iter().filter_map(number).collect()
    }
}

/// Any message will do: this one carries a number.
pub(super) fn number(number: u64) -> LinkMessage {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    LinkMessage::Catalogue(CatalogueMessage::Want(vec![NodeId(id)]))
}

/// Ends on a wire with one delay; nothing is lost unless an address is cut off.
pub(super) struct Net {
    pub(super) ends: Vec<End>,
    pub(super) now: Instant,
    pub(super) flying: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    pub(super) cut: BTreeSet<SocketAddr>,
    /// More addresses that lead to an end, with the milliseconds there and back.
    pub(super) aliases: BTreeMap<SocketAddr, (usize, u64, u64)>,
    /// The datagram that is lost, counted from the first.
    pub(super) lost: Option<usize>,
    pub(super) sent: usize,
}

impl Net {
    pub(super) fn new(ends: Vec<End>) -> Self {
        Self {
            ends,
            now: Instant::from_start(Duration::from_secs(1)),
            flying: VecDeque::new(),
            cut: BTreeSet::new(),
            aliases: BTreeMap::new(),
            lost: None,
            sent: 0,
        }
    }

    /// Another address of that end, so far away.
    pub(super) fn alias(&mut self, end: usize, there: u64, back: u64) -> SocketAddr {
        let address = SocketAddr::from(([10, 1, end as u8, 1 + self.aliases.len() as u8], 7000));
        self.aliases.insert(address, (end, there, back));
        address
    }

    /// Puts a datagram on the wire. Who calls an alias is seen at an address of its own there, so that the answers come back that way.
    pub(super) fn carry(&mut self, from: usize, to: SocketAddr, contents: Vec<u8>) {
        self.sent += 1;
        if self.lost == Some(self.sent) {
            return;
        }
        let marked = |alias: SocketAddr, end: usize| SocketAddr::new(alias.ip(), 100 + end as u16);
        let (from, to, delay) = if let Some((end, there, _)) = self.aliases.get(&to) {
            (marked(to, from), self.ends[*end].address, Duration::from_millis(*there))
        } else if let Some((alias, (_, _, back))) = self.aliases.iter().find(|(alias, _)| alias.ip() == to.ip()) {
            (*alias, self.ends[usize::from(to.port() - 100)].address, Duration::from_millis(*back))
        } else {
            (self.ends[from].address, to, DELAY)
        };
        let at = self.now + delay;
        let place = self.flying.partition_point(|packet| packet.0 <= at);
        self.flying.insert(place, (at, from, to, contents));
    }

    pub(super) fn dial(&mut self, from: usize, to: DialTo) -> DialNumber {
        let end = &mut self.ends[from];
        end.links.dial(self.now, &mut end.endpoint, to, &Relays::default())
    }

    pub(super) fn say(&mut self, from: usize, to: usize, what: u64) -> Result<(), Lost> {
        let to = self.ends[to].id();
        let end = &mut self.ends[from];
        end.links.send(self.now, &mut end.endpoint, to, &number(what))
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut buffer = Vec::new();
            for index in 0..self.ends.len() {
                let now = self.now;
                self.ends[index].settle(now);
                while let Some(transmit) = self.ends[index].endpoint.poll_transmit(now, &mut buffer) {
                    for datagram in buffer.chunks(transmit.segment_size) {
                        self.carry(index, transmit.to, datagram.to_vec());
                    }
                    buffer.clear();
                }
            }
            let timers = self.ends.iter().flat_map(|end| [end.endpoint.poll_timeout(), end.links.poll_timeout()]);
            let next = timers.flatten().chain(self.flying.front().map(|packet| packet.0)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let now = self.now;
            while self.flying.front().is_some_and(|packet| packet.0 <= now) {
                let Some((_, from, to, mut contents)) = self.flying.pop_front() else { break };
                if self.cut.contains(&from) || self.cut.contains(&to) {
                    continue;
                }
                if let Some(end) = self.ends.iter_mut().find(|end| end.address == to) {
                    end.endpoint.handle_datagram(
                        now,
                        Datagram { socket: SocketId::MAIN, from, ecn: Ecn::NotCapable, contents: &mut contents },
                    );
                }
            }
            for end in &mut self.ends {
                end.endpoint.handle_timeout(now);
                end.links.handle_timeout(now, &mut end.endpoint);
            }
        }
        self.now = end;
    }
}

pub(super) fn pair() -> Net {
    Net::new(vec![End::new(1, 1), End::new(2, 1)])
}
