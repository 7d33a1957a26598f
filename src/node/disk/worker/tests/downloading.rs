//! What is written, verified, interrupted and taken up again.

use super::bench::*;
use crate::node::disk::worker::*;
use crate::node::disk::{CHUNK_GROUP, MAX_ENCODED_SLICE, MAX_FILE_SIZE, MAX_SLICE};
use proptest::prelude::*;
use std::fs::{self, File};

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
