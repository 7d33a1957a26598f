//! Offering and fetching.

use crate::harness::{Client, hash_of, room, write_file};
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Fetching takes as long as the disk and the machine's other work make it.
const FETCHED: Duration = Duration::from_secs(60);

/// Offers that file of `holder`'s folder and waits until `other` could fetch it.
fn offer(holder: &mut Client, other: &mut Client, name: &str) -> Value {
    holder.type_line(&format!("B {name}"));
    other.wait(&format!("offer of {name}"), |event| {
        event["event"] == "offered" && event["name"] == name && event["hash"].is_string()
    })
}

/// Fetches by name and checks that what is saved is what was offered.
fn fetch(client: &mut Client, name: &str, original: &Path) -> Value {
    client.type_line(&format!("R {name}"));
    let saved = client.wait_within(FETCHED, &format!("saved {name}"), |event| event["event"] == "saved");
    let path = Path::new(saved["path"].as_str().expect("a path")).to_owned();
    assert!(path.starts_with(client.dir.path().canonicalize().expect("it is there")), "{saved}");
    assert_eq!(saved["name"], name);
    assert_eq!(saved["hash"].as_str().map(str::to_owned), Some(hash_of(original)));
    assert_eq!(saved["bytes"].as_u64(), original.metadata().ok().map(|data| data.len()));
    assert_eq!(hash_of(&path), hash_of(original), "what arrived is what was offered");
    saved
}

#[test]
fn files_of_any_name_and_size_are_offered_listed_and_fetched() {
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    for (name, size) in [
        ("small.txt", 5),
        ("empty", 0),
        ("a name with  blanks.bin", 100_000),
        ("日本語のファイル.txt", 3_000),
        ("one as two.txt", 1),
        ("exactly.bin", 16 * 1024),
        ("a little more.bin", 3_000_001),
    ] {
        let original = write_file(anna.dir.path(), name, size);
        let offered = offer(&mut anna, &mut ben, name);
        assert_eq!(offered["size"].as_u64(), Some(size as u64));
        assert_eq!((offered["kind"].as_str(), offered["id"].as_str()), (Some("file"), Some(anna.id().as_str())));
        ben.type_line("G");
        let files = ben.wait("files", |event| event["event"] == "files");
        let listed = files["files"].as_array().expect("a list").iter().find(|file| file["name"] == name);
        let listed = listed.unwrap_or_else(|| panic!("{name} is not in {files}"));
        assert_eq!(listed["hash"], offered["hash"]);
        assert_eq!(listed["holders"][0].as_str(), Some(anna.id().as_str()));
        // A name that holds the word as is quoted.
        if name.contains(" as ") {
            ben.type_line(&format!("R \"{name}\""));
            ben.wait_within(FETCHED, "saved", |event| event["event"] == "saved" && event["name"] == name);
            assert_eq!(hash_of(&ben.dir.path().join(name)), hash_of(&original));
        } else {
            fetch(&mut ben, name, &original);
        }
    }
    assert!(ben.events_called("error").is_empty() && anna.events_called("error").is_empty());
}

#[test]
fn progress_never_goes_back_and_comes_before_saved() {
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    let original = write_file(anna.dir.path(), "film.bin", 30_000_000);
    let offered = offer(&mut anna, &mut ben, "film.bin");
    fetch(&mut ben, "film.bin", &original);
    let progress = ben.events_called("progress");
    assert!(!progress.is_empty(), "30 MB without a word");
    let mut before = 0;
    for event in progress {
        let bytes = event["bytes"].as_u64().expect("a number");
        assert!(bytes >= before && bytes <= 30_000_000, "{event}");
        assert_eq!(event["hash"], offered["hash"]);
        assert_eq!((event["size"].as_u64(), event["name"].as_str()), (Some(30_000_000), Some("film.bin")));
        before = bytes;
    }
    let last = ben.events.iter().rposition(|event| event["event"] == "progress");
    let saved = ben.events.iter().position(|event| event["event"] == "saved");
    assert!(last < saved, "nothing moves on after it is saved");
}

#[test]
fn a_file_is_fetched_by_hash_under_another_name_and_never_over_an_existing_one_unasked() {
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    let original = write_file(anna.dir.path(), "x.bin", 1000);
    let offered = offer(&mut anna, &mut ben, "x.bin");
    let hash = offered["hash"].as_str().expect("a hash").to_owned();
    std::fs::write(ben.dir.path().join("x.bin"), b"mine").expect("written");
    ben.type_line("R x.bin");
    ben.wait_for_error(Some("R"), "exists");
    assert_eq!(std::fs::read(ben.dir.path().join("x.bin")).expect("there"), b"mine");
    ben.type_line(&format!("R {} as other name.bin", &hash[..10]));
    ben.wait_within(FETCHED, "saved", |event| event["event"] == "saved");
    assert_eq!(hash_of(&ben.dir.path().join("other name.bin")), hash_of(&original));
    ben.type_line(&format!("R {hash} as x.bin"));
    ben.wait_within(FETCHED, "saved", |event| event["event"] == "saved");
    assert_eq!(hash_of(&ben.dir.path().join("x.bin")), hash_of(&original), "as was said, so it is replaced");
}

#[test]
fn what_is_withdrawn_is_no_longer_listed() {
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    write_file(anna.dir.path(), "x.bin", 1000);
    offer(&mut anna, &mut ben, "x.bin");
    anna.type_line("U x.bin");
    ben.wait("withdrawn", |event| event["event"] == "withdrawn" && event["name"] == "x.bin");
    ben.type_line("R x.bin");
    ben.wait_for_error(Some("R"), "not_found");
    ben.type_line("G");
    let files = ben.wait("files", |event| event["event"] == "files");
    assert_eq!(files["files"].as_array().map(Vec::len), Some(0));
}

#[test]
fn whoever_leaves_takes_their_offers_along() {
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    write_file(ben.dir.path(), "x.bin", 1000);
    offer(&mut ben, &mut anna, "x.bin");
    ben.type_line("Q");
    ben.wait_for_end();
    anna.wait("withdrawn", |event| event["event"] == "withdrawn" && event["name"] == "x.bin");
}

#[test]
fn random_bytes_at_full_speed_on_the_port_change_nothing_of_a_transfer() {
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    let original = write_file(anna.dir.path(), "film.bin", 20_000_000);
    offer(&mut anna, &mut ben, "film.bin");
    let flood = Flood::start(&[anna.local(), ben.local()]);
    fetch(&mut ben, "film.bin", &original);
    ben.type_line("T still here");
    anna.wait_for_text("still here");
    assert!(flood.stop() > 1000, "there was a flood");
    for client in [&anna, &ben] {
        assert!(client.events_called("error").is_empty() && client.events_called("alert").is_empty());
    }
    anna.type_line("Q");
    let (status, errors) = anna.wait_for_end();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

/// A file of `ANJER_BIG_FILE_MIB` (1024 if not said) crosses whole, and neither side holds it in memory.
#[test]
fn a_gigabyte_arrives_whole_and_neither_side_holds_it_in_memory() {
    const MOST_KIB: u64 = 64 * 1024;
    let mib = std::env::var("ANJER_BIG_FILE_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1024_u64);
    let patience = Duration::from_secs(60 + mib / 4);
    let mut clients = room(&["anna", "ben"]);
    let (mut ben, mut anna) = (clients.remove(1), clients.remove(0));
    let original = anna.dir.path().join("big.bin");
    write_mostly_holes(&original, mib);
    anna.type_line("B big.bin");
    ben.wait_within(patience, "offer", |event| event["event"] == "offered" && event["hash"].is_string());
    ben.type_line("R big.bin");
    let saved = ben.wait_within(patience, "saved", |event| event["event"] == "saved");
    assert_eq!(saved["bytes"].as_u64(), Some(mib << 20));
    assert_eq!(hash_of(&ben.dir.path().join("big.bin")), hash_of(&original));
    for client in [&anna, &ben] {
        let peak = client.peak_rss_kib();
        assert!(peak < MOST_KIB, "{peak} KiB of memory for a file of {mib} MiB");
    }
}

/// A file with 4 KiB that say where they are at the start of each MiB, and holes between: large, quickly made, and no two
/// places of it that could be mistaken for each other.
fn write_mostly_holes(path: &Path, mib: u64) {
    use std::io::{Seek, SeekFrom};
    let mut file = BufWriter::new(File::create(path).expect("created"));
    for number in 0..mib {
        let mut block = [0; 4096];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut block);
        file.seek(SeekFrom::Start(number << 20)).and_then(|_| file.write_all(&block)).expect("written");
    }
    file.flush().expect("written");
    file.get_ref().set_len(mib << 20).expect("as long as that");
}

/// A thread that sends random datagrams of all sizes until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn start(targets: &[std::net::SocketAddr]) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter, targets) = (Arc::clone(&stop), Arc::clone(&sent), targets.to_vec());
        let thread = thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let mut random = blake3::Hasher::new().update(b"flood").finalize_xof();
            let mut bytes = [0; 1500];
            while !stopped.load(Ordering::Relaxed) {
                random.fill(&mut bytes);
                let size = usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % bytes.len();
                // First bytes of every kind of packet have to come often, so they count up.
                bytes[0] = counter.load(Ordering::Relaxed) as u8;
                for target in &targets {
                    if socket.send_to(&bytes[..size], target).is_ok() {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// Ends it and says how many datagrams went out.
    fn stop(mut self) -> u64 {
        self.end();
        self.sent.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}
