//! What this process cost so far, by `/proc` (proc(5)); zeros where there is none.

use std::fs::read_to_string;

/// `/proc` counts processor time in these; 100 a second on every Linux (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// Processor time of all threads, user and system, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| ticks(&stat))
        .map_or(0.0, |ticks| ticks as f64 / TICKS_A_SECOND)
}

/// The most memory that was ever resident, in KiB.
pub(crate) fn peak_rss_kib() -> u64 {
    status("VmHWM:")
}

/// The memory that is resident, in KiB.
pub(crate) fn rss_kib() -> u64 {
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    read_to_string("/proc/self/status").ok().and_then(|status| kib(&status, field)).unwrap_or(0)
}

/// Fields 14 and 15. The name, field 2, is in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn kib(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_blanks_and_parentheses() {
        let stat = "1234 (a) b (c) S 1 1234 1234 0 -1 4194560 100 0 0 0 42 17 0 0 20 0 3 0 1 2 3";
        assert_eq!(ticks(stat), Some(59));
        assert_eq!(ticks("1234 (a"), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let status = "Name:\tx\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\n";
        assert_eq!(
            (kib(status, "VmHWM:"), kib(status, "VmRSS:"), kib(status, "VmNo:")),
            (Some(5120), Some(4096), None)
        );
    }
}
