//! What is offered and served.

use super::bench::*;
use crate::node::disk::worker::*;
use crate::node::disk::{CHUNK_GROUP, MAX_SLICE};
use std::fs::{self, File};

#[test]
fn a_file_that_changed_is_withdrawn_instead_of_served() {
    let mut sharer = Bench::new();
    let whole = ByteRange { start: 0, end: 10 };
    let gone = |replies: Vec<DiskReply>| match replies.as_slice() {
        [DiskReply::Slice { slice: Err(a), .. }, DiskReply::OfferFailed { offer: OFFER, error: b }] if a == b => a.code,
        other => panic!("{other:?}"),
    };
    let ask = DiskRequest::Slice { token: TOKEN, offer: OFFER, range: whole };
    sharer.offer("f", b"0123456789");
    fs::write(sharer.shared("f"), "0123456789more").unwrap();
    assert_eq!(gone(sharer.ask(ask.clone())), ErrorCode::Unreadable);
    assert_eq!(sharer.slice(whole), Err(ErrorCode::NotFound), "the offer is gone");

    sharer.offer("f", b"0123456789");
    fs::remove_file(sharer.shared("f")).unwrap();
    assert_eq!(gone(sharer.ask(ask.clone())), ErrorCode::NotFound);

    // Same size, same time, same inode: only the hash tells.
    sharer.offer("f", b"0123456789");
    let modified = fs::metadata(sharer.shared("f")).unwrap().modified().unwrap();
    fs::write(sharer.shared("f"), b"0123456780").unwrap();
    File::options().write(true).open(sharer.shared("f")).unwrap().set_modified(modified).unwrap();
    assert_eq!(gone(sharer.ask(ask)), ErrorCode::Corrupt);
}

#[test]
fn a_file_that_changes_before_it_is_hashed_is_not_offered() {
    let mut sharer = Bench::new();
    fs::write(sharer.shared("f"), "first").unwrap();
    let mut replies = Vec::new();
    sharer.worker.handle(DiskRequest::Offer { offer: OFFER, path: "f".into() }, &mut |reply| replies.push(reply));
    fs::write(sharer.shared("f"), "second").unwrap();
    while sharer.worker.work(&mut |reply| replies.push(reply)) {}
    assert!(matches!(replies[..], [DiskReply::Found { size: 5, .. }, DiskReply::OfferFailed { .. }]), "{replies:?}");
}

#[test]
fn only_ordinary_readable_files_are_offered() {
    let mut sharer = Bench::new();
    fs::create_dir(sharer.shared("folder")).unwrap();
    assert_eq!(sharer.refused_offer("folder"), ErrorCode::Unavailable);
    assert_eq!(sharer.refused_offer("missing"), ErrorCode::NotFound);
    assert_eq!(sharer.refused_offer("nul\0byte"), ErrorCode::Unreadable);
    #[cfg(unix)]
    {
        assert_eq!(sharer.refused_offer("/dev/zero"), ErrorCode::Unreadable);
        let pipe = sharer.shared("pipe");
        if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
            assert_eq!(sharer.refused_offer("pipe"), ErrorCode::Unreadable);
        } else {
            skipped("only_ordinary_readable_files_are_offered", "no mkfifo");
        }
    }
    // Absolute paths are the user's to give.
    let elsewhere = sharer.folder.path().join("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    assert_eq!(sharer.ask(DiskRequest::Offer { offer: OFFER, path: elsewhere }).len(), 2);
}

#[cfg(unix)]
#[test]
fn a_file_or_folder_without_permission_is_said_to_be_so() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = Bench::new();
    let locked = bench.shared("locked");
    fs::write(&locked, "x").unwrap();
    fs::set_permissions(&locked, PermissionsExt::from_mode(0o000)).unwrap();
    if File::open(&locked).is_ok() {
        eprintln!("note: this user may read everything, so permissions are tested through the mapping of errors alone");
        return;
    }
    assert_eq!(bench.refused_offer("locked"), ErrorCode::Unreadable);
    fs::set_permissions(bench.shared(""), PermissionsExt::from_mode(0o555)).unwrap();
    assert_eq!(bench.begin("f", FileHash([1; 32]), 9), Err(ErrorCode::Unwritable));
    fs::set_permissions(bench.shared(""), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_slice_is_refused_that_is_too_large_or_not_in_the_file() {
    let mut sharer = Bench::new();
    let size = 2 * MAX_SLICE + 5;
    sharer.offer("f", &content(size));
    let mut ask = |start, end| sharer.slice(ByteRange { start, end }).map(|_| ());
    assert_eq!(ask(0, MAX_SLICE), Ok(()));
    assert_eq!(ask(0, MAX_SLICE + CHUNK_GROUP), Err(ErrorCode::TooLarge));
    assert_eq!(ask(1, CHUNK_GROUP), Err(ErrorCode::Usage));
    assert_eq!(ask(0, 0), Err(ErrorCode::Usage));
    assert_eq!(ask(2 * MAX_SLICE, u64::MAX), Err(ErrorCode::Usage));
    assert_eq!(ask(u64::MAX, 0), Err(ErrorCode::Usage));
    assert_eq!(ask(2 * MAX_SLICE, size), Ok(()), "the offer stands");
}

#[test]
fn downloads_and_offers_are_capped() {
    let mut bench = Bench::new();
    for number in 0..MAX_DOWNLOADS as u64 {
        let hash = FileHash(*blake3::hash(&number.to_be_bytes()).as_bytes());
        bench.begin_as(DownloadNumber(number), (&format!("f{number}"), hash, 9), None).unwrap();
    }
    assert_eq!(bench.begin_as(DownloadNumber(9999), ("g", FileHash([1; 32]), 9), None), Err(ErrorCode::Unavailable));
    fs::write(bench.shared("f"), "").unwrap();
    for number in 0..MAX_OFFERS as u64 {
        bench.worker.handle(DiskRequest::Offer { offer: OfferNumber(number + 2), path: "f".into() }, &mut |reply| {
            assert!(matches!(reply, DiskReply::Found { .. }), "{reply:?}");
        });
    }
    let mut replies = Vec::new();
    bench.worker.handle(DiskRequest::Offer { offer: OFFER, path: "f".into() }, &mut |reply| replies.push(reply));
    assert!(matches!(&replies[..], [DiskReply::OfferFailed { error, .. }] if error.code == ErrorCode::TooLarge));
}

/// A huge file is hashed in steps: between any two of them slices of others are served, and a small file overtakes it.
#[test]
fn hashing_a_huge_file_holds_up_nobody() {
    let mut sharer = Bench::new();
    sharer.offer("small", b"0123456789");
    File::create(sharer.shared("huge")).unwrap().set_len(8 * STEP).unwrap();
    fs::write(sharer.shared("late"), "late").unwrap();
    let (huge, late) = (OfferNumber(2), OfferNumber(3));
    let mut replies = Vec::new();
    let (mut steps, mut served) = (0, 0);
    for (offer, path) in [(huge, "huge"), (late, "late")] {
        sharer.worker.handle(DiskRequest::Offer { offer, path: path.into() }, &mut |reply| replies.push(reply));
    }
    while sharer.worker.work(&mut |reply| replies.push(reply)) {
        steps += 1;
        let ask = DiskRequest::Slice { token: TOKEN, offer: OFFER, range: ByteRange { start: 0, end: 10 } };
        sharer
            .worker
            .handle(ask, &mut |reply| served += usize::from(matches!(reply, DiskReply::Slice { slice: Ok(_), .. })));
    }
    assert!(steps >= 8 && served == steps, "{steps} steps, {served} slices");
    let hashed: Vec<_> = replies
        .iter()
        .filter_map(|reply| if let DiskReply::Hashed { offer, .. } = reply { Some(*offer) } else { None })
        .collect();
    assert_eq!(hashed, [late, huge]);
}

#[test]
fn a_withdrawn_offer_leaves_nothing_and_is_not_hashed_on() {
    let mut sharer = Bench::new();
    let outboards = sharer.folder.path().join("state/outboards");
    sharer.offer("f", &content(MAX_SLICE));
    assert_eq!(fs::read_dir(&outboards).unwrap().count(), 1);
    sharer.worker.handle(DiskRequest::Offer { offer: OfferNumber(2), path: "f".into() }, &mut |_| ());
    assert_eq!(sharer.ask(DiskRequest::Forget { offer: OfferNumber(2) }), []);
    sharer.ask(DiskRequest::Forget { offer: OFFER });
    assert_eq!(fs::read_dir(&outboards).unwrap().count(), 0);
    assert!(sharer.shared("f").exists());
    // And what a crash left is gone after the next start.
    sharer.offer("f", &content(MAX_SLICE));
    sharer.crash();
    assert!(!outboards.exists());
}
