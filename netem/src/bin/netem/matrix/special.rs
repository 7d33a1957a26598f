//! What is no pair of kinds: homes, chains, firewalls, and what happens in the middle.

use super::command::write;
use super::kinds::Kind;
use super::options::Options;
use super::outcome::Outcome;
use super::room::{PORT, Room};
use super::run::{A, B, S, direct, meet, talk};
use super::ticket;
use super::world::{Plan, Protocols};
use crate::failure::Failure;
use crate::kernel;
use crate::signals::Signals;
use core::time::Duration;
use netem::{Behaviour, Filtering, MATRIX, Mapping, direct_path_required};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two who know no third party meet within this, or not.
const UNTIL_CONNECTED: Duration = Duration::from_secs(45);

/// Who cannot get out says so within this.
const UNTIL_COMPLAINT: Duration = Duration::from_secs(60);

/// A room is silent for so long: nine lifetimes of a mapping that lasts 20 s. Then a line takes no longer than it takes to notice a loss.
const SILENCE: Duration = Duration::from_secs(180);
const AFTER_SILENCE: Duration = Duration::from_secs(2);

/// After a reboot of a NAT, both talk again within this.
const AFTER_REBOOT: Duration = Duration::from_secs(10);

/// How long a node may take to learn how the world sees it, to start, and to print a ticket.
const A_WHILE: Duration = Duration::from_secs(15);

/// One scenario.
struct Scene {
    name: String,
    what: What,
}

/// What happens in it.
enum What {
    /// A and B in such places, S in the world. Whether the path must be direct.
    Meet(Box<[Plan; 3]>, Option<bool>),
    /// A is behind a firewall that drops UDP.
    Blocked,
    /// A's NAT loses its power when both have met.
    Reboot,
    /// Mappings last 20 s, and nobody speaks for three minutes.
    Silence,
    /// S is behind this, A behind that, and A comes like this.
    Behind { supernode: Kind, joiner: Kind, by: By },
    /// S is behind this, B in the world, and A, behind that, comes with a ticket that names both.
    Through { supernode: Kind, joiner: Kind },
}

/// How someone joins a supernode that is behind a NAT.
#[derive(Clone, Copy, Debug)]
enum By {
    Ticket,
    /// `A` typed there, `C` here.
    Both,
}

/// What became of a scene.
pub(super) struct Verdict {
    pub(super) is_good: bool,
    pub(super) said: String,
}

/// `netem matrix --special`.
pub(crate) fn main(options: &Options, signals: &Signals) -> Result<ExitCode, Failure> {
    let word = options.only.clone().unwrap_or_default();
    let scenes: Vec<Scene> = scenes()?.into_iter().filter(|scene| scene.name.contains(&word)).collect();
    let verdicts: Mutex<Vec<(usize, Verdict)>> = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(scene) = scenes.get(job).filter(|_| signals.ending().is_none()) else { return };
            let played = play(scene, &format!("s{job}-"), options.seed.wrapping_add(job as u64), options, signals);
            let verdict = played.unwrap_or_else(|failure| Verdict { is_good: false, said: failure.to_string() });
            eprintln!("netem: {}: {}", scene.name, verdict.said);
            verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((job, verdict));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(work);
        }
    });
    if let Some(signal) = signals.ending() {
        return Ok(ExitCode::from(128_u8.saturating_add(signal)));
    }
    let mut verdicts = verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    verdicts.sort_by_key(|(job, _)| *job);
    let mut text = String::from("| scene | good | what happened |\n|---|---|---|\n");
    for (scene, (_, verdict)) in scenes.iter().zip(&verdicts) {
        let good = if verdict.is_good { "yes" } else { "**NO**" };
        text += &format!("| {} | {good} | {} |\n", scene.name, verdict.said.replace('|', "/").replace('\n', " "));
    }
    let bad = verdicts.iter().filter(|(_, verdict)| !verdict.is_good).count();
    text += &format!("\n{} scenes, {bad} not good.\n", verdicts.len());
    print!("{text}");
    write(options, &text)?;
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scenes() -> Result<Vec<Scene>, Failure> {
    let kind = Kind::model;
    let at = |name: &'static str, place: &str| Ok::<Plan, Failure>(Plan::new(name, kind(place)?));
    let neighbours =
        |place: &str| Ok::<_, Failure>([Plan::public("s"), at("a", place)?, Plan { with: Some(A), ..at("b", place)? }]);
    let chain = |name: &'static str, nats: &[Behaviour]| {
        Plan::new(name, Kind { name: name.into(), nats: nats.to_vec(), kernel: None })
    };
    let with = |name: &'static str, protocols: Protocols| Plan { protocols, ..Plan::public(name) };
    let clashing = |name: &'static str| -> Result<Plan, Failure> {
        Ok(Plan::new(name, Kind { kernel: Some(kernel::Kind::Clashing), ..kind("linux")? }))
    };
    let meet = |name: &str, plans: [Plan; 3], must: Option<bool>| Scene {
        name: name.into(),
        what: What::Meet(Box::new(plans), must),
    };
    let (home, cgnat) = (Behaviour::port_restricted(), Behaviour::cgnat());
    let mut scenes = vec![
        meet("two behind one NAT, no hairpin", neighbours("port-restricted")?, Some(true)),
        meet("two behind one NAT, hairpin", neighbours("port-restricted-hairpin")?, Some(true)),
        meet("two behind one symmetric NAT, hairpin", neighbours("symmetric-hairpin")?, Some(true)),
        meet(
            "two NATs in a row at both ends",
            [Plan::public("s"), chain("a", &[home.clone(), cgnat.clone()]), chain("b", &[home.clone(), cgnat.clone()])],
            Some(true),
        ),
        meet(
            "two NATs in a row, the outer one symmetric, and a home",
            [Plan::public("s"), chain("a", &[home, Behaviour::symmetric()]), at("b", "port-restricted")?],
            Some(true),
        ),
        Scene { name: "UDP blocked for one".into(), what: What::Blocked },
        meet("conntrack's clash, the model's", [Plan::public("s"), at("a", "linux")?, at("b", "linux")?], Some(true)),
        meet("conntrack's clash, the kernel's", [Plan::public("s"), clashing("a")?, clashing("b")?], Some(true)),
        Scene { name: "a NAT reboots in the middle".into(), what: What::Reboot },
        Scene { name: "mappings of 20 s, three silent minutes".into(), what: What::Silence },
        meet(
            "IPv6 only and dual stack",
            [with("s", Protocols::Both), with("a", Protocols::Six), with("b", Protocols::Both)],
            Some(true),
        ),
        meet(
            "IPv6 only and IPv4 only, which need the relay",
            [with("s", Protocols::Both), with("a", Protocols::Six), at("b", "port-restricted")?],
            Some(false),
        ),
    ];
    for (name, _) in MATRIX {
        for by in [By::Ticket, By::Both] {
            let how = if matches!(by, By::Ticket) { "by ticket" } else { "by A and C" };
            let (supernode, joiner) = (kind(name)?, kind("port-restricted")?);
            scenes.push(Scene {
                name: format!("supernode behind {name}, a port-restricted home joins {how}"),
                what: What::Behind { supernode, joiner, by },
            });
        }
    }
    for name in ["port-restricted", "symmetric", "address-dependent"] {
        scenes.push(Scene {
            name: format!("supernode behind {name}, a port-restricted home joins through a public member by ticket"),
            what: What::Through { supernode: kind(name)?, joiner: kind("port-restricted")? },
        });
    }
    Ok(scenes)
}

fn play(scene: &Scene, label: &str, seed: u64, options: &Options, signals: &Signals) -> Result<Verdict, Failure> {
    let home = || Kind::model("port-restricted");
    let three = |a: Kind, b: Kind| [Plan::public("s"), Plan::new("a", a), Plan::new("b", b)];
    let plans = match &scene.what {
        What::Meet(plans, _) => plans.to_vec(),
        What::Blocked => three(Kind::model("blocked")?, home()?).to_vec(),
        What::Reboot => three(home()?, home()?).to_vec(),
        What::Silence => three(Kind::model("short-lived")?, Kind::model("short-lived")?).to_vec(),
        What::Behind { supernode, joiner, .. } => {
            vec![Plan::new("s", supernode.clone()), Plan::new("a", joiner.clone())]
        }
        What::Through { supernode, joiner } => {
            vec![Plan::new("s", supernode.clone()), Plan::new("a", joiner.clone()), Plan::public("b")]
        }
    };
    let mut room = Room::build(label, &plans, seed, options, signals)?;
    let verdict = match &scene.what {
        What::Meet(plans, must) => met(&meet_at(&mut room, &plans[..], seed, options)?, *must),
        What::Blocked => blocked(&mut room)?,
        What::Reboot => {
            let outcome = meet_at(&mut room, &plans, seed, options)?;
            after_reboot(&mut room, &outcome)?
        }
        What::Silence => {
            let outcome = meet_at(&mut room, &plans, seed, options)?;
            after_silence(&mut room, &outcome)?
        }
        What::Behind { supernode, joiner, by } => {
            // Whoever comes with a ticket knocks at a door where nobody knows of them: it must be open to everybody. With `A` typed there
            // both know where the other looks from.
            let is_open =
                |nat: &Behaviour| (nat.mapping, nat.filtering) == (Mapping::Independent, Filtering::Independent);
            let is_required = match by {
                By::Ticket => supernode.nats.iter().all(is_open),
                By::Both => direct_path_required(&supernode.nats, &joiner.nats),
            };
            join(&mut room, *by, is_required, options)?
        }
        What::Through { .. } => ticket::join(&mut room, seed, options)?,
    };
    room.finish()?;
    Ok(verdict)
}

/// The three of them, where S has IPv6 alone or too: each comes by what it has.
fn meet_at(room: &mut Room<'_>, plans: &[Plan], seed: u64, options: &Options) -> Result<Outcome, Failure> {
    let at = |number: usize| match plans.get(number).map(|plan| plan.protocols) {
        Some(Protocols::Six) => format!("[{}]:{PORT}", Plan::six(S)),
        _ => format!("{}:{PORT}", Plan::address(S)),
    };
    meet(room, [&at(A), &at(B)], seed, options)
}

fn met(outcome: &Outcome, must: Option<bool>) -> Verdict {
    let is_good = outcome.is_connected && must.is_none_or(|direct| outcome.is_direct() == direct);
    let said = match (outcome.time_to_direct(), outcome.reason()) {
        (Some(time), _) => format!("direct after {} ms, {:?} packets", time.as_millis(), outcome.packets),
        (None, reason) => format!("relayed: {}", reason.unwrap_or_default()),
    };
    Verdict { is_good, said }
}

/// Who cannot get out is told so, and still listens.
fn blocked(room: &mut Room<'_>) -> Result<Verdict, Failure> {
    let (s, at) = (PORT.to_string(), format!("{}:{PORT}", Plan::address(S)));
    room.start(S, &["--open", "--port", &s])?;
    room.wait(A_WHILE, |room| room.seen(S).id.is_some())?;
    let begun = room.clock.now();
    // Not --join: that one would end with an exit code, and it shall be seen that nothing hangs.
    room.start(A, &[])?;
    room.wait(A_WHILE, |room| room.seen(A).id.is_some())?;
    room.tell(A, &format!("C {at}"));
    let has_said = room.wait(UNTIL_COMPLAINT, |room| !room.seen(A).errors.is_empty())?;
    let took = room.clock.now().saturating_sub(begun);
    room.tell(A, "Q");
    let has_ended = room.wait(A_WHILE, |room| room.seen(A).has_ended)?;
    let error = room.seen(A).errors.first().map_or_else(String::new, |(code, message)| format!("{code}: {message}"));
    let said = match (has_said, has_ended) {
        (true, true) => format!("after {} ms: {error}", took.as_millis()),
        (false, _) => "it did not say that it cannot get out".into(),
        (true, false) => format!("it hangs after: {error}"),
    };
    // It is no use to check the address, or to wait.
    let is_clear = error.contains("UDP");
    Ok(Verdict { is_good: has_said && has_ended && is_clear, said })
}

fn after_reboot(room: &mut Room<'_>, outcome: &Outcome) -> Result<Verdict, Failure> {
    if !outcome.is_connected {
        return Ok(met(outcome, None));
    }
    let begun = room.clock.now();
    room.world.reboot("a");
    // A line that is lost comes again: a mapping that is gone is noticed by silence.
    let failure = talk(room)?;
    let took = room.clock.now().saturating_sub(begun);
    let is_good = failure.is_none() && took <= AFTER_REBOOT && direct(room).is_some();
    let path = if direct(room).is_some() { "direct" } else { "relayed" };
    let said = failure.map_or_else(|| format!("a line each way after {} ms, {path}", took.as_millis()), String::from);
    Ok(Verdict { is_good, said })
}

fn after_silence(room: &mut Room<'_>, outcome: &Outcome) -> Result<Verdict, Failure> {
    if !outcome.is_connected {
        return Ok(met(outcome, None));
    }
    room.wait(SILENCE, |_| false)?;
    let begun = room.clock.now();
    let failure = talk(room)?;
    let took = room.clock.now().saturating_sub(begun);
    let path = if direct(room).is_some() { "direct" } else { "relayed" };
    let said = failure.map_or_else(|| format!("a line each way within {} ms, {path}", took.as_millis()), String::from);
    let is_good = failure.is_none() && took <= AFTER_SILENCE && direct(room).is_some();
    Ok(Verdict { is_good, said })
}

/// A comes to S without anybody's help.
fn join(room: &mut Room<'_>, by: By, is_required: bool, options: &Options) -> Result<Verdict, Failure> {
    room.start(S, &["--port", &PORT.to_string()])?;
    room.start(A, &["--port", &PORT.to_string()])?;
    let is_ready = |room: &Room<'_>| [S, A].iter().all(|node| room.seen(*node).public.is_some());
    if !room.wait(A_WHILE, is_ready)? {
        return Ok(Verdict { is_good: false, said: "they did not learn how the world sees them".into() });
    }
    // What they learn of their NATs after that is worth a moment.
    room.wait(options.rtt * 20, |_| false)?;
    let begun = room.clock.now();
    let address = |node: usize| room.seen(node).public.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
    match (by, address(S), address(A)) {
        (By::Ticket, ..) => {
            room.tell(S, "I");
            room.wait(A_WHILE, |room| room.seen(S).ticket.is_some())?;
            let ticket = room.seen(S).ticket.clone().unwrap_or_default();
            room.tell(A, &format!("C {ticket}"));
        }
        (By::Both, Some(supernode), Some(joiner)) => {
            room.tell(S, &format!("A {} {}", joiner.ip(), joiner.port()));
            room.tell(A, &format!("C {} {}", supernode.ip(), supernode.port()));
        }
        (By::Both, ..) => return Ok(Verdict { is_good: false, said: "an address is none".into() }),
    }
    // Only one of them has joined the other's room.
    let is_in = |room: &Room<'_>| room.seen(A).connected.is_some() || room.seen(S).connected.is_some();
    let has_met = room.wait(UNTIL_CONNECTED, is_in)?;
    let took = room.clock.now().saturating_sub(begun);
    let error = room.seen(A).errors.last().map_or_else(String::new, |(code, message)| format!(", {code}: {message}"));
    let must = if is_required { "required" } else { "not required" };
    if !has_met {
        return Ok(Verdict { is_good: !is_required, said: format!("not connected ({must}){error}") });
    }
    let words = "anybody in?";
    room.tell(A, &format!("T {words}"));
    let is_heard = room.wait(A_WHILE, |room| room.seen(S).chats.iter().any(|chat| chat == words))?;
    let heard = if is_heard { "" } else { ", but S does not hear A" };
    Ok(Verdict { is_good: is_heard, said: format!("connected after {} ms ({must}){heard}", took.as_millis()) })
}
