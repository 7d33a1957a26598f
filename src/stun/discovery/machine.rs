//! The parts, and the verbs over all of them.

use super::api::{Ask, Config, DEFAULT_KEEPALIVE, Event, Vantage};
use super::bench::{Bench, Occasion};
use super::filtering::FilteringStep;
use super::hairpin::HairpinStep;
use super::lifetime::LifetimeStep;
use super::sampling::SamplingStep;
use super::survey::Survey;
use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::stun::Packet;
use crate::stun::client::Ignored;
use crate::stun::fingerprint::{Fingerprint, Mapping, Ports};
use crate::stun::message::{Class, Probe, TransactionId, View};
use crate::stun::plausible::canonical;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// How often a step that told nothing is tried again, as more vantage points become known, at most.
const MAX_ATTEMPTS: u32 = 3;

/// The least that a keepalive is worth: what forgets sooner is not kept alive.
const MIN_KEEPALIVE: Duration = Duration::from_secs(5);

/// What is in the NAT's table for longer than this without a packet is not tried.
const MAX_KEEPALIVE: Duration = Duration::from_secs(120);

/// Finds out what the NAT in front of one of our sockets does.
///
/// After any call, drain the polls; then wait for a datagram or for [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    bench: Bench,
    survey: Survey,
    filtering: Attempt<FilteringStep>,
    sampling: Attempt<SamplingStep>,
    hairpin: Attempt<HairpinStep>,
    lifetime: Attempt<LifetimeStep>,
    public: Option<SocketAddr>,
    fingerprint: Fingerprint,
    filtering_is_sure: bool,
    keepalive: Duration,
    is_settled: bool,
    looked_at: Instant,
    events: VecDeque<Event>,
}

/// A step, and what was tried before.
#[derive(Debug)]
struct Attempt<S> {
    step: Option<S>,
    attempts: u32,
    /// How many addresses had answered when it was last begun: with no more of them, the same would come of it.
    witnesses: usize,
}

impl<S> Attempt<S> {
    const NEW: Self = Self { step: None, attempts: 0, witnesses: 0 };

    const fn may_start(&self, witnesses: usize) -> bool {
        self.step.is_none() && self.attempts < MAX_ATTEMPTS && witnesses > self.witnesses
    }

    fn start(&mut self, witnesses: usize, step: Option<S>) {
        self.witnesses = witnesses;
        self.attempts = self.attempts.saturating_add(u32::from(step.is_some()));
        self.step = step;
    }
}

impl Discovery {
    /// Knows nobody yet. Ids and tokens follow from the seed, which nobody else may know.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let bench = Bench::new(seed, config.local.is_ipv4(), config.sockets.clone());
        Self {
            config,
            bench,
            survey: Survey::default(),
            filtering: Attempt::NEW,
            sampling: Attempt::NEW,
            hairpin: Attempt::NEW,
            lifetime: Attempt::NEW,
            public: None,
            fingerprint: Fingerprint::default(),
            filtering_is_sure: false,
            keepalive: DEFAULT_KEEPALIVE,
            is_settled: false,
            looked_at: Instant::ZERO,
            events: VecDeque::new(),
        }
    }

    /// One more vantage point is known. Those of the other family are none.
    pub fn add_vantage(&mut self, now: Instant, vantage: Vantage) {
        if vantage.address().is_ipv4() == self.config.local.is_ipv4() && vantage.address().port() != 0 {
            self.is_settled = false;
            self.survey.add(&mut self.bench, now, self.config.socket, self.config.patience, vantage);
            self.advance(now);
        }
    }

    /// A vantage point is gone.
    pub fn remove_vantage(&mut self, now: Instant, address: SocketAddr) {
        self.survey.remove(address);
        self.advance(now);
    }

    /// The network is another one: everything is forgotten but the vantage points, and measured again.
    pub fn restart(&mut self, now: Instant, local: SocketAddr, interfaces: Vec<IpAddr>) {
        (self.config.local, self.config.interfaces) = (local, interfaces);
        self.bench.clear(local.is_ipv4());
        self.filtering = Attempt::NEW;
        self.sampling = Attempt::NEW;
        self.hairpin = Attempt::NEW;
        self.lifetime = Attempt::NEW;
        self.public = None;
        self.fingerprint = Fingerprint::default();
        self.filtering_is_sure = false;
        self.keepalive = DEFAULT_KEEPALIVE;
        self.is_settled = false;
        self.events.clear();
        // What the last network bore may be too long for this one.
        self.events.push_back(Event::Keepalive(self.keepalive));
        self.survey.restart(&mut self.bench, now, self.config.socket, self.config.patience);
        self.advance(now);
    }

    /// A datagram that [is STUN's](crate::stun::is_stun). Says whether it is taken: answers are, malformed ones too, and probes that are
    /// awaited; requests are for a [server](crate::stun::server::Server).
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> bool {
        if let Ok(view) = View::check(bytes) {
            match view.class {
                Class::Request => return false,
                Class::Indication => {
                    return Probe::parse(&view).is_some_and(|probe| self.handle_probe(now, probe.token, socket, from));
                }
                Class::Success | Class::Error => {}
            }
        }
        self.bench.client.handle_datagram(now, socket, from, bytes);
        self.advance(now);
        true
    }

    /// Whether these bytes are an answer to one of our questions, as far as their id says.
    pub fn expects(&self, bytes: &[u8]) -> bool {
        self.bench.client.expects(bytes)
    }

    /// A probe came that a member sent. Says whether it was awaited.
    pub fn handle_probe(&mut self, now: Instant, token: TransactionId, socket: SocketId, from: SocketAddr) -> bool {
        let is_awaited = self.happen(now, &Occasion::Probe { token, socket, from: canonical(from) });
        self.advance(now);
        is_awaited
    }

    /// A member says that it sent the probe of an [`Ask`]; or nobody is there who could (`carried` is false).
    pub fn handle_carried(&mut self, now: Instant, token: TransactionId, carried: bool) {
        self.happen(now, &Occasion::Carried { token, carried });
        self.advance(now);
    }

    /// What became of a [request](Self::poll_socket). Says whether it was one of ours.
    pub fn handle_socket(&mut self, now: Instant, report: SocketReport) -> bool {
        let (socket, occasion) = match report {
            SocketReport::Opened { socket, local } => (socket, Occasion::Opened(socket, local)),
            SocketReport::Failed(socket) => (socket, Occasion::Failed(socket)),
        };
        if !self.bench.has(socket) {
            return false;
        }
        if matches!(occasion, Occasion::Failed(_)) {
            self.bench.on_failed(socket);
        }
        self.happen(now, &occasion);
        self.advance(now);
        true
    }

    /// The time last returned by [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.bench.client.handle_timeout(now);
        if let Some(step) = &mut self.filtering.step {
            step.handle_timeout(&mut self.bench, now);
        }
        if let Some(step) = &mut self.sampling.step {
            step.handle_timeout(&mut self.bench, now);
        }
        if let Some(step) = &mut self.hairpin.step {
            step.handle_timeout(&mut self.bench, now);
        }
        if let Some(step) = &mut self.lifetime.step {
            step.handle_timeout(&mut self.bench, now);
        }
        self.advance(now);
    }

    /// What to send next.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        self.bench.poll_transmit(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let steps = [
            self.filtering.step.as_ref().and_then(FilteringStep::poll_timeout),
            self.sampling.step.as_ref().and_then(SamplingStep::poll_timeout),
            self.hairpin.step.as_ref().and_then(HairpinStep::poll_timeout),
            self.lifetime.step.as_ref().and_then(LifetimeStep::poll_timeout),
        ];
        // Once that time has come, and was looked at, it brings nothing new.
        let rest = self.survey.rests_at().filter(|at| *at < Instant::FAR_FUTURE && *at > self.looked_at);
        steps.into_iter().chain([self.bench.client.poll_timeout(), rest]).flatten().min()
    }

    /// What became known next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Which socket to open or close next.
    pub fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.bench.poll_socket()
    }

    /// What to ask a member next. The answer is [`handle_carried`](Self::handle_carried).
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.bench.poll_ask()
    }

    /// What is known by now.
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// A vantage point that answers: whom to ask about other sockets.
    pub fn nearest(&self) -> Option<SocketAddr> {
        self.survey.answering().first().map(Vantage::address)
    }

    /// The address of the main socket as others see it, as far as it is known.
    pub const fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    /// How often to send something through a mapping, so that it lasts.
    pub const fn keepalive(&self) -> Duration {
        self.keepalive
    }

    /// Packets since the last start, those that members were asked to send included. Never more than [`MAX_PACKETS`](super::MAX_PACKETS) and
    /// the repetitions of what was asked before.
    pub fn spent(&self) -> u64 {
        self.bench.spent()
    }

    /// Answers that changed nothing.
    pub const fn ignored(&self) -> &Ignored {
        self.bench.client.ignored()
    }

    /// Shows something that happened to the steps. Says whether one took it.
    fn happen(&mut self, now: Instant, occasion: &Occasion<'_>) -> bool {
        let bench = &mut self.bench;
        self.filtering.step.as_mut().is_some_and(|step| step.handle(bench, now, occasion))
            || self.sampling.step.as_mut().is_some_and(|step| step.handle(bench, now, occasion))
            || self.hairpin.step.as_mut().is_some_and(|step| step.handle(bench, now, occasion))
            || self.lifetime.step.as_mut().is_some_and(|step| step.handle(bench, now, occasion))
    }

    /// Hands out the answers, draws the conclusions, begins what can begin.
    fn advance(&mut self, now: Instant) {
        self.looked_at = now;
        while let Some(report) = self.bench.client.poll_event() {
            if !self.survey.handle(&mut self.bench, now, self.config.socket, &report) {
                self.happen(now, &Occasion::Ended(&report));
            }
        }
        let before = self.fingerprint;
        self.learn_from_survey(now);
        self.learn_from_steps();
        self.start_steps(now);
        if self.fingerprint != before {
            self.events.push_back(Event::Learned(self.fingerprint));
        }
        self.settle(now);
    }

    fn learn_from_survey(&mut self, now: Instant) {
        let known = &mut self.fingerprint;
        known.blocked = if self.survey.is_heard() { false } else { known.blocked || self.survey.is_blocked() };
        let Some(verdict) = self.survey.verdict(now) else { return };
        if self.public != Some(verdict.public) {
            self.public = Some(verdict.public);
            self.events.push_back(Event::Public(verdict.public));
        }
        let is_translated = !self.is_own(verdict.public);
        let known = &mut self.fingerprint;
        known.translated = Some(is_translated);
        if !is_translated {
            (known.mapping, known.ports) = (Some(Mapping::Independent), Some(Ports::Kept));
        } else if verdict.mapping.is_some() {
            known.mapping = verdict.mapping;
        }
        let is_kept = verdict.public.port() == self.config.local.port();
        if known.ports.is_none() && known.mapping == Some(Mapping::Independent) && is_kept {
            known.ports = Some(Ports::Kept);
        }
    }

    fn learn_from_steps(&mut self) {
        let (known, bench) = (&mut self.fingerprint, &mut self.bench);
        if let Some(step) = &mut self.filtering.step
            && let Some(result) = step.result()
        {
            known.filtering = result.filtering.or(known.filtering);
            self.filtering_is_sure = result.is_sure;
            step.close(bench);
            self.filtering.step = None;
        }
        if let Some(step) = &mut self.sampling.step
            && let Some(result) = step.result()
        {
            known.ports = result.or(known.ports);
            step.close(bench);
            self.sampling.step = None;
        }
        if let Some(step) = &mut self.hairpin.step
            && let Some(result) = step.result()
        {
            known.hairpin = result.or(known.hairpin);
            step.close(bench);
            self.hairpin.step = None;
        }
        if let Some(step) = &mut self.lifetime.step {
            let (held, is_over) = (step.held(), step.is_over());
            known.lifetime = held.or(known.lifetime);
            if is_over {
                step.close(bench);
                self.lifetime.step = None;
            }
            if let Some(held) = held {
                self.set_keepalive(keepalive_for(held, is_over));
            }
        }
    }

    fn set_keepalive(&mut self, keepalive: Duration) {
        if self.keepalive != keepalive {
            self.keepalive = keepalive;
            self.events.push_back(Event::Keepalive(keepalive));
        }
    }

    fn start_steps(&mut self, now: Instant) {
        let known = self.fingerprint;
        let (Some(public), Some(is_translated)) = (self.public, known.translated) else { return };
        let answering = self.survey.answering();
        let Some(nearest) = answering.first().map(Vantage::address) else { return };
        let addresses = self.survey.answering_addresses();
        let witnesses = addresses.len();
        let is_rested = self.survey.is_rested(now);

        let can_filter = is_rested || FilteringStep::is_ready(&self.survey);
        if !self.filtering_is_sure && can_filter && self.filtering.may_start(witnesses) {
            let step = FilteringStep::start(&mut self.bench, &self.survey);
            self.filtering.start(witnesses, step);
        }
        // From a single place nobody can tell why a port is kept: because all are, or because it is the first.
        let can_sample = known.mapping.is_some() || public.port() != self.config.local.port();
        if known.ports.is_none() && is_rested && can_sample && self.sampling.may_start(witnesses) {
            let further = match known.mapping {
                None | Some(Mapping::Independent) => Vec::new(),
                Some(Mapping::ByAddress) => one_of_each_ip(addresses, nearest),
                Some(Mapping::ByAddressAndPort) => addresses,
            };
            self.sampling.start(witnesses, Some(SamplingStep::start(now, nearest, further)));
        }
        // What follows disturbs the order in which ports are given, and waits.
        let is_quiet = is_rested && self.filtering.step.is_none() && self.sampling.step.is_none();
        if known.hairpin.is_none() && is_translated && is_quiet && self.hairpin.may_start(witnesses) {
            let step = HairpinStep::start(&mut self.bench, now, nearest);
            self.hairpin.start(witnesses, Some(step));
        }
        let is_quiet = is_quiet && self.hairpin.step.is_none();
        let is_wanted = known.lifetime.is_none() && !self.config.silences.is_empty();
        if is_wanted && is_quiet && self.lifetime.may_start(witnesses) {
            let are_kept = known.ports.is_none_or(|ports| ports == Ports::Kept);
            let step = LifetimeStep::start(&mut self.bench, now, &answering, &self.config.silences, are_kept);
            self.lifetime.start(witnesses, step);
        }
    }

    /// Says once that all is measured that can be, but for the lifetime, which takes minutes.
    fn settle(&mut self, now: Instant) {
        let is_measuring = self.filtering.step.is_some() || self.sampling.step.is_some() || self.hairpin.step.is_some();
        let is_judged = self.fingerprint.blocked || self.public.is_some() && self.survey.is_rested(now);
        if is_judged && !is_measuring && !self.is_settled {
            self.is_settled = true;
            self.events.push_back(Event::Settled);
        }
    }

    /// Whether a socket of this machine has this address.
    fn is_own(&self, address: SocketAddr) -> bool {
        let local = canonical(self.config.local);
        let is_own_ip = if local.ip().is_unspecified() {
            self.config.interfaces.iter().any(|ip| ip.to_canonical() == address.ip())
        } else {
            local.ip() == address.ip()
        };
        is_own_ip && local.port() == address.port()
    }
}

/// Those that have mappings of their own where `nearest` has one, and mappings are by address.
fn one_of_each_ip(addresses: Vec<SocketAddr>, nearest: SocketAddr) -> Vec<SocketAddr> {
    let mut addresses = addresses;
    addresses.dedup_by_key(|address| address.ip());
    addresses.retain(|address| address.ip() != nearest.ip());
    addresses
}

/// Three quarters of what a mapping was seen to outlast: a packet that is late, or the timer of a NAT that looks only so often, does no harm,
/// and the next silence that was tried, at which it was gone, is twice as long.
fn keepalive_for(held: Duration, is_over: bool) -> Duration {
    let safe = (held / 4).saturating_mul(3).clamp(MIN_KEEPALIVE, MAX_KEEPALIVE);
    // As long as it goes on, what was seen is only the beginning.
    if is_over { safe } else { safe.max(DEFAULT_KEEPALIVE) }
}

#[cfg(test)]
mod tests;
