//! Quantities as they are typed: `100mbit`, `20ms`, `2%`, `25p`, `64kB`.

use core::time::Duration;
use netem::{Queue, Reordering};

/// The number at the beginning and the unit behind it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok((number, unit.trim_start()))
}

/// Bits per second. The units are those of `tc`: a thousand each.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err("a rate is a number and bit, kbit, mbit or gbit (a second)".into()),
    };
    let rate = (number * factor) as u64;
    if rate == 0 { Err("a rate of nothing carries nothing".into()) } else { Ok(rate) }
}

/// A time of at most an hour.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return Err("a time is a number and us, ms or s".into()),
    };
    let seconds = number * factor;
    if seconds <= 3600.0 { Ok(Duration::from_secs_f64(seconds)) } else { Err("an hour is the most".into()) }
}

/// A probability, in per cent.
pub(crate) fn probability(text: &str) -> Result<f64, String> {
    match split(text)? {
        (percent, "%") if percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("a probability is a number from 0 to 100 and %".into()),
    }
}

/// The room of a queue.
pub(crate) fn queue(text: &str) -> Result<Queue, String> {
    let (number, unit) = split(text)?;
    match unit {
        "p" => Ok(Queue::Packets(number as usize)),
        "B" => Ok(Queue::Bytes(number as usize)),
        "kB" => Ok(Queue::Bytes((number * 1e3) as usize)),
        "MB" => Ok(Queue::Bytes((number * 1e6) as usize)),
        "us" | "ms" | "s" => time(text).map(Queue::Time),
        _ => Err("a queue is a number and p (packets), B, kB, MB, us, ms or s".into()),
    }
}

/// Packets in a row.
pub(crate) fn burst(text: &str) -> Result<f64, String> {
    match split(text)? {
        (packets, "") if (1.0..=1e6).contains(&packets) => Ok(packets),
        _ => Err("a burst is a number of packets, 1 or more".into()),
    }
}

/// How often packets are held back, and for how long.
pub(crate) fn reordering(text: &str) -> Result<Reordering, String> {
    let (often, long) = text.split_once(':').ok_or("reordering is written 1%:10ms: how often, for how long")?;
    Ok(Reordering { probability: probability(often)?, hold: time(long)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood() {
        assert_eq!(rate("1.5mbit"), Ok(1_500_000));
        assert_eq!(rate("2 gbit"), Ok(2_000_000_000));
        assert_eq!(time("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(time("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(probability("2%"), Ok(0.02));
        assert_eq!(queue("25p"), Ok(Queue::Packets(25)));
        assert_eq!(queue("64kB"), Ok(Queue::Bytes(64_000)));
        assert_eq!(queue("100ms"), Ok(Queue::Time(Duration::from_millis(100))));
        assert_eq!(burst("4"), Ok(4.0));
        let expected = Reordering { probability: 0.01, hold: Duration::from_millis(10) };
        assert_eq!(reordering("1%:10ms"), Ok(expected));
    }

    #[test]
    fn what_has_no_unit_or_makes_no_sense_is_refused() {
        for refused in ["", "fast", "10", "10mb", "0bit", "-1bit", "1.2.3bit"] {
            assert!(rate(refused).is_err(), "{refused}");
        }
        for refused in ["20", "ms", "-1ms", "1e9s", "3601s"] {
            assert!(time(refused).is_err(), "{refused}");
        }
        assert!(probability("101%").is_err() && probability("0.5").is_err());
        assert!(queue("25").is_err() && burst("0").is_err() && reordering("1%").is_err());
    }
}
