//! The program at work: what comes in goes to the room, what happens there is shown, and one of four things ends it: `Q`,
//! the end of the input, a signal, a stdout that nobody reads. All four ask the room to quit and wait for its `bye`.

use crate::clock::Clock;
use crate::command_table::{Mistake, Parsed, parse};
use crate::exit;
use crate::face::Face;
use crate::input::{Input, MAX_LINE_BYTES};
use crate::output::{Output, Reserved};
use crate::session::Session;
use anjer::node::api::{Command, ErrorCode, Event};
use core::time::Duration;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Everything that is at work.
pub(crate) struct Run<'a> {
    session: Session,
    inputs: &'a mut mpsc::Receiver<Input>,
    output: &'a Output,
    face: Face,
    clock: Clock,
    /// Commands on their way to the room: what was typed last, and `Q` behind it. Never more than a few.
    outgoing: VecDeque<Command>,
    /// The answer to `--join` is still to come.
    joining: bool,
    /// The node took up its work: anything after `ready` came. Before that, it may be asking STUN servers.
    awake: bool,
    /// That commands wait for that was said.
    told_to_wait: bool,
    /// The room was asked to quit: nothing more is read.
    quitting: bool,
    /// When the person is told that quitting takes a while.
    patience: Option<tokio::time::Instant>,
    code: u8,
}

/// Quitting that takes longer is worth a line: whoever pressed Ctrl-C wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// What comes next, with the place in the output that its text will have.
enum Next<'a> {
    /// A signal: the first asks the room to quit, the second does not wait for it.
    Signal,
    /// Nothing can be written any more.
    NobodyReads,
    /// A command went to the room.
    Sent,
    /// The room takes no more commands.
    NobodyListens,
    /// Quitting takes a while.
    StillLeaving(Reserved<'a>),
    /// Something happened in the room, or it is gone.
    Event(Reserved<'a>, Option<Event>),
    /// Something was typed, or nothing more will be.
    Input(Reserved<'a>, Option<Input>),
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The exit code.
    pub(crate) code: u8,
    /// What is still to be shown, after everything else.
    pub(crate) last_words: String,
}

impl<'a> Run<'a> {
    /// Ready to run, beginning with what `--join` asks for.
    pub(crate) fn new(
        session: Session,
        inputs: &'a mut mpsc::Receiver<Input>,
        output: &'a Output,
        face: Face,
        clock: Clock,
        join: Option<Command>,
    ) -> Self {
        let joining = join.is_some();
        let outgoing = join.into_iter().collect();
        Self {
            session,
            inputs,
            output,
            face,
            clock,
            outgoing,
            joining,
            awake: false,
            told_to_wait: false,
            quitting: false,
            patience: None,
            code: exit::QUIT,
        }
    }

    /// Until the room says bye. `signal` gives a future that is ready when a signal came.
    pub(crate) async fn until_bye(mut self, mut signal: impl AsyncFnMut()) -> End {
        loop {
            match self.next(&mut signal).await {
                Next::Signal if self.quitting => return End { code: exit::INTERRUPTED, last_words: String::new() },
                Next::Signal | Next::NobodyReads => self.quit(),
                Next::Sent => {}
                // The room is ending: its events say how.
                Next::NobodyListens => self.outgoing.clear(),
                Next::Event(_, Some(Event::Bye)) => return self.bye(),
                Next::Event(place, Some(event)) => {
                    self.on_event(&event);
                    place.write(self.face.show(&event, self.clock.milliseconds()));
                }
                Next::StillLeaving(place) => place.write(self.face.still_leaving()),
                Next::Event(_, None) => return self.room_is_gone(),
                Next::Input(place, Some(Input::Line(line))) => place.write(self.on_line(&line)),
                Next::Input(place, Some(Input::TooLong)) => place.write(self.mistake(too_long())),
                Next::Input(place, Some(Input::NotText)) => place.write(self.mistake(not_text())),
                Next::Input(_, Some(Input::Interrupt | Input::End) | None) => self.quit(),
            }
        }
    }

    /// Waits for whatever is first. What is taken from one queue has its place in the next one already, so that a full
    /// queue makes what is before it wait and never the signals.
    async fn next(&mut self, signal: &mut impl AsyncFnMut()) -> Next<'a> {
        let output = self.output;
        let patience = &mut self.patience;
        let Session { commands, events } = &mut self.session;
        tokio::select! {
            () = signal() => Next::Signal,
            () = output.closed(), if !self.quitting => Next::NobodyReads,
            permit = commands.reserve(), if !self.outgoing.is_empty() => match (permit, self.outgoing.pop_front()) {
                (Ok(permit), Some(command)) => {
                    permit.send(command);
                    Next::Sent
                }
                _ => Next::NobodyListens,
            },
            place = async {
                match *patience {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => core::future::pending().await,
                }
                let place = output.reserve().await;
                *patience = None;
                place
            } => Next::StillLeaving(place),
            (place, event) = async { (output.reserve().await, events.recv().await) } => Next::Event(place, event),
            (place, input) = async { (output.reserve().await, self.inputs.recv().await) },
                if self.outgoing.is_empty() && !self.quitting => Next::Input(place, input),
        }
    }

    /// A line was typed. Returns what is shown at once.
    fn on_line(&mut self, line: &str) -> String {
        match parse(line) {
            Ok(Parsed::Nothing) => String::new(),
            Ok(Parsed::Help) => self.face.help(self.clock.milliseconds()),
            Ok(Parsed::Command(Command::Quit)) => {
                self.quit();
                String::new()
            }
            Ok(Parsed::Command(command)) => {
                if command == Command::Peers {
                    self.face.expect_members();
                }
                self.outgoing.push_back(command);
                let waits = !self.awake && !core::mem::replace(&mut self.told_to_wait, true);
                if waits { self.face.one_moment() } else { String::new() }
            }
            Err(mistake) => self.mistake(mistake),
        }
    }

    fn mistake(&mut self, mistake: Mistake) -> String {
        self.face.show(&mistake.into(), self.clock.milliseconds())
    }

    /// What an event means for how the program ends: a room that refuses `--join` ends it.
    fn on_event(&mut self, event: &Event) {
        self.awake |= !matches!(event, Event::Ready { .. });
        match event {
            Event::Connected { .. } => self.joining = false,
            Event::Error { command: Some('C'), code, .. } => {
                let was_joining = core::mem::take(&mut self.joining);
                if was_joining && *code == ErrorCode::Refused {
                    self.code = exit::REFUSED;
                    self.quit();
                }
            }
            _ => {}
        }
    }

    fn quit(&mut self) {
        if !self.quitting {
            self.quitting = true;
            self.patience = Some(tokio::time::Instant::now() + PATIENCE);
            self.outgoing.push_back(Command::Quit);
        }
    }

    fn bye(mut self) -> End {
        let last_words = self.face.show(&Event::Bye, self.clock.milliseconds());
        End { code: self.code, last_words }
    }

    /// The room ended without a word: a fault of ours, said aloud.
    fn room_is_gone(mut self) -> End {
        let message = "the node stopped by itself; start again, with --log debug to see why".to_owned();
        let event = Event::Error { command: None, code: ErrorCode::Network, message };
        End { code: exit::FAULT, last_words: self.face.show(&event, self.clock.milliseconds()) }
    }
}

fn too_long() -> Mistake {
    let message = format!("that line is too long: at most {MAX_LINE_BYTES} bytes; offer a file with B instead");
    Mistake { letter: None, code: ErrorCode::TooLarge, message }
}

fn not_text() -> Mistake {
    Mistake { letter: None, code: ErrorCode::Usage, message: "that line is not UTF-8 text: type it as UTF-8".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use std::sync::{Arc, Mutex};

    /// The other ends of everything the program holds on to: the test plays the person, the room and the system.
    struct Stage {
        typed: mpsc::Sender<Input>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        signals: mpsc::Sender<()>,
        written: Arc<Mutex<String>>,
    }

    /// Runs the program with `play` on the stage; returns how it ended and what it wrote.
    fn run<F: Future<Output = ()>>(
        join: Option<Command>,
        broken: bool,
        play: impl FnOnce(Stage) -> F,
    ) -> (End, String) {
        run_with(Face::Json, join, broken, play)
    }

    /// The same, with another face.
    fn run_with<F: Future<Output = ()>>(
        face: Face,
        join: Option<Command>,
        broken: bool,
        play: impl FnOnce(Stage) -> F,
    ) -> (End, String) {
        let written = Arc::new(Mutex::new(String::new()));
        let (sink, shown) = (Arc::clone(&written), Arc::clone(&written));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let end = runtime.block_on(async move {
            let output = Output::start(move |text| {
                if broken {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                sink.lock().expect("no panic").push_str(&text);
                Ok(())
            })
            .expect("a thread");
            let (typed, mut inputs) = mpsc::channel(4);
            let (command_sender, commands) = mpsc::channel(4);
            let (event_sender, events) = mpsc::channel(4);
            let (signals, mut signalled) = mpsc::channel::<()>(4);
            let session = Session { commands: command_sender, events };
            let program = Run::new(session, &mut inputs, &output, face, Clock::start(), join);
            let signal = async || {
                if signalled.recv().await.is_none() {
                    core::future::pending::<()>().await;
                }
            };
            let stage = Stage { typed, commands, events: event_sender, signals, written: shown };
            let (end, ()) = tokio::join!(program.until_bye(signal), play(stage));
            output.finish().await;
            end
        });
        let text = written.lock().expect("no panic").clone();
        (end, text)
    }

    async fn type_line(stage: &Stage, line: &str) {
        stage.typed.send(Input::Line(line.into())).await.expect("it reads");
    }

    async fn happen(stage: &Stage, event: Event) {
        stage.events.send(event).await.expect("it listens");
    }

    fn refused() -> Event {
        Event::Error { command: Some('C'), code: ErrorCode::Refused, message: "no".into() }
    }

    #[test]
    fn what_is_typed_reaches_the_room_in_order_and_q_ends_with_bye_and_0() {
        let (end, text) = run(None, false, async |mut stage| {
            type_line(&stage, "T a").await;
            type_line(&stage, "t b").await;
            type_line(&stage, "Q").await;
            assert_eq!(stage.commands.recv().await, Some(Command::Talk("a".into())));
            assert_eq!(stage.commands.recv().await, Some(Command::Talk("b".into())));
            happen(&stage, samples::chat("ben", "late")).await;
            assert_eq!(stage.commands.recv().await, Some(Command::Quit));
            happen(&stage, Event::Bye).await;
        });
        assert_eq!(end.code, 0);
        assert!(end.last_words.contains("bye") && text.contains("late"));
    }

    #[test]
    fn mistakes_are_answered_here_and_change_nothing() {
        let (_, text) = run(None, false, async |mut stage| {
            type_line(&stage, "hello").await;
            type_line(&stage, "K 0a").await;
            stage.typed.send(Input::TooLong).await.expect("it reads");
            stage.typed.send(Input::NotText).await.expect("it reads");
            type_line(&stage, "").await;
            type_line(&stage, "?").await;
            type_line(&stage, "T still here").await;
            assert_eq!(stage.commands.recv().await, Some(Command::Talk("still here".into())));
            happen(&stage, Event::Bye).await;
        });
        let codes: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|value| value["code"].as_str().or(value["event"].as_str()).expect("a word").to_owned())
            .collect();
        assert_eq!(codes, ["usage", "unavailable", "too_large", "usage", "help"]);
    }

    #[test]
    fn the_end_of_the_input_and_ctrl_c_and_a_signal_are_q() {
        for end_it in [Some(Input::End), Some(Input::Interrupt), None] {
            let (end, _) = run(None, false, async |mut stage| {
                match end_it {
                    Some(input) => stage.typed.send(input).await.expect("it reads"),
                    None => stage.signals.send(()).await.expect("it listens"),
                }
                assert_eq!(stage.commands.recv().await, Some(Command::Quit));
                happen(&stage, Event::Bye).await;
            });
            assert_eq!(end.code, 0);
        }
    }

    #[test]
    fn a_second_signal_does_not_wait_for_the_room() {
        let (end, _) = run(None, false, async |mut stage| {
            stage.signals.send(()).await.expect("it listens");
            assert_eq!(stage.commands.recv().await, Some(Command::Quit));
            stage.signals.send(()).await.expect("it listens");
            // The room never answers, and its channel stays open until the program is gone.
            stage.events.closed().await;
        });
        assert_eq!(end.code, 130);
    }

    #[test]
    fn a_stdout_that_nobody_reads_is_q_and_quiet() {
        let (end, _) = run(None, true, async |mut stage| {
            happen(&stage, samples::chat("ben", "into the void")).await;
            assert_eq!(stage.commands.recv().await, Some(Command::Quit));
            for _ in 0..1000 {
                happen(&stage, samples::chat("ben", "more")).await;
            }
            happen(&stage, Event::Bye).await;
        });
        assert_eq!(end.code, 0);
    }

    #[test]
    fn a_room_that_refuses_join_ends_the_program_with_4_and_one_that_is_merely_away_does_not() {
        let join = || {
            parse("C 127.0.0.1:5").ok().and_then(|parsed| match parsed {
                Parsed::Command(command) => Some(command),
                _ => None,
            })
        };
        let (end, _) = run(join(), false, async |mut stage| {
            assert_eq!(stage.commands.recv().await, join());
            happen(&stage, refused()).await;
            assert_eq!(stage.commands.recv().await, Some(Command::Quit));
            happen(&stage, Event::Bye).await;
        });
        assert_eq!(end.code, 4);
        // After the first answer a refusal is the answer to something typed by hand.
        let (end, _) = run(join(), false, async |mut stage| {
            assert_eq!(stage.commands.recv().await, join());
            let away = Event::Error { command: Some('C'), code: ErrorCode::Unreachable, message: "away".into() };
            happen(&stage, away).await;
            happen(&stage, refused()).await;
            type_line(&stage, "G").await;
            assert_eq!(stage.commands.recv().await, Some(Command::Files));
            happen(&stage, Event::Bye).await;
        });
        assert_eq!(end.code, 0);
    }

    /// A person, unlike a script, is told what they wait for.
    #[test]
    fn a_node_that_is_not_awake_and_a_quit_that_takes_a_while_are_told_once() {
        let face = Face::Screen(crate::screen::Screen::new(false, true));
        let (_, written) = run_with(face, None, false, async |mut stage| {
            happen(&stage, samples::one_of_each().swap_remove(0)).await;
            type_line(&stage, "T early").await;
            type_line(&stage, "T early too").await;
            stage.commands.recv().await.expect("said");
            stage.commands.recv().await.expect("said");
            happen(&stage, samples::peers()).await;
            type_line(&stage, "T awake").await;
            stage.commands.recv().await.expect("said");
            type_line(&stage, "Q").await;
            assert_eq!(stage.commands.recv().await, Some(Command::Quit));
            // Until the patience ends, and the line with which it does is written.
            while !stage.written.lock().expect("no panic").contains("Ctrl-C") {
                tokio::task::yield_now().await;
            }
            happen(&stage, Event::Bye).await;
        });
        assert_eq!(written.matches("One moment").count(), 1, "{written}");
        assert_eq!(written.matches("Ctrl-C now ends").count(), 1, "{written}");
    }

    #[test]
    fn a_room_that_vanishes_is_said_aloud() {
        let (end, _) = run(None, false, async |stage| drop(stage));
        assert_eq!(end.code, 1);
        assert!(end.last_words.contains("network"));
    }

    #[test]
    fn a_room_that_takes_no_commands_still_hears_of_the_signal_once_it_does() {
        let (end, _) = run(None, false, async |mut stage| {
            // As many as fit between the keyboard and the room, and no more: the person is to wait, the signal is not.
            for number in 0..8 {
                type_line(&stage, &format!("T {number}")).await;
            }
            stage.signals.send(()).await.expect("it listens");
            let mut last = None;
            while let Some(command) = stage.commands.recv().await {
                last = Some(command);
                if last == Some(Command::Quit) {
                    break;
                }
            }
            assert_eq!(last, Some(Command::Quit));
            happen(&stage, Event::Bye).await;
        });
        assert_eq!(end.code, 0);
    }
}
