//! Stories: a sharer's worker and a downloader's, the slices carried between them by hand.

use super::*;
use crate::node::disk::{CHUNK_GROUP, MAX_ENCODED_SLICE, MAX_FILE_SIZE, MAX_SLICE};
use proptest::prelude::*;
use std::fs::{self, File};
use std::path::Path;
use tempfile::TempDir;

const OFFER: OfferNumber = OfferNumber(1);
const DOWNLOAD: DownloadNumber = DownloadNumber(7);
const TOKEN: Token = Token(3);

/// One node's disk, in a folder of its own.
struct Bench {
    folder: TempDir,
    worker: Worker,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("shared")).unwrap();
        let worker = worker_in(folder.path());
        Self { folder, worker }
    }

    fn shared(&self, name: &str) -> PathBuf {
        self.folder.path().join("shared").join(name)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("shared")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Asks, works off what is queued, and returns all answers.
    fn ask(&mut self, request: DiskRequest) -> Vec<DiskReply> {
        let mut replies = Vec::new();
        self.worker.handle(request, &mut |reply| replies.push(reply));
        while self.worker.work(&mut |reply| replies.push(reply)) {}
        replies
    }

    fn ask1(&mut self, request: DiskRequest) -> DiskReply {
        let mut replies = self.ask(request);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    fn offer(&mut self, name: &str, content: &[u8]) -> FileHash {
        fs::write(self.shared(name), content).unwrap();
        match self.ask(DiskRequest::Offer { offer: OFFER, path: name.into() }).as_slice() {
            [DiskReply::Found { name: found, size, .. }, DiskReply::Hashed { hash, .. }] => {
                assert_eq!((found.as_str(), *size), (name, content.len() as u64));
                *hash
            }
            other => panic!("{other:?}"),
        }
    }

    fn refused_offer(&mut self, path: impl Into<PathBuf>) -> ErrorCode {
        match self.ask1(DiskRequest::Offer { offer: OFFER, path: path.into() }) {
            DiskReply::OfferFailed { error, .. } => error.code,
            other => panic!("{other:?}"),
        }
    }

    fn slice(&mut self, range: ByteRange) -> Result<Bytes, ErrorCode> {
        match self.ask(DiskRequest::Slice { token: TOKEN, offer: OFFER, range }).into_iter().next() {
            Some(DiskReply::Slice { token: TOKEN, slice }) => slice.map_err(|error| error.code),
            other => panic!("{other:?}"),
        }
    }

    fn begin_as(
        &mut self,
        number: DownloadNumber,
        file: (&str, FileHash, u64),
        save_as: Option<&str>,
    ) -> Result<Vec<ByteRange>, ErrorCode> {
        let (name, hash, size) = file;
        let request =
            DiskRequest::Begin { download: number, hash, size, name: name.into(), save_as: save_as.map(PathBuf::from) };
        match self.ask1(request) {
            DiskReply::Begun { have, .. } => Ok(have),
            DiskReply::Failed { error, .. } => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, name: &str, hash: FileHash, size: u64) -> Result<Vec<ByteRange>, ErrorCode> {
        self.begin_as(DOWNLOAD, (name, hash, size), None)
    }

    fn write(&mut self, range: ByteRange, slice: Vec<Bytes>) -> DiskReply {
        self.ask1(DiskRequest::Write { download: DOWNLOAD, range, slice })
    }

    fn finish(&mut self) -> Result<PathBuf, ErrorCode> {
        match self.ask1(DiskRequest::Finish { download: DOWNLOAD }) {
            DiskReply::Saved { path, .. } => Ok(path),
            DiskReply::Failed { error, .. } => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    /// The program is killed and started again.
    fn crash(&mut self) {
        let folder = self.folder.path().to_owned();
        self.worker = Worker::new(PathBuf::new(), folder.join("nowhere"));
        self.worker = worker_in(&folder);
    }
}

fn worker_in(folder: &Path) -> Worker {
    Worker::new(folder.join("shared"), folder.join("state"))
}

fn content(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8 ^ (i / CHUNK_GROUP) as u8).collect()
}

/// `size` bytes as ranges of `groups` chunk groups.
fn ranges(size: u64, groups: u64) -> Vec<ByteRange> {
    let step = (groups * CHUNK_GROUP) as usize;
    (0..size).step_by(step).map(|start| ByteRange { start, end: size.min(start + step as u64) }).collect()
}

fn written(range: ByteRange) -> DiskReply {
    DiskReply::Written { download: DOWNLOAD, range }
}

fn corrupt(range: ByteRange) -> DiskReply {
    DiskReply::Corrupt { download: DOWNLOAD, range }
}

/// A test that cannot run here says so; where privileges are promised, that is a failure.
fn skipped(test: &str, why: &str) {
    assert!(std::env::var_os("ANJER_REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"), "{test} was skipped: {why}");
    eprintln!("SKIPPED: {test}: {why}");
}

#[test]
fn a_file_of_any_size_arrives_as_it_was() {
    for size in [0, 1, 1024, CHUNK_GROUP - 1, CHUNK_GROUP, CHUNK_GROUP + 1, MAX_SLICE, 3 * MAX_SLICE + 70_001] {
        let (mut sharer, mut taker) = (Bench::new(), Bench::new());
        let data = content(size);
        let hash = sharer.offer("a file.bin", &data);
        assert_eq!(hash.0, *blake3::hash(&data).as_bytes());
        assert_eq!(taker.begin("a file.bin", hash, size), Ok(vec![]));
        for range in ranges(size, 16) {
            let slice = sharer.slice(range).unwrap();
            assert!(slice.len() as u64 <= MAX_ENCODED_SLICE);
            assert_eq!(taker.write(range, slice.chunks(1000).map(Bytes::copy_from_slice).collect()), written(range));
        }
        assert_eq!(taker.finish(), Ok(taker.shared("a file.bin")), "{size} bytes");
        assert_eq!(fs::read(taker.shared("a file.bin")).unwrap(), data);
        assert_eq!(taker.files(), ["a file.bin"], "no .part is left");
        assert_eq!(fs::read_dir(taker.folder.path().join("state/partial")).map_or(0, Iterator::count), 0);
    }
}

#[test]
fn what_does_not_verify_never_reaches_the_disk() {
    let (mut sharer, mut taker) = (Bench::new(), Bench::new());
    let size = 4 * CHUNK_GROUP + 9;
    let hash = sharer.offer("f", &content(size));
    let [first, second, ..] = ranges(size, 2)[..] else { panic!() };
    let good = sharer.slice(first).unwrap();
    taker.begin("f", hash, size).unwrap();
    let part = taker.shared(&taker.files()[0]);
    // The last bit alone is wrong: the groups before it verify, and must not be written either.
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let trailing = vec![good.clone(), Bytes::from_static(b"x")];
    let endless = vec![Bytes::from(vec![0; MAX_ENCODED_SLICE as usize + 1])];
    for bad in [vec![flipped.into()], trailing, vec![good.slice(..good.len() - 1)], vec![], endless] {
        assert_eq!(taker.write(first, bad), corrupt(first));
    }
    assert_eq!(taker.write(second, vec![good.clone()]), corrupt(second), "right bytes, wrong place");
    assert!(fs::read(&part).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(taker.write(first, vec![good]), written(first), "another holder's slice is still welcome");
}

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

/// What was journaled is there after a kill, what was not is asked for again, and the whole is hashed before it is named.
#[test]
fn a_killed_download_is_taken_up_from_its_journal() {
    let (mut sharer, mut taker) = (Bench::new(), Bench::new());
    // Over the 16 MiB after which a journal is written, and a piece of a group.
    let size = 18 * MAX_SLICE + 3;
    let data = content(size);
    let hash = sharer.offer("f", &data);
    taker.begin("f", hash, size).unwrap();
    let all = ranges(size, 16);
    for range in &all[..17] {
        assert_eq!(taker.write(*range, vec![sharer.slice(*range).unwrap()]), written(*range));
    }
    taker.crash();
    let journaled = ByteRange { start: 0, end: 16 * MAX_SLICE };
    assert_eq!(taker.begin("f", hash, size), Ok(vec![journaled]));
    for range in &all[16..] {
        assert_eq!(taker.write(*range, vec![sharer.slice(*range).unwrap()]), written(*range));
    }
    assert_eq!(taker.finish(), Ok(taker.shared("f")));
    assert_eq!(fs::read(taker.shared("f")).unwrap(), data);
}

/// Half of a file of two slices, paused.
fn half_done() -> (Bench, Bench, FileHash, [ByteRange; 2]) {
    let (mut sharer, mut taker) = (Bench::new(), Bench::new());
    let size = 2 * MAX_SLICE;
    let hash = sharer.offer("f", &content(size));
    let [first, second] = ranges(size, 16)[..] else { panic!() };
    taker.begin("f", hash, size).unwrap();
    taker.write(first, vec![sharer.slice(first).unwrap()]);
    assert_eq!(taker.ask(DiskRequest::Pause { download: DOWNLOAD }), []);
    (sharer, taker, hash, [first, second])
}

#[test]
fn a_paused_download_goes_on_even_in_another_place() {
    let (mut sharer, mut taker, hash, [first, second]) = half_done();
    fs::create_dir(taker.shared("sub")).unwrap();
    assert_eq!(taker.begin_as(DOWNLOAD, ("f", hash, second.end), Some("sub/g")), Ok(vec![first]));
    assert_eq!(taker.files(), ["sub"], "the bytes moved along");
    taker.crash();
    assert_eq!(taker.begin_as(DOWNLOAD, ("f", hash, second.end), Some("sub/g")), Ok(vec![first]), "so did the journal");
    taker.write(second, vec![sharer.slice(second).unwrap()]);
    assert_eq!(taker.finish(), Ok(taker.shared("sub/g")));
    assert_eq!(fs::read(taker.shared("sub/g")).unwrap(), content(second.end));
}

#[test]
fn bytes_that_decayed_while_a_download_was_paused_are_found_and_dropped() {
    let (mut sharer, mut taker, hash, [first, second]) = half_done();
    let part = taker.shared(&taker.files()[0]);
    let mut decayed = fs::read(&part).unwrap();
    decayed[5] ^= 1;
    fs::write(&part, decayed).unwrap();
    assert_eq!(taker.begin("f", hash, second.end), Ok(vec![first]));
    taker.write(second, vec![sharer.slice(second).unwrap()]);
    assert_eq!(taker.finish(), Err(ErrorCode::Corrupt));
    assert_eq!(taker.files(), [""; 0], "neither the name nor the .part");
    assert_eq!(taker.begin("f", hash, second.end), Ok(vec![]), "from the beginning");
}

#[test]
fn a_part_of_another_length_or_without_a_journal_is_begun_anew() {
    let (_, mut taker, hash, [_, second]) = half_done();
    let part = taker.shared(&taker.files()[0]);
    File::options().write(true).open(&part).unwrap().set_len(5).unwrap();
    assert_eq!(taker.begin("f", hash, second.end), Ok(vec![]));
    taker.crash();
    assert_eq!(taker.begin("f", hash, second.end), Ok(vec![]), "and the journal of the other did not outlive it");
    assert_eq!(fs::metadata(&part).unwrap().len(), second.end);
}

#[test]
fn a_download_that_has_nothing_leaves_nothing() {
    let mut taker = Bench::new();
    taker.begin("f", FileHash([1; 32]), 99).unwrap();
    assert_eq!(taker.files(), ["f.01010101.part"]);
    taker.ask(DiskRequest::Pause { download: DOWNLOAD });
    assert_eq!(taker.files(), [""; 0]);
}

#[test]
fn a_download_with_bytes_missing_is_not_finished() {
    let (_, mut taker, hash, [first, second]) = half_done();
    taker.begin("f", hash, second.end).unwrap();
    assert_eq!(taker.finish(), Err(ErrorCode::Corrupt));
    assert_eq!(taker.finish(), Err(ErrorCode::NotFound), "it is forgotten");
    assert_eq!(taker.begin("f", hash, second.end), Ok(vec![first]), "what verified stays");
}

#[test]
fn two_downloads_never_share_a_place() {
    let mut taker = Bench::new();
    let (a, b) = (FileHash([1; 32]), FileHash([2; 32]));
    taker.begin_as(DownloadNumber(1), ("f", a, 9), None).unwrap();
    assert_eq!(taker.begin_as(DownloadNumber(2), ("f", b, 9), None), Err(ErrorCode::Exists));
    assert_eq!(taker.begin_as(DownloadNumber(2), ("g", b, 9), Some("./f")), Err(ErrorCode::Exists));
    assert_eq!(taker.begin_as(DownloadNumber(2), ("g", a, 9), None), Err(ErrorCode::Exists), "the same content twice");
    assert_eq!(taker.begin_as(DownloadNumber(2), ("g", b, 9), None), Ok(vec![]));
}

#[test]
fn nothing_is_computed_with_a_size_that_no_disk_holds() {
    let mut taker = Bench::new();
    for size in [MAX_FILE_SIZE + 1, u64::MAX] {
        assert_eq!(taker.begin("f", FileHash([1; 32]), size), Err(ErrorCode::TooLarge));
    }
    assert_eq!(taker.begin("f", FileHash([1; 32]), 0), Err(ErrorCode::Corrupt), "no bytes, but not their hash");
    assert_eq!(taker.files(), [""; 0]);
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

#[test]
fn the_disk_thread_pauses_what_is_unfinished_when_the_node_goes() {
    let (mut sharer, mut taker, hash, [first, second]) = half_done();
    let third = sharer.slice(second).unwrap();
    let (send, receive) = crossbeam_channel::bounded(9);
    let worker = worker_in(taker.folder.path());
    let begin = DiskRequest::Begin { download: DOWNLOAD, hash, size: second.end, name: "f".into(), save_as: None };
    send.send(begin).unwrap();
    send.send(DiskRequest::Write { download: DOWNLOAD, range: second, slice: vec![third] }).unwrap();
    drop(send);
    let mut replies = Vec::new();
    worker.run(&receive, |reply| replies.push(reply));
    assert_eq!(replies, [DiskReply::Begun { download: DOWNLOAD, have: vec![first] }, written(second)]);
    assert_eq!(taker.begin("f", hash, second.end), Ok(vec![ByteRange { start: 0, end: second.end }]));
    assert_eq!(taker.finish(), Ok(taker.shared("f")));
}

/// On a disk of 1 MiB: what fits is kept, the rest is asked for when there is room.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    use std::process::Command;
    let (mut sharer, mut taker) = (Bench::new(), Bench::new());
    let mount = taker.folder.path().join("shared");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&mount).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skipped("a_full_disk_is_said_and_loses_nothing", "no right to mount a tmpfs");
    }
    let size = 2 * MAX_SLICE;
    let data = content(size);
    let hash = sharer.offer("f", &data);
    let mut outcome = Vec::new();
    let begun = taker.begin("f", hash, size);
    for range in ranges(size, 4) {
        let reply = taker.write(range, vec![sharer.slice(range).unwrap()]);
        let full = matches!(&reply, DiskReply::Failed { error, .. } if error.code == ErrorCode::DiskFull);
        outcome.push((range, full));
        if full {
            break;
        }
    }
    let room = Command::new("mount").args(["-o", "remount,size=9m"]).arg(&mount).status();
    let again = taker.begin("f", hash, size);
    for range in ranges(size, 4) {
        taker.write(range, vec![sharer.slice(range).unwrap()]);
    }
    let saved = taker.finish();
    let arrived = fs::read(taker.shared("f"));
    let read_only = Command::new("mount").args(["-o", "remount,ro"]).arg(&mount).status();
    let on_read_only = taker.begin("g", FileHash([1; 32]), 9);
    drop(std::mem::replace(&mut taker.worker, Worker::new(PathBuf::new(), taker.folder.path().join("nowhere"))));
    let unmounted = Command::new("umount").arg(&mount).status();
    assert_eq!(begun, Ok(vec![]));
    assert!(outcome.len() > 1 && outcome.last().unwrap().1, "{outcome:?}");
    assert!(room.unwrap().success() && read_only.unwrap().success() && unmounted.unwrap().success());
    assert_eq!(on_read_only, Err(ErrorCode::Unwritable));
    let kept = outcome[outcome.len() - 2].0.end;
    assert_eq!(again, Ok(vec![ByteRange { start: 0, end: kept }]));
    assert_eq!(saved, Ok(mount.join("f")));
    assert!(arrived.unwrap() == data);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// However a file is cut into ranges, in whatever order they come, some of them first wrong, some twice, with a kill or a
    /// pause anywhere: the file arrives.
    #[test]
    fn any_order_of_slices_yields_the_file(
        size in prop_oneof![1u64..=CHUNK_GROUP, 1u64..12 * CHUNK_GROUP, Just(4 * CHUNK_GROUP)],
        groups in 1u64..=16,
        order in any::<prop::sample::Index>(),
        harm in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 12),
        interrupt in (0usize..12, any::<bool>()),
    ) {
        let (mut sharer, mut taker) = (Bench::new(), Bench::new());
        let data = content(size);
        let hash = sharer.offer("f", &data);
        prop_assert_eq!(taker.begin("f", hash, size), Ok(vec![]));
        let mut todo = ranges(size, groups);
        let mut sent = 0;
        while !todo.is_empty() {
            let range = todo.remove((order.index(97) + 5 * sent) % todo.len());
            let good = sharer.slice(range).unwrap();
            let (at, bit) = harm[sent % harm.len()];
            if bit < 4 {
                let mut bad = good.to_vec();
                bad[at.index(good.len())] ^= 1 << bit;
                prop_assert_eq!(taker.write(range, vec![bad.into()]), corrupt(range));
            }
            let middle = at.index(good.len());
            prop_assert_eq!(taker.write(range, vec![good.slice(..middle), good.slice(middle..)]), written(range));
            if sent == interrupt.0 {
                if interrupt.1 {
                    taker.crash();
                } else {
                    taker.ask(DiskRequest::Pause { download: DOWNLOAD });
                }
                let have = taker.begin("f", hash, size).unwrap();
                todo = ranges(size, groups);
                todo.retain(|range| !have.iter().any(|run| run.start <= range.start && range.end <= run.end));
            }
            sent += 1;
        }
        prop_assert_eq!(taker.finish(), Ok(taker.shared("f")));
        prop_assert!(fs::read(taker.shared("f")).unwrap() == data);
    }
}
