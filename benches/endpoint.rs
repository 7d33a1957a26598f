//! How fast two endpoints move a file through memory: everything of MRT but the system calls.
//!
//! `cargo bench --bench endpoint` prints one line a run; `perf record` on it shows where a packet's time goes.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that cannot go on ends")]

use anjer::machine::{Datagram, Ecn, Machine, SocketId};
use anjer::mrt::{Class, Config, ConnectTo, Endpoint, Event, Received, StaticKey};
use anjer::time::{Duration, Instant};
use bytes::Bytes;
use std::net::SocketAddr;

/// Bytes moved in one run.
const BYTES: u64 = 1 << 30;

fn main() {
    for datagram in [1472, 8972, 65_507] {
        let mut rates: Vec<f64> = (0..5).map(|seed| run(seed, datagram)).collect();
        rates.sort_by(f64::total_cmp);
        println!("datagrams of {datagram:>5} bytes: {:.2} Gbit/s (median of {})", rates[rates.len() / 2], rates.len());
    }
}

/// One file; returns Gbit/s of the processor's time for both ends together.
fn run(seed: u8, max_datagram: u16) -> f64 {
    let addresses: [SocketAddr; 2] = [([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 2).into()];
    let mut ends = [1, 2].map(|key| {
        let mut config = Config::new(StaticKey::from_bytes([key; 32]), b"bench");
        config.max_datagram = max_datagram;
        Endpoint::new(config, [seed; 32])
    });
    let key = ends[1].public_key();
    let mut now = Instant::ZERO;
    let connection =
        ends[0].connect(now, addresses[1], ConnectTo::Known(key), Duration::from_secs(5)).expect("an address");
    let block = Bytes::from(vec![7; 1 << 20]);
    let (mut channel, mut queued, mut received) = (None, 0, 0);
    let mut buffer = Vec::with_capacity(1 << 16);
    let began = std::time::Instant::now();
    while received < BYTES {
        now = now + Duration::from_micros(20);
        for (from, to) in [(0, 1), (1, 0)] {
            ends[from].handle_timeout(now);
            while let Some(transmit) = ends[from].poll_transmit(now, &mut buffer) {
                for contents in buffer.chunks_mut(transmit.segment_size) {
                    ends[to].handle_datagram(
                        now,
                        Datagram { socket: SocketId::MAIN, from: addresses[from], ecn: Ecn::NotCapable, contents },
                    );
                }
                buffer.clear();
            }
        }
        while let Some(event) = ends[0].poll_event() {
            if let Event::Connected { .. } = event {
                channel = Some(ends[0].open_channel(connection, Class::Bulk).expect("allowed"));
            }
        }
        if let Some(channel) = channel {
            while queued < BYTES {
                let taken = ends[0].send(connection, channel, &mut block.clone()).expect("connected");
                if taken == 0 {
                    break;
                }
                queued += taken as u64;
            }
        }
        while let Some(event) = ends[1].poll_event() {
            if let Event::Readable { connection, channel } = event {
                while let Ok(Received::Bytes(bytes)) = ends[1].receive(now, connection, channel) {
                    received += bytes.len() as u64;
                }
            }
        }
        assert!(now < Instant::from_start(Duration::from_secs(600)), "it does not get anywhere");
    }
    received as f64 * 8.0 / 1e9 / began.elapsed().as_secs_f64()
}
