//! The command line.

use anjer::mrt::recovery::congestion::Algorithm;
use anjer::mrt::{ConnectTo, PublicKey};
use clap::{Args, Parser, ValueEnum};
use std::net::SocketAddr;

/// Measures MRT between two processes.
#[derive(Debug, Parser)]
#[command(name = "mrt-perf", version)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) subcommand: Subcommand,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Print the public key, then serve until ended
    Serve(ServeOptions),
    /// Send as fast as the path allows
    Send(SendOptions),
    /// Measure round trips, one message at a time
    Ping(PingOptions),
    /// Hold connections that do nothing
    Idle(IdleOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7600")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct SendOptions {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) amount: Amount,
    /// Seconds at the beginning that do not count towards the goodput
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = seconds)]
    pub(crate) skip: f64,
    /// Channels to send on at once
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) streams: u32,
    /// Congestion controller
    #[arg(long, value_enum, default_value_t = Congestion::Auto)]
    pub(crate) congestion: Congestion,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Amount {
    /// How many bytes to send
    #[arg(long, value_name = "N")]
    pub(crate) bytes: Option<u64>,
    /// How many seconds to send for
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct PingOptions {
    #[command(flatten)]
    pub(crate) server: Server,
    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) count: u32,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(12..=1_048_576))]
    pub(crate) size: u32,
    /// Measure the way there only; both ends must share a calendar clock
    #[arg(long)]
    pub(crate) one_way: bool,
    /// Send bulk data on the same connection meanwhile
    #[arg(long)]
    pub(crate) under_load: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IdleOptions {
    #[command(flatten)]
    pub(crate) server: Server,
    /// How many connections to hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) connections: u32,
    /// For how many seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: f64,
}

/// Which server, and how to report.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server
    #[arg(value_name = "IP:PORT")]
    pub(crate) address: SocketAddr,
    /// The server's public key, 64 hex digits: one round trip less
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<PublicKey>,
    /// End with one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

impl Server {
    /// What is known of it.
    pub(crate) fn known(&self) -> ConnectTo {
        self.key.map_or(ConnectTo::Unknown, ConnectTo::Known)
    }
}

/// Congestion controllers by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Congestion {
    /// Whatever is the default
    Auto,
    /// CUBIC with HyStart++
    Cubic,
    /// Paced at the measured rate with an empty queue; CUBIC's window beside those who fill it
    Ebb,
}

impl From<Congestion> for Algorithm {
    fn from(congestion: Congestion) -> Self {
        match congestion {
            Congestion::Auto => Self::default(),
            Congestion::Cubic => Self::Cubic,
            Congestion::Ebb => Self::Ebb,
        }
    }
}

/// Seconds: a day at most, which any sum of them bears.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds between 0 and 86400".into()),
    }
}

fn key(text: &str) -> Result<PublicKey, String> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(PublicKey)
        .ok_or_else(|| "64 hex digits, as `serve` prints".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn every_line_of_the_contract_is_understood() {
        let key = "ab".repeat(32);
        for line in [
            "mrt-perf serve",
            "mrt-perf serve --listen 127.0.0.1:0",
            "mrt-perf send 127.0.0.1:1 --bytes 1000 --streams 4 --congestion cubic --json",
            &format!("mrt-perf send 127.0.0.1:1 --seconds 2.5 --skip 0.5 --congestion auto --key {key}"),
            &format!("mrt-perf ping 127.0.0.1:1 --count 10 --size 100 --one-way --under-load --key {key} --json"),
            "mrt-perf idle 127.0.0.1:1 --connections 10 --seconds 3 --json",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "mrt-perf",
            "mrt-perf serve --listen 127.0.0.1",
            "mrt-perf send 127.0.0.1:1",
            "mrt-perf send 127.0.0.1:1 --bytes 1 --seconds 1",
            "mrt-perf send 127.0.0.1:99999 --bytes 1",
            "mrt-perf send 127.0.0.1:1 --seconds -1",
            "mrt-perf send 127.0.0.1:1 --seconds NaN",
            "mrt-perf send 127.0.0.1:1 --bytes 1 --key abc",
            "mrt-perf send 127.0.0.1:1 --bytes 1 --streams 0",
            "mrt-perf idle 127.0.0.1:1 --seconds 1",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
