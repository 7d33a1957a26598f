//! Stories on a toy machine: it counts, echoes, and floods when told to.

use super::*;
use crate::machine::{Datagram, Ecn, Machine, SocketId, SocketReport};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Longer than anything here takes on a busy machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

enum Command {
    /// Send one datagram.
    Say(SocketAddr, Vec<u8>),
    /// The same from one of our sockets.
    SayFrom(SocketId, SocketAddr, Vec<u8>),
    Open(SocketId),
    Close(SocketId),
    /// Have a transmit ready whenever asked, for ever.
    Flood(SocketAddr),
    /// Wake up after this long.
    Alarm(Duration),
    /// Give this many jobs to the helper.
    Work(usize),
    Finish,
}

#[derive(Debug, PartialEq)]
enum Event {
    Heard(Vec<u8>),
    Unreachable(SocketAddr),
    /// How late.
    Rang(Duration),
    Worked(usize),
    Opened(SocketId, SocketAddr),
    Failed(SocketId),
    Obeyed,
}

/// Echoes what comes from `Say`, tells everything.
#[derive(Default)]
struct Toy {
    out: VecDeque<(SocketId, SocketAddr, Vec<u8>)>,
    sockets: VecDeque<SocketRequest>,
    events: VecDeque<Event>,
    jobs: VecDeque<usize>,
    flood: Option<SocketAddr>,
    echo: bool,
    alarm: Option<Instant>,
    finished: bool,
    /// Does not tell that it obeyed.
    silent: bool,
}

impl Machine for Toy {
    fn handle_datagram(&mut self, _now: Instant, datagram: Datagram<'_>) {
        if self.echo {
            // A toy's cap: what comes while the answers cannot leave is not answered.
            if self.out.len() < 1000 {
                self.out.push_back((datagram.socket, datagram.from, datagram.contents.to_vec()));
            }
        } else {
            self.events.push_back(Event::Heard(datagram.contents.to_vec()));
        }
    }

    fn handle_unreachable(&mut self, _now: Instant, to: SocketAddr) {
        self.events.push_back(Event::Unreachable(to));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(due) = self.alarm.take_if(|due| *due <= now) {
            self.events.push_back(Event::Rang(now.saturating_since(due)));
        }
    }

    fn poll_transmit(&mut self, _now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        if let Some((socket, to, bytes)) = self.out.pop_front() {
            buffer.extend_from_slice(&bytes);
            return Some(Transmit { socket, to, ecn: Ecn::NotCapable, segment_size: bytes.len() });
        }
        self.flood.map(|to| {
            buffer.resize(10 * 1000, 0);
            Transmit { socket: SocketId::MAIN, to, ecn: Ecn::NotCapable, segment_size: 1000 }
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.alarm
    }

    fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.sockets.pop_front()
    }

    fn handle_socket(&mut self, _now: Instant, report: SocketReport) {
        self.events.push_back(match report {
            SocketReport::Opened { socket, local } => Event::Opened(socket, local),
            SocketReport::Failed(socket) => Event::Failed(socket),
        });
    }
}

impl Driven for Toy {
    type Command = Command;
    type Event = Event;
    type Job = usize;
    type Done = usize;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Say(to, bytes) => self.out.push_back((SocketId::MAIN, to, bytes)),
            Command::SayFrom(socket, to, bytes) => self.out.push_back((socket, to, bytes)),
            Command::Open(socket) => {
                self.sockets.push_back(SocketRequest::Open { socket, bind: "0.0.0.0:0".parse().unwrap() });
            }
            Command::Close(socket) => self.sockets.push_back(SocketRequest::Close(socket)),
            Command::Flood(to) => self.flood = Some(to),
            Command::Alarm(after) => self.alarm = Some(now + after),
            Command::Work(jobs) => self.jobs.extend(0..jobs),
            Command::Finish => {
                self.finished = true;
                self.flood = None;
            }
        }
        if !self.silent {
            self.events.push_back(Event::Obeyed);
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_job(&mut self) -> Option<usize> {
        self.jobs.pop_front()
    }

    fn handle_done(&mut self, _now: Instant, done: usize) {
        self.events.push_back(Event::Worked(done));
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

fn start(toy: Toy) -> Remote<Command, Event> {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    spawn("anjer-net", socket, toy, Clock::start()).unwrap()
}

fn next(remote: &Remote<Command, Event>) -> Event {
    remote.events().recv_timeout(PATIENCE).unwrap()
}

fn finish(remote: Remote<Command, Event>) {
    let _ = remote.try_send(Command::Finish);
    remote.join().unwrap();
}

#[test]
fn what_is_said_is_echoed() {
    let echo = start(Toy { echo: true, ..Toy::default() });
    let talker = start(Toy::default());
    talker.send(Command::Say(echo.local_addr(), b"hello".to_vec())).unwrap();
    assert_eq!(next(&talker), Event::Obeyed);
    assert_eq!(next(&talker), Event::Heard(b"hello".to_vec()));
    finish(echo);
    finish(talker);
}

/// Opens that many, numbered from 1. Returns their addresses.
fn open(remote: &Remote<Command, Event>, sockets: u32) -> Vec<SocketAddr> {
    (1..=sockets)
        .map(|number| {
            remote.send(Command::Open(SocketId(number))).unwrap();
            assert_eq!(next(remote), Event::Obeyed);
            let Event::Opened(SocketId(opened), local) = next(remote) else { panic!("not opened") };
            assert_eq!(opened, number);
            local
        })
        .collect()
}

/// The answer comes from the socket that was spoken to; once that is closed there is none, and the others answer on.
#[test]
fn a_socket_that_was_asked_for_is_opened_answers_and_is_closed() {
    let echo = start(Toy { echo: true, ..Toy::default() });
    let talker = start(Toy::default());
    let addresses = open(&echo, 2);
    let mine = open(&talker, 1);
    assert_ne!(mine[0], talker.local_addr());
    talker.send(Command::SayFrom(SocketId(1), addresses[0], b"hello".to_vec())).unwrap();
    assert_eq!(next(&talker), Event::Obeyed);
    assert_eq!(next(&talker), Event::Heard(b"hello".to_vec()));
    echo.send(Command::Close(SocketId(1))).unwrap();
    assert_eq!(next(&echo), Event::Obeyed);
    // A later turn than the one that closed it.
    echo.send(Command::Alarm(Duration::ZERO)).unwrap();
    assert_eq!(next(&echo), Event::Obeyed);
    assert!(matches!(next(&echo), Event::Rang(_)));
    talker.send(Command::Say(addresses[0], b"closed?".to_vec())).unwrap();
    talker.send(Command::Say(addresses[1], b"open?".to_vec())).unwrap();
    loop {
        match next(&talker) {
            Event::Heard(text) => break assert_eq!(text, b"open?"),
            Event::Unreachable(to) => assert_eq!(to, addresses[0]),
            other => assert_eq!(other, Event::Obeyed),
        }
    }
    finish(echo);
    finish(talker);
}

/// Three hundred sockets are flooded from all sides: the alarm rings all the same, and the main socket is heard.
#[test]
fn hundreds_of_flooded_sockets_delay_neither_an_alarm_nor_the_main_socket() {
    const SOCKETS: u32 = 300;
    let machine = start(Toy { echo: true, ..Toy::default() });
    let addresses = open(&machine, SOCKETS);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flood = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for to in &addresses {
                    let _ = flood.send_to(&[0; 100], to);
                }
            }
        });
        let talker = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        talker.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..20 {
            machine.send(Command::Alarm(Duration::from_millis(1))).unwrap();
            assert_eq!(next(&machine), Event::Obeyed);
            let Event::Rang(late) = next(&machine) else { panic!("no alarm") };
            // Far above what a turn takes, far below what three hundred queues hold.
            assert!(late < Duration::from_millis(250), "{late:?} late");
            talker.send_to(b"heard?", machine.local_addr()).unwrap();
            let mut answer = [0; 10];
            assert_eq!(talker.recv_from(&mut answer).unwrap(), (6, machine.local_addr()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    finish(machine);
}

#[cfg(target_os = "linux")]
#[test]
fn the_machine_learns_that_nobody_listens() {
    let gone = start(Toy::default());
    let nobody = gone.local_addr();
    finish(gone);
    let talker = start(Toy::default());
    talker.send(Command::Say(nobody, b"hello?".to_vec())).unwrap();
    assert_eq!(next(&talker), Event::Obeyed);
    assert_eq!(next(&talker), Event::Unreachable(nobody));
    finish(talker);
}

#[test]
fn an_alarm_rings_when_it_is_due_and_not_before() {
    let sleeper = start(Toy::default());
    let earliest = (0..20)
        .map(|_| {
            sleeper.send(Command::Alarm(Duration::from_micros(300))).unwrap();
            assert_eq!(next(&sleeper), Event::Obeyed);
            let Event::Rang(late) = next(&sleeper) else { panic!("no alarm") };
            late
        })
        .min()
        .unwrap();
    assert!(earliest < Duration::from_micros(700) || !cfg!(target_os = "linux"), "{earliest:?} late at best");
    finish(sleeper);
}

/// Two machines that always have more to send, to each other: neither may fall silent, and both obey.
#[test]
fn a_flood_in_both_directions_starves_nobody() {
    let alice = start(Toy { echo: true, ..Toy::default() });
    let bob = start(Toy::default());
    alice.send(Command::Flood(bob.local_addr())).unwrap();
    bob.send(Command::Flood(alice.local_addr())).unwrap();
    assert_eq!(next(&alice), Event::Obeyed);
    let mut heard = 0;
    while heard < 5000 {
        heard += usize::from(matches!(next(&bob), Event::Heard(_)));
    }
    // A command gets through in the middle of it.
    alice.send(Command::Alarm(Duration::ZERO)).unwrap();
    assert_eq!(next(&alice), Event::Obeyed);
    assert!(matches!(next(&alice), Event::Rang(_)));
    finish(alice);
    finish(bob);
}

/// Whoever reads the events sleeps. Memory must not grow: commands stop being taken when the events stop being read, and when the
/// reader wakes it finds every event, in order.
#[test]
fn a_slow_reader_stops_the_commands_and_loses_nothing() {
    let machine = start(Toy::default());
    let mut accepted = 0;
    let clock = Clock::start();
    // The channels hold 1024 events and 256 commands; a turn's worth is in between.
    let most = MAX_EVENTS + MAX_COMMANDS + COMMANDS_A_TURN + 1;
    while accepted <= most {
        match machine.try_send(Command::Work(0)) {
            Ok(()) => accepted += 1,
            // Full for good once the events are full; full for a moment before.
            Err(_) if machine.events().len() == MAX_EVENTS && clock.now().as_millis() > 200 => break,
            Err(_) => std::thread::yield_now(),
        }
    }
    assert!((MAX_EVENTS..=most).contains(&accepted), "{accepted}");
    for _ in 0..accepted {
        assert_eq!(next(&machine), Event::Obeyed);
    }
    machine.send(Command::Alarm(Duration::ZERO)).unwrap();
    assert_eq!(next(&machine), Event::Obeyed);
    assert!(matches!(next(&machine), Event::Rang(_)));
    finish(machine);
}

#[test]
fn the_last_event_is_told_before_the_end() {
    let machine = start(Toy::default());
    machine.send(Command::Finish).unwrap();
    assert_eq!(next(&machine), Event::Obeyed);
    assert!(machine.events().recv_timeout(PATIENCE).is_err_and(|error| error.is_disconnected()));
    assert!(machine.send(Command::Finish).is_err());
    machine.join().unwrap();
}

/// Nothing more happens after the command that ends it: the loop must not wait for something that would.
#[test]
fn a_machine_that_has_nothing_to_tell_ends_at_once() {
    let machine = start(Toy { silent: true, ..Toy::default() });
    machine.send(Command::Finish).unwrap();
    machine.join().unwrap();
}

#[test]
fn an_abandoned_machine_ends() {
    let machine = start(Toy::default());
    let events = machine.events().clone();
    drop(machine);
    assert!(events.recv_timeout(PATIENCE).is_err_and(|error| error.is_disconnected()));
}

/// Does what it is told in two parts: at once, and in the background.
struct Twice {
    background: Vec<usize>,
}

impl Helper for Twice {
    type Job = usize;
    type Done = usize;

    fn handle(&mut self, job: usize, done: &mut dyn FnMut(usize)) {
        self.background.push(job);
        done(job);
    }

    fn work(&mut self, done: &mut dyn FnMut(usize)) -> bool {
        if let Some(job) = self.background.pop() {
            done(job);
        }
        !self.background.is_empty()
    }
}

/// More jobs than the channel holds, and an answer more than once: nothing is lost and nothing waits for ever.
#[test]
fn the_helper_does_every_job_and_its_background_work() {
    let jobs = 3 * helper::MAX_JOBS;
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let helper = Twice { background: Vec::new() };
    let machine = spawn_with_helper("anjer-net", socket, Toy::default(), Clock::start(), helper, None).unwrap();
    machine.send(Command::Work(jobs)).unwrap();
    let mut times = vec![0; jobs];
    assert_eq!(next(&machine), Event::Obeyed);
    for _ in 0..2 * jobs {
        let Event::Worked(job) = next(&machine) else { panic!("something else") };
        times[job] += 1;
    }
    assert!(times.iter().all(|times| *times == 2));
    finish(machine);
}
