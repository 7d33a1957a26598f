//! How downloads move on, told often enough to be followed and seldom enough not to bury the talk.
//!
//! A line at each quarter of a file, and one every few seconds in between when it is slow. Lines go above the prompt like
//! any other, so that nothing on the screen has to be drawn twice.

use crate::harmless::cut;
use crate::units;
use anjer::node::files::FileHash;
use std::collections::BTreeMap;

/// Between two lines of one slow download, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// What is smaller is fetched while one blinks: its beginning is not worth a line, in bytes.
const SMALL: u64 = 10_000_000;

/// Downloads that are followed at once; the room runs far fewer.
const MAX_FOLLOWED: usize = 256;

/// Columns of a name in a line.
const NAME_COLUMNS: usize = 40;

/// The downloads under way.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    followed: BTreeMap<FileHash, Followed>,
}

/// One download: where it was when it was first seen, and when it was last told of.
#[derive(Clone, Copy, Debug)]
struct Followed {
    since_ms: u64,
    from_bytes: u64,
    told_ms: u64,
    quarter: u128,
}

impl Progress {
    /// The line to show, if it is time for one: `bytes` of `size` are there at `t` milliseconds.
    pub(crate) fn on_progress(&mut self, t: u64, name: &str, hash: FileHash, bytes: u64, size: u64) -> Option<String> {
        let quarter = u128::from(bytes).saturating_mul(4).checked_div(u128::from(size)).unwrap_or(4);
        if self.followed.len() >= MAX_FOLLOWED && !self.followed.contains_key(&hash) {
            self.followed.pop_first();
        }
        let beginning = Followed { since_ms: t, from_bytes: bytes, told_ms: t, quarter };
        let first = !self.followed.contains_key(&hash);
        let download = self.followed.entry(hash).or_insert(beginning);
        let due = first || quarter > download.quarter || t.saturating_sub(download.told_ms) >= PATIENCE_MS;
        // That it is whole is said when it is saved, and what is small is there at once.
        let due = due && bytes < size && !(first && size < SMALL);
        if !due {
            return None;
        }
        download.told_ms = t;
        download.quarter = quarter;
        let percent = u128::from(bytes).saturating_mul(100).checked_div(u128::from(size)).unwrap_or(100);
        let mut line =
            format!("{}: {percent} %, {} of {}", cut(name, NAME_COLUMNS), units::bytes(bytes), units::bytes(size));
        let took_ms = t.saturating_sub(download.since_ms);
        let came = bytes.saturating_sub(download.from_bytes);
        if took_ms > 0 && came > 0 {
            let a_second = came as f64 * 1000.0 / took_ms as f64;
            line.push_str(&format!(", {:.1} MB/s", a_second / 1e6));
            if bytes < size {
                let left = size.saturating_sub(bytes) as f64 / a_second;
                line.push_str(&format!(", {} left", units::seconds(left.ceil() as u64)));
            }
        }
        Some(line)
    }

    /// That download is over.
    pub(crate) fn forget(&mut self, hash: FileHash) {
        self.followed.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: FileHash = FileHash([1; 32]);

    #[test]
    fn a_fast_download_is_told_at_its_quarters() {
        let mut progress = Progress::default();
        let lines: Vec<String> = (0..=100)
            .filter_map(|percent| progress.on_progress(percent * 10, "film", HASH, percent * 1_000_000, 100_000_000))
            .collect();
        assert_eq!(
            lines,
            [
                "film: 0 %, 0 B of 100.0 MB",
                "film: 25 %, 25.0 MB of 100.0 MB, 100.0 MB/s, 1 s left",
                "film: 50 %, 50.0 MB of 100.0 MB, 100.0 MB/s, 1 s left",
                "film: 75 %, 75.0 MB of 100.0 MB, 100.0 MB/s, 1 s left",
            ]
        );
    }

    #[test]
    fn a_slow_one_every_few_seconds_and_a_stalled_one_too() {
        let mut progress = Progress::default();
        assert_eq!(progress.on_progress(0, "film", HASH, 0, 1000), None, "it may be over in a moment");
        assert_eq!(progress.on_progress(4_999, "film", HASH, 10, 1000), None);
        let line = progress.on_progress(5_000, "film", HASH, 10, 1000);
        assert_eq!(line.as_deref(), Some("film: 1 %, 10 B of 1.0 kB, 0.0 MB/s, 8 min 15 s left"));
    }

    #[test]
    fn numbers_from_others_cannot_break_it() {
        let mut progress = Progress::default();
        for (bytes, size) in [(0, 0), (u64::MAX, 0), (u64::MAX, u64::MAX), (1, u64::MAX), (u64::MAX, 1)] {
            for t in [0, u64::MAX, 5] {
                let _ = progress.on_progress(t, "x\u{202e}", HASH, bytes, size);
            }
        }
        for number in 0..=255_u8 {
            for other in 0..2 {
                let mut hash = [number; 32];
                hash[0] = other;
                let _ = progress.on_progress(0, "x", FileHash(hash), 0, 1);
            }
        }
        assert!(progress.followed.len() <= MAX_FOLLOWED);
        progress.forget(HASH);
    }
}
