//! Files from one folder to another.

use crate::village::{Village, address, bytes, street};
use anjer::node::api::ErrorCode;
use anjer::node::{Command, Event};
use anjer::time::Duration;
use netem::{Link, Loss};

fn retrieve(what: &str) -> Command {
    Command::Retrieve { what: what.into(), save_as: None }
}

/// A street that moves 100 Mbit a second.
fn slow_street() -> Link {
    Link { rate: Some(100_000_000), ..street() }
}

#[test]
fn files_travel_whole_whatever_their_size_and_name() {
    let mut village = Village::with_room(11, street(), 3);
    let files = [("empty", 0), ("a name with spaces.txt", 1), ("ファイル", 65_537), ("large", 5_000_001)];
    for (name, length) in files {
        let path = village.write(2, name, &bytes(7, length));
        village.command(2, Command::Offer(path));
    }
    assert!(village.run_until(10, |village| files.iter().all(|(name, _)| village.lists(1, name, 1))));
    for (name, _) in files {
        village.command(1, retrieve(name));
    }
    let all = village.run_until(30, |village| files.iter().all(|(name, _)| village.has_saved(1, name)));
    assert!(all, "{:?}", village.told(1));
    for (name, length) in files {
        assert!(village.read(1, name) == Some(bytes(7, length)), "{name} differs");
    }
    assert!(village.errors(1).is_empty());
    let reports = |event: &&Event| matches!(event, Event::Progress { name, .. } if name == "large");
    let told = village.told(1);
    let last = told.iter().rfind(reports);
    assert!(matches!(last, Some(Event::Progress { bytes: 5_000_001, size: 5_000_001, .. })), "{last:?}");
}

#[test]
fn mistakes_about_files_say_what_is_wrong() {
    let mut village = Village::with_room(12, street(), 3);
    for (owner, seed) in [(1, 7), (2, 8)] {
        let path = village.write(owner, "same name", &bytes(seed, 100));
        village.command(owner, Command::Offer(path));
    }
    assert!(village.run_until(10, |village| village.lists(0, "same name", 2)));
    let mistakes = [
        (0, retrieve("same name"), ErrorCode::Ambiguous),
        (0, retrieve("nothing"), ErrorCode::NotFound),
        (0, Command::Offer("no such file".into()), ErrorCode::NotFound),
        (0, Command::Withdraw("same name".into()), ErrorCode::NotFound),
        (1, retrieve(&blake3::hash(&bytes(7, 100)).to_hex()), ErrorCode::Exists),
    ];
    for (who, command, code) in mistakes {
        let before = village.errors(who).len();
        village.command(who, command.clone());
        village.run_for(Duration::from_millis(100));
        let errors = village.errors(who);
        assert_eq!(errors.len(), before + 1, "{command:?}");
        assert_eq!((errors[before].0, errors[before].1), (Some(command.letter()), code), "{:?}", errors[before].2);
    }
    village.command(0, retrieve(&blake3::hash(&bytes(8, 100)).to_hex()));
    assert!(village.run_until(5, |village| village.has_saved(0, "same name")), "the hash tells them apart");
}

/// The supernode is only a member when it comes to files: a download between two others goes on when it dies.
#[test]
fn a_download_does_not_notice_that_the_supernode_died() {
    let mut village = Village::with_room(13, slow_street(), 4);
    let content = bytes(9, 30 << 20);
    let path = village.write(2, "film", &content);
    village.command(2, Command::Offer(path));
    assert!(village.run_until(10, |village| village.lists(3, "film", 1)));
    village.command(3, retrieve("film"));
    village.run_for(Duration::from_millis(800));
    assert!(!village.has_saved(3, "film"));
    village.kill(0);
    village.say(3, "is anybody there?");
    assert!(village.run_until(5, |village| village.has_heard(2, "is anybody there?")), "chat is not behind the file");
    assert!(village.run_until(30, |village| village.has_saved(3, "film")), "{:?}", village.told(3).last());
    assert!(village.read(3, "film") == Some(content));
    assert!(village.errors(3).is_empty(), "{:?}", village.errors(3));
}

#[test]
fn when_a_holder_dies_another_one_goes_on() {
    let mut village = Village::with_room(14, slow_street(), 4);
    let content = bytes(9, 30 << 20);
    for holder in [1, 2] {
        let path = village.write(holder, "film", &content);
        village.command(holder, Command::Offer(path));
    }
    assert!(village.run_until(10, |village| village.lists(3, "film", 2)));
    village.command(3, retrieve("film"));
    village.run_for(Duration::from_millis(800));
    let sent = |village: &Village, from| village.network.counters(address(from), address(3)).delivered_bytes;
    let sender = if sent(&village, 1) > sent(&village, 2) { 1 } else { 2 };
    village.kill(sender);
    assert!(village.run_until(40, |village| village.has_saved(3, "film")), "{:?}", village.told(3).last());
    assert!(village.read(3, "film") == Some(content));
}

/// The disk writes down what is verified every 16 MiB; that much it knows after a crash.
#[test]
fn a_downloader_that_was_killed_asks_only_for_what_it_lacks() {
    let mut village = Village::with_room(15, slow_street(), 3);
    let content = bytes(9, 40 << 20);
    let path = village.write(1, "film", &content);
    village.command(1, Command::Offer(path));
    assert!(village.run_until(10, |village| village.lists(2, "film", 1)));
    village.command(2, retrieve("film"));
    village.run_for(Duration::from_millis(2500));
    village.kill(2);
    village.run_for(Duration::from_millis(500));
    village.start(2, true);
    village.command(2, Command::ConnectTo(address(0)));
    assert!(village.run_until(20, |village| village.lists(2, "film", 1)), "{:?}", village.told(2));
    village.command(2, retrieve("film"));
    village.run_for(Duration::from_millis(100));
    let first = village.told(2).into_iter().find_map(|event| match event {
        Event::Progress { bytes, .. } => Some(bytes),
        _ => None,
    });
    assert!(first.is_some_and(|bytes| bytes >= 16 << 20), "starts again at {first:?}");
    assert!(village.run_until(30, |village| village.has_saved(2, "film")));
    assert!(village.read(2, "film") == Some(content));
}

#[test]
fn a_file_arrives_whole_through_a_bad_street() {
    let link = Link { loss: Loss::Independent(0.05), ..slow_street() };
    let mut village = Village::with_room(16, link, 3);
    let content = bytes(3, 8 << 20);
    let path = village.write(1, "notes", &content);
    village.command(1, Command::Offer(path));
    assert!(village.run_until(20, |village| village.lists(2, "notes", 1)));
    village.command(2, retrieve("notes"));
    assert!(village.run_until(120, |village| village.has_saved(2, "notes")), "{:?}", village.told(2).last());
    assert!(village.read(2, "notes") == Some(content));
}

#[test]
fn whoever_leaves_takes_their_offers_along() {
    let mut village = Village::with_room(17, street(), 3);
    let path = village.write(2, "notes", b"text");
    village.command(2, Command::Offer(path));
    assert!(village.run_until(5, |village| village.lists(1, "notes", 1)));
    village.command(2, Command::Quit);
    assert!(village.run_until(5, |village| village.lists(1, "notes", 0)));
    village.command(1, Command::Files);
    assert!(matches!(village.told(1).last(), Some(Event::Files { files }) if files.is_empty()));
}
