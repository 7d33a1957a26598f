//! What a person sees of each event.

use super::*;
use crate::samples;
use anjer::node::api::{ErrorCode, FileListing};

/// What a screen without colours shows of all that, with ids written as ANNA and BEN.
fn picture(events: &[Event]) -> String {
    let mut screen = Screen::new(false, true);
    let lines: Vec<String> = events.iter().flat_map(|event| screen.lines(event, 0)).collect();
    named(&lines)
}

fn named(lines: &[String]) -> String {
    lines.join("\n").replace(&samples::anna().to_string(), "ANNA").replace(&samples::ben().to_string(), "BEN")
}

#[test]
fn one_of_each_looks_like_this() {
    let picture = picture(&samples::one_of_each());
    let expected = "\
You are anna (ANNA) at 127.0.0.1:5000.
Others join you with C 127.0.0.1 5000; ? lists the commands.
You are in the room of ben (epoch 3, direct).
ben leads the room (epoch 3): the one before was lost.
ben (BEN) is here.
ben is reached through another member, 12 ms (4 packets): both NATs guess.
ben: hello
3 lines are missing (4 to 6): nobody who is here has them.
The world sees you at 192.0.2.1:5000: an easy NAT.
  rank  name  id   terms, in order of weight
  0     ben   BEN  tenure=5
  after 0 s: epoch 3, led by ben: they opened it
  your NAT: nat=yes mapping=independent
  ben is reached through another member via ben (7 packets spent, 1 standing by; nat=no): both NATs guess
Alert (equivocation): two views
ben no longer offers a b.txt.
  name     size  hash          held by
  a b.txt  5 B   abababababab  ben
a b.txt is saved as /tmp/a b.txt (5 B in 0.5 s, 0.0 MB/s).
ben asks to be let in from 127.0.0.1:5001: A BEN admits them.
ben (BEN) at 127.0.0.1:5001 was asked to let you in: there they type A ANNA.
For 10 min the first who comes from 127.0.0.1:5001 is let in (they type C 127.0.0.1 5000).
For 24 h this ticket admits one more person, who types C and then:
anjer1abc
no such file
Bye.";
    // Ids are 16 characters wide in the table, so its picture is compared without the padding.
    let squeezed =
        |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(squeezed(&picture), squeezed(expected));
}

#[test]
fn the_members_are_a_table_when_asked_for_and_news_otherwise() {
    let mut screen = Screen::new(false, true);
    screen.lines(&samples::one_of_each()[0], 0);
    assert_eq!(named(&screen.lines(&samples::peers(), 0)), "ben (BEN) is here.");
    assert!(screen.lines(&samples::peers(), 0).is_empty(), "the same members are no news");
    screen.expect_members();
    let table = screen.lines(&samples::peers(), 0);
    let id = samples::ben().to_string();
    assert_eq!(
        table,
        [
            "  rank  name        id                role       path    rtt     address".to_owned(),
            format!("  0     ben         {id}  supernode  direct  0.2 ms  127.0.0.1:5001"),
            format!("  1     anna (you)  {}  member     -       -       -", samples::anna()),
        ]
    );
    let alone = Event::Peers { epoch: 4, supernode: samples::anna(), members: Vec::new() };
    assert_eq!(screen.lines(&alone, 0), ["ben is gone."]);
}

/// Behind a NAT the address that others type is the one that the world sees; while that is not known, it is said so, in one line.
#[test]
fn what_others_type_is_what_they_can_reach() {
    let first_lines = |public: Option<&str>, is_open: bool| {
        let mut screen = Screen::new(false, is_open);
        let Event::Ready { id, name, nat, .. } = samples::one_of_each().remove(0) else { panic!("it is the first") };
        let public = public.map(|public| public.parse().unwrap());
        let local = "10.0.0.2:7000".parse().unwrap();
        screen.lines(&Event::Ready { id, name, local, public, nat }, 0)
    };
    assert_eq!(
        first_lines(None, true).last().unwrap(),
        "Those on your own network join you with C 10.0.0.2 7000, those elsewhere once you are told how the world sees you; ? lists the commands."
    );
    assert_eq!(
        first_lines(Some("192.0.2.11:7000"), false).last().unwrap(),
        "Others join you with C 192.0.2.11 7000 (on your own network with C 10.0.0.2 7000), when you typed A with theirs, or with a ticket (I); \
         ? lists the commands."
    );
}

/// Packets go on being spent on looking for a direct path: that alone is no news, another reason is.
#[test]
fn a_relayed_path_is_told_again_only_with_another_reason() {
    let mut screen = Screen::new(false, true);
    let path = |path, probes, why: &str| Event::Path {
        id: samples::ben(),
        path,
        rtt_ms: None,
        probes,
        why: Some(why.to_owned()).filter(|why| !why.is_empty()),
    };
    let mut told = |event| screen.lines(&event, 0).len();
    assert_eq!(told(path(Path::Relayed, 6, "too many ports")), 1);
    assert_eq!(told(path(Path::Relayed, 12, "too many ports")), 0);
    assert_eq!(told(path(Path::Relayed, 12, "not hit")), 1);
    assert_eq!(told(path(Path::Direct, 20, "")), 1);
    assert_eq!(told(path(Path::Direct, 20, "")), 0);
}

/// Who leads is told before who is there, and a withdrawal after its owner went: both are called by their names.
#[test]
fn who_is_not_here_yet_or_any_more_has_a_name_all_the_same() {
    let mut screen = Screen::new(false, true);
    let [ready, connected, supernode, peers, ..] = &samples::one_of_each()[..] else { panic!("more than four") };
    screen.lines(ready, 0);
    assert!(screen.lines(connected, 0).is_empty() && screen.lines(supernode, 0).is_empty());
    let lines = screen.lines(peers, 0);
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("room of ben (") && lines[1].starts_with("ben leads"), "{lines:?}");
    screen.lines(&Event::Peers { epoch: 4, supernode: samples::anna(), members: Vec::new() }, 0);
    let withdrawn = Event::Withdrawn(samples::offered(Some(samples::hash())));
    assert_eq!(screen.lines(&withdrawn, 0), ["ben no longer offers a b.txt."]);
    let late = samples::chat(&samples::ben().to_string(), "and good night");
    assert_eq!(screen.lines(&late, 0), ["ben: and good night"]);
}

#[test]
fn who_leads_is_said_without_a_name_when_none_comes() {
    let mut screen = Screen::new(false, true);
    assert!(screen.lines(&samples::one_of_each()[1], 0).is_empty());
    let lines = screen.lines(&samples::chat("ben", "hello"), 0);
    assert_eq!(named(&lines), "You are in the room of BEN (epoch 3, direct).\nben: hello");
}

#[test]
fn a_path_is_news_when_it_is_another_one() {
    let mut screen = Screen::new(false, true);
    let path = |path| Event::Path { id: samples::ben(), path, rtt_ms: Some(1.0), probes: 3, why: None };
    assert!(screen.lines(&path(Path::Direct), 0).is_empty());
    assert_eq!(screen.lines(&path(Path::Relayed), 0).len(), 1);
    assert_eq!(screen.lines(&path(Path::Direct), 0).len(), 1);
}

/// Behind a NAT the first address is of no use to anybody elsewhere.
#[test]
fn who_is_behind_a_nat_is_told_what_others_type_as_soon_as_it_is_known() {
    let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let ready =
        Event::Ready { id: samples::anna(), name: "anna".into(), local: at("10.0.0.7:7000"), public: None, nat: None };
    let admitting = |addr: &str| Event::Admitting { addr: Some(at(addr)), id: None, seconds: 60 };
    let far = admitting("203.0.113.9:7000");
    let last = |screen: &mut Screen, event: &Event| screen.lines(event, 0).pop().expect("a line");
    let mut screen = Screen::new(false, true);
    assert!(last(&mut screen, &ready).contains("those elsewhere once you are told"));
    let early = last(&mut screen, &far);
    assert!(
        early.contains("on your network they type C 10.0.0.7 7000; your public address is not known yet"),
        "{early}"
    );
    assert!(last(&mut screen, &admitting("10.0.0.8:7000")).ends_with("(they type C 10.0.0.7 7000)."));
    last(&mut screen, &Event::Address { public: None, nat: None });
    assert!(last(&mut screen, &far).contains("no STUN server answered"));
    last(&mut screen, &Event::Address { public: Some(at("192.0.2.1:5000")), nat: None });
    assert!(last(&mut screen, &far).ends_with("(they type C 192.0.2.1 5000)."));
    let mut here = Screen::new(false, true).on_one_network(true);
    assert!(last(&mut here, &ready).contains("C 10.0.0.7 7000"));
    assert!(last(&mut here, &far).ends_with("(they type C 10.0.0.7 7000)."));
}

#[test]
fn whoever_does_not_open_the_door_is_told_how_others_come_in() {
    let lines = Screen::new(false, false).lines(&samples::one_of_each()[0], 0);
    assert!(lines[1].contains("typed A") && lines[1].contains("ticket (I)"), "{lines:?}");
}

#[test]
fn what_others_write_cannot_act_on_the_screen() {
    let hostile = "\u{1b}[2J\u{202e}\nanna: I owe you\u{9b}31m";
    let offered = |name: &str| Offered { name: name.into(), ..samples::offered(Some(samples::hash())) };
    let events = [
        samples::chat(hostile, hostile),
        Event::Offered(offered(hostile)),
        Event::Withdrawn(offered(hostile)),
        Event::Alert { code: "x", message: hostile.into() },
        Event::Error { command: None, code: ErrorCode::Refused, message: hostile.into() },
        Event::Asked { addr: "127.0.0.1:1".parse().expect("an address"), id: samples::ben(), name: hostile.into() },
        Event::Waiting { id: samples::ben(), name: hostile.into(), addr: "127.0.0.1:1".parse().expect("an address") },
        Event::Ticket { ticket: hostile.into(), seconds: u64::MAX },
        Event::Saved { name: hostile.into(), path: hostile.into(), bytes: 1, hash: samples::hash(), seconds: 0.0 },
        Event::Progress { name: hostile.into(), hash: samples::hash(), bytes: 1, size: 1 << 40, sources: 1 },
        Event::Files {
            files: vec![FileListing { name: hostile.into(), size: 1, hash: samples::hash(), holders: vec![] }],
        },
    ];
    let mut screen = Screen::new(false, true);
    for event in events {
        let lines = screen.lines(&event, 0);
        assert!(!lines.is_empty());
        for line in lines {
            assert!(!line.chars().any(crate::harmless::is_harmful), "{line:?}");
        }
    }
}

#[test]
fn colours_are_added_around_and_never_by_others() {
    let mut screen = Screen::new(true, true);
    let lines = screen.lines(&samples::chat("ben", "\u{1b}[31mred"), 0);
    assert_eq!(lines, ["\u{1b}[1mben\u{1b}[0m: \\u{1b}[31mred"]);
}

#[test]
fn the_help_has_a_line_for_every_command() {
    let help = Screen::new(false, true).help();
    assert_eq!(help.len(), TABLE.len());
    assert!(help.iter().any(|line| line.contains("T <message>") && line.contains("say it to everyone")));
}
