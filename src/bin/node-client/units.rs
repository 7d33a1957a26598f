//! Sizes, rates and times as people read them.

/// Bytes in decimal units: `999 B`, `1.5 kB`, `12.3 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

/// Seconds: `8 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn seconds(count: u64) -> String {
    match (count / 3600, count / 60 % 60, count % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (hours, 0, _) => format!("{hours} h"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A round-trip time in milliseconds.
pub(crate) fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_people_say_them() {
        let sizes = [0, 999, 1000, 999_949, 999_950, 12_345_678, 1 << 30, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "12.3 MB", "1.1 GB", "18446744.1 TB"]);
        assert_eq!(
            [0, 59, 185, 600, 7800, 86_400].map(seconds),
            ["0 s", "59 s", "3 min 5 s", "10 min", "2 h 10 min", "24 h"]
        );
        assert_eq!([0.04, 0.25, 9.9, 42.4].map(milliseconds), ["0.0 ms", "0.2 ms", "9.9 ms", "42 ms"]);
    }
}
