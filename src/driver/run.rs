//! The loop: receive, obey, be on time, open and close sockets, tell, send, wait; a bounded amount of each a turn.
//!
//! **A slow reader of events.** One event at most is held here while the channel is full. From then on no event is polled and no
//! command taken, so that whatever the machine would tell stays in the machine, where credit and caps bound it. Receiving,
//! acknowledging, keepalives and sending go on: connections live however long the reader sleeps. Nothing is dropped, unless the
//! reader is gone or does not read the last events within [`FAREWELL`].

use super::driven::Driven;
use super::helper::{self, Helper};
use super::remote::{Commander, Remote};
use super::socket::{Outcome, Socket};
use super::sockets::{Share, Sockets};
use super::surroundings::{self, World};
use super::{Clock, wait::wait};
use crate::machine::{MAX_TRANSMIT_BYTES, SocketRequest, Transmit};
use crate::time::{Duration, Instant};
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use mio::{Events, Poll, Token, Waker};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::thread::Builder;

/// Commands that wait for the network thread, at most.
const MAX_COMMANDS: usize = 256;

/// Events that wait for their reader, at most.
const MAX_EVENTS: usize = 1024;

/// Bytes received before the machine's events are polled: what is read is freed while it is in the processor's cache, and before
/// the allocator returns it to the system, only to ask for it again (both measured: a fifth of a receiver's time).
const TELL_EVERY: usize = 64 << 10;

/// Commands, answers of the helper, or facts about the surroundings, taken a turn, at most.
const COMMANDS_A_TURN: usize = 32;

/// Events told, jobs given, or requests made, a turn, at most.
const EVENTS_A_TURN: usize = 256;

/// Transmits a turn, at most: 16 of 64 KiB are a third of a millisecond of work.
const SENDS_A_TURN: usize = 16;

/// Sockets opened or closed a turn, at most. Opening one is about fifteen system calls.
const SOCKETS_A_TURN: usize = 32;

/// Sockets that one wait tells about, at most; the next tells about the others.
const READY_A_TURN: usize = 64;

/// When to look again at something that tells nobody that it changed: a full channel, a socket in trouble.
const RETRY: Duration = Duration::from_millis(5);

/// How long the last events wait for their reader once the machine has finished.
const FAREWELL: Duration = Duration::from_secs(2);

const WAKER: Token = Token(1);

/// Runs a machine on a thread of its own, called `name`. Its jobs, if it has any, are not done.
pub fn spawn<D>(name: &str, socket: Socket, driven: D, clock: Clock) -> io::Result<Remote<D::Command, D::Event>>
where
    D: Driven + 'static,
{
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let local = socket.local_addr();
    let (network, commands, events) = Network::new(poll, &waker, socket, driven, clock, None, None)?;
    let thread = Builder::new().name(name.into()).spawn(move || network.run())?;
    Ok(Remote::new(Commander::new(commands, waker), events, thread, Vec::new(), local))
}

/// Runs a machine on a thread of its own, called `name`, and its jobs on another, called `anjer-disk`. With `surroundings` there is a
/// third one, called `anjer-world`, that tells it about the network around it; without it, whatever the machine asks of them goes
/// unanswered.
pub fn spawn_with_helper<D, H>(
    name: &str,
    socket: Socket,
    driven: D,
    clock: Clock,
    helper: H,
    surroundings: Option<surroundings::Config>,
) -> io::Result<Remote<D::Command, D::Event>>
where
    D: Driven + 'static,
    H: Helper<Job = D::Job, Done = D::Done> + 'static,
{
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let local = socket.local_addr();
    let (jobs, jobs_out) = bounded(helper::MAX_JOBS);
    let (done_in, done) = bounded(helper::MAX_DONE);
    let helping = Helping { jobs, done, held: None };
    let mut beside = Vec::new();
    let mut world = None;
    if let Some(config) = surroundings {
        let (ours, thread) = surroundings::spawn(config, clock, Arc::clone(&waker))?;
        world = Some(ours);
        beside.push(thread);
    }
    let (network, commands, events) = Network::new(poll, &waker, socket, driven, clock, Some(helping), world)?;
    beside.push(helper::spawn(helper, jobs_out, done_in, Arc::clone(&waker))?);
    let thread = Builder::new().name(name.into()).spawn(move || network.run())?;
    Ok(Remote::new(Commander::new(commands, waker), events, thread, beside, local))
}

/// The network thread's ends of the helper's channels.
struct Helping<D: Driven> {
    jobs: Sender<D::Job>,
    done: Receiver<D::Done>,
    /// A job that found the channel full.
    held: Option<D::Job>,
}

/// The network thread's end of the events.
struct Teller<D: Driven> {
    events: Sender<D::Event>,
    /// An event that found the channel full.
    held: Option<D::Event>,
}

impl<D: Driven> Teller<D> {
    /// Hands out events while there is room for them, a turn's worth at most. Returns how many.
    fn tell(&mut self, driven: &mut D) -> usize {
        let mut told = 0;
        while told < EVENTS_A_TURN
            && let Some(event) = self.held.take().or_else(|| driven.poll_event())
        {
            match self.events.try_send(event) {
                // Without a reader the rest of the run goes on in silence.
                Ok(()) | Err(TrySendError::Disconnected(_)) => told += 1,
                Err(TrySendError::Full(event)) => {
                    self.held = Some(event);
                    break;
                }
            }
        }
        told
    }
}

/// Everything the network thread has.
struct Network<D: Driven> {
    poll: Poll,
    /// A waker that is dropped takes its last wake-up along: the one that says that nobody is left.
    _waker: Arc<Waker>,
    ready: Events,
    sockets: Sockets,
    driven: D,
    clock: Clock,
    commands: Receiver<D::Command>,
    teller: Teller<D>,
    helping: Option<Helping<D>>,
    world: Option<World>,
    /// Nobody can send a command any more.
    abandoned: bool,
    /// What is to be sent next, or found the system's buffer full.
    buffer: Vec<u8>,
    /// How to send the buffer, and how much of it has left.
    unsent: Option<(Transmit, usize)>,
    /// Something was left undone only because its share of the turn was used up.
    more: bool,
    /// Something has to be tried again, and nobody will say when.
    retry: bool,
    /// When to end without having told everything.
    farewell: Option<Instant>,
}

type Ends<D> = (Network<D>, Sender<<D as Driven>::Command>, Receiver<<D as Driven>::Event>);

impl<D: Driven> Network<D> {
    fn new(
        poll: Poll,
        waker: &Arc<Waker>,
        socket: Socket,
        driven: D,
        clock: Clock,
        helping: Option<Helping<D>>,
        world: Option<World>,
    ) -> io::Result<Ends<D>> {
        let sockets = Sockets::new(socket, poll.registry())?;
        let (commands_in, commands) = bounded(MAX_COMMANDS);
        let (events, events_out) = bounded(MAX_EVENTS);
        let network = Self {
            poll,
            _waker: Arc::clone(waker),
            ready: Events::with_capacity(READY_A_TURN),
            sockets,
            driven,
            clock,
            commands,
            teller: Teller { events, held: None },
            helping,
            world,
            abandoned: false,
            buffer: Vec::with_capacity(MAX_TRANSMIT_BYTES),
            unsent: None,
            more: false,
            retry: false,
            farewell: None,
        };
        Ok((network, commands_in, events_out))
    }

    fn run(mut self) {
        loop {
            self.more = false;
            self.retry = false;
            self.receive();
            self.obey();
            self.be_on_time();
            self.change_sockets();
            self.tell();
            self.send();
            // Sending may have something to tell, too, or want a socket.
            self.change_sockets();
            self.ask();
            self.tell();
            if self.is_over() {
                break;
            }
            self.wait();
        }
    }

    /// Datagrams, then reports about datagrams.
    fn receive(&mut self) {
        let mut share = Share::default();
        while let Some(socket) = self.sockets.next_readable(&mut share) {
            let now = self.clock.now();
            let (teller, driven) = (&mut self.teller, &mut self.driven);
            let mut untold = 0;
            let received = self.sockets.receive(socket, &mut share, |datagram| {
                untold += datagram.contents.len();
                driven.handle_datagram(now, datagram);
                if untold >= TELL_EVERY {
                    untold = 0;
                    teller.tell(driven);
                }
            });
            if let Err(error) = received {
                tracing::trace!(?socket, %error, "receiving");
                self.retry = true;
            }
        }
        self.more |= self.sockets.has_readable() && !self.retry;
        let now = self.clock.now();
        while let Some((socket, to)) = self.sockets.take_unreachable() {
            self.driven.handle_socket_unreachable(now, socket, to);
        }
    }

    /// Commands, what the helper did, and what is told about the surroundings.
    fn obey(&mut self) {
        let now = self.clock.now();
        if let Some(helping) = &self.helping {
            let mut taken = 0;
            while taken < COMMANDS_A_TURN
                && let Ok(done) = helping.done.try_recv()
            {
                self.driven.handle_done(now, done);
                taken += 1;
            }
            self.more |= taken == COMMANDS_A_TURN;
        }
        if let Some(world) = &mut self.world {
            let mut taken = 0;
            while taken < COMMANDS_A_TURN
                && let Some(fact) = world.take()
            {
                self.driven.handle_surroundings(now, fact);
                taken += 1;
            }
            self.more |= taken == COMMANDS_A_TURN;
        }
        let mut taken = 0;
        while taken < COMMANDS_A_TURN && self.teller.held.is_none() {
            match self.commands.try_recv() {
                Ok(command) => self.driven.handle_command(now, command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.abandoned = true;
                    break;
                }
            }
            taken += 1;
        }
        self.more |= taken == COMMANDS_A_TURN;
    }

    /// What is due.
    fn be_on_time(&mut self) {
        let now = self.clock.now();
        if self.driven.poll_timeout().is_some_and(|due| due <= now) {
            self.driven.handle_timeout(now);
        }
    }

    /// Sockets that the machine wants, or wants no more.
    fn change_sockets(&mut self) {
        let mut changed = 0;
        while changed < SOCKETS_A_TURN
            && let Some(request) = self.driven.poll_socket()
        {
            changed += 1;
            match request {
                SocketRequest::Open { socket, bind } => {
                    let report = self.sockets.open(self.poll.registry(), socket, bind);
                    self.driven.handle_socket(self.clock.now(), report);
                }
                SocketRequest::Close(socket) => self.sockets.close(self.poll.registry(), socket),
            }
        }
        // What was opened may want to be used.
        self.more |= changed > 0;
    }

    /// What the machine asks of its surroundings. It asks even where nobody answers, so that what it wants does not pile up.
    fn ask(&mut self) {
        let driven = &mut self.driven;
        let Some(world) = &mut self.world else {
            let mut unheard = 0;
            while unheard < EVENTS_A_TURN && driven.poll_request().is_some() {
                unheard += 1;
            }
            self.more |= unheard == EVENTS_A_TURN;
            return;
        };
        let (asked, full) = world.ask(EVENTS_A_TURN, || driven.poll_request());
        self.more |= asked == EVENTS_A_TURN;
        self.retry |= full;
    }

    /// Events to their reader, jobs to the helper.
    fn tell(&mut self) {
        let told = self.teller.tell(&mut self.driven);
        // What was told may have made room for more to send (credit), or for commands.
        self.more |= told > 0;
        self.retry |= self.teller.held.is_some();
        let Some(helping) = &mut self.helping else { return };
        let mut given = 0;
        while given < EVENTS_A_TURN
            && let Some(job) = helping.held.take().or_else(|| self.driven.poll_job())
        {
            match helping.jobs.try_send(job) {
                Ok(()) => given += 1,
                Err(TrySendError::Full(job)) => {
                    helping.held = Some(job);
                    self.retry = true;
                    break;
                }
                Err(TrySendError::Disconnected(_)) => {
                    tracing::error!("the disk thread has ended");
                    self.helping = None;
                    return;
                }
            }
        }
        self.more |= given == EVENTS_A_TURN;
    }

    /// What is to be sent.
    fn send(&mut self) {
        let registry = self.poll.registry();
        if self.sockets.holds() {
            self.sockets.send_held(registry);
        }
        for _ in 0..SENDS_A_TURN {
            let (transmit, sent) = match self.unsent.take() {
                Some(unsent) => unsent,
                None => {
                    self.buffer.clear();
                    match self.driven.poll_transmit(self.clock.now(), &mut self.buffer) {
                        Some(transmit) => (transmit, 0),
                        None => return,
                    }
                }
            };
            let Some(rest) = self.buffer.get(sent..) else { continue };
            if let Outcome::Blocked { sent: now_sent } = self.sockets.send(registry, &transmit, rest) {
                self.unsent = Some((transmit, sent + now_sent));
                return;
            }
        }
        self.more = true;
    }

    /// Until something is ready or due.
    fn wait(&mut self) {
        let now = self.clock.now();
        let due = self.driven.poll_timeout().map(|due| due.saturating_since(now));
        let mut timeout = if self.more { Some(Duration::ZERO) } else { due };
        if self.retry || self.farewell.is_some() || self.sockets.holds() {
            timeout = Some(timeout.map_or(RETRY, |timeout| timeout.min(RETRY)));
        }
        if self.unsent.is_some() {
            // What is due may be just what cannot be sent.
            timeout = Some(timeout.map_or(RETRY, |timeout| timeout.clamp(Duration::from_millis(1), RETRY)));
            self.sockets.watch_main(self.poll.registry(), true);
        }
        let waited = wait(&mut self.poll, &mut self.ready, timeout);
        if self.unsent.is_some() {
            self.sockets.watch_main(self.poll.registry(), false);
        }
        match waited {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            Err(error) => {
                tracing::error!(%error, "waiting");
                std::thread::sleep(RETRY);
            }
        }
        for event in self.ready.iter().filter(|event| event.token() != WAKER) {
            self.sockets.handle_event(event);
        }
    }

    /// Whether everything is sent and told, or nobody is there to run for.
    fn is_over(&mut self) -> bool {
        if self.abandoned {
            return true;
        }
        if !self.driven.is_finished() {
            return false;
        }
        let now = self.clock.now();
        let farewell = *self.farewell.get_or_insert(now + FAREWELL);
        let waits_to_leave = self.unsent.is_some() || self.sockets.holds();
        let done = self.teller.held.is_none() && !waits_to_leave && !self.more;
        done || now >= farewell
    }
}

#[cfg(test)]
mod tests;
