//! From the options to the exit code, in the order things happen.

use crate::clock::Clock;
use crate::face::Face;
use crate::options::Options;
use crate::output::{Output, to_stdout};
use crate::run::{End, Run};
use crate::screen::Screen;
use crate::session::{self, Session, Setup, StartError};
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::{defaults, exit, json, plain, questions};
use anjer::node::api::{ErrorCode, Event};
use anjer::node::profile::Profile;
use core::time::Duration;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// How long the last lines may take to be drawn above a prompt: what draws them may have ended before they came.
const LAST_LINES: Duration = Duration::from_millis(500);

/// An end before the room was there: its exit code and what to say.
struct Failure(u8, String);

/// Does all of it and returns the exit code. Needs a tokio runtime.
pub(crate) async fn program(options: Options) -> u8 {
    let clock = Clock::start();
    log_to_stderr(options.log.as_deref());
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            return complain(&options, clock, Failure(exit::FAULT, format!("cannot listen for signals: {error}")));
        }
    };
    let options = match answered(options, &mut signals).await {
        Some(options) => options,
        None => return exit::QUIT,
    };
    match session(&options) {
        Ok(session) => match work(&options, clock, session, &mut signals).await {
            Ok(code) => code,
            Err(error) => complain(&options, clock, Failure(exit::FAULT, format!("cannot start: {error}"))),
        },
        Err(failure) => complain(&options, clock, failure),
    }
}

/// The options with the answers of whoever was asked; `None` if they quit instead.
async fn answered(mut options: Options, signals: &mut Signals) -> Option<Options> {
    if !(options.on_a_terminal() && options.leaves_questions()) {
        return Some(options);
    }
    let asking = tokio::task::spawn_blocking(|| {
        questions::ask(&mut io::stdin().lock(), &mut io::stdout().lock(), defaults::address, defaults::can_bind)
    });
    let answers = tokio::select! {
        answers = asking => answers.ok()?.ok()??,
        () = signals.next() => {
            // The question's line ends here.
            let _ = to_stdout("\n");
            return None;
        }
    };
    options.local = answers.local;
    options.ip = Some(answers.ip);
    options.port = Some(answers.port);
    Some(options)
}

/// Starts the node that the options describe.
fn session(options: &Options) -> Result<Session, Failure> {
    let dir = shared_folder(options)?;
    let profile = match &options.state {
        Some(folder) => Profile::at(folder),
        None => Profile::first_free(),
    };
    let profile = profile.map_err(|error| Failure(exit::FAULT, error.to_string()))?;
    let ip = options.ip.unwrap_or_else(|| defaults::address(options.local));
    let setup = Setup {
        bind: SocketAddr::new(ip, options.port.unwrap_or(0)),
        local: options.local,
        stun: options.stun.clone(),
        name: options.name.clone().unwrap_or_else(defaults::name),
        dir,
        profile,
        open: options.open,
    };
    session::start(setup).map_err(|error| match error {
        StartError::Bind(..) => Failure(exit::NOT_BOUND, format!("{error}; give another --ip or --port")),
        StartError::Other(_) => Failure(exit::FAULT, error.to_string()),
    })
}

fn shared_folder(options: &Options) -> Result<PathBuf, Failure> {
    let shown = options.dir.display();
    match options.dir.canonicalize() {
        Ok(folder) if folder.is_dir() => Ok(folder),
        Ok(_) => Err(Failure(exit::BAD_ARGUMENTS, format!("--dir {shown} is not a folder"))),
        Err(error) => Err(Failure(exit::BAD_ARGUMENTS, format!("--dir {shown} cannot be used: {error}"))),
    }
}

/// Connects person or script with the room until the end of either.
async fn work(options: &Options, clock: Clock, session: Session, signals: &mut Signals) -> io::Result<u8> {
    if options.on_a_terminal() {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (mut terminal, printer) = Terminal::open()?;
        let output = Output::start(printer)?;
        let face = Face::Screen(Screen::new(colours, options.open || options.local).on_one_network(options.local));
        let run = Run::new(session, &mut terminal.inputs, &output, face, clock, options.join.clone());
        let end = run.until_bye(async || signals.next().await).await;
        // A second signal ends the waiting too; so does a prompt that no longer draws.
        let drawn = tokio::time::timeout(LAST_LINES, output.finish());
        tokio::select! { _ = drawn => {}, () = signals.next() => {} }
        terminal.close(&end.last_words);
        return Ok(end.code);
    }
    let mut inputs = plain::start()?;
    let output = Output::start(|text| to_stdout(&text))?;
    let face = if options.json {
        Face::Json
    } else {
        Face::Screen(Screen::new(false, options.open || options.local).on_one_network(options.local))
    };
    let run = Run::new(session, &mut inputs, &output, face, clock, options.join.clone());
    let End { code, last_words } = run.until_bye(async || signals.next().await).await;
    if code == exit::INTERRUPTED {
        return Ok(code);
    }
    let written = async {
        output.reserve().await.write(last_words);
        output.finish().await;
    };
    tokio::select! {
        () = written => Ok(code),
        () = signals.next() => Ok(exit::INTERRUPTED),
    }
}

/// Says on stderr, and to scripts as an event, why there is no room.
fn complain(options: &Options, clock: Clock, Failure(code, message): Failure) -> u8 {
    use std::io::Write;
    if options.json {
        let word = if code == exit::NOT_BOUND { ErrorCode::Network } else { ErrorCode::Unreadable };
        let word = if code == exit::BAD_ARGUMENTS { ErrorCode::Usage } else { word };
        let event = Event::Error { command: None, code: word, message: message.clone() };
        let _ = to_stdout(&json::line(&event, clock.milliseconds()));
    }
    let _ = writeln!(io::stderr(), "node-client: {message}");
    code
}

fn log_to_stderr(filter: Option<&str>) {
    // The options have checked that it can be read.
    let Some(Ok(filter)) = filter.map(EnvFilter::try_new) else { return };
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
}
