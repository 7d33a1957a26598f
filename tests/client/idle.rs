//! What a member costs that has nothing to do.

use crate::harness::{Client, room};
use std::time::Duration;

/// What the first milestone allows an idle member.
const MOST_CORE: f64 = 0.01;
const MOST_KIB: u64 = 16 * 1024;

/// How long it is idle here.
const IDLE: Duration = Duration::from_secs(6);

/// Processor time so far, user's and kernel's, by the kernel's own account: what else the machine does is not in it.
fn cpu_time(pid: u32) -> Duration {
    // proc_pid_stat(5): utime and stime are the 14th and 15th field, in ticks; the second is in parentheses and may hold blanks.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
    ticks.sum::<u32>() * TICK
}

/// Memory that it holds, in KiB.
fn rss_kib(client: &Client) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel counts");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn a_member_of_an_idle_room_costs_under_a_hundredth_of_a_core_and_16_mib() {
    let mut clients = room(&["anna", "ben", "cleo"]);
    clients[0].type_line("T that was all");
    for client in &mut clients {
        client.wait_for_text("that was all");
    }
    let before: Vec<Duration> = clients.iter().map(|client| cpu_time(client.pid())).collect();
    for client in &mut clients {
        // Nothing is awaited: this is the time that passes. Whatever is said in it would be work.
        client.quiet_for(IDLE / 3);
    }
    for (client, before) in clients.iter().zip(before) {
        let used = cpu_time(client.pid()).saturating_sub(before);
        let share = used.as_secs_f64() / IDLE.as_secs_f64();
        let memory = rss_kib(client);
        println!("{:.2} % of a core, {memory} KiB", 100.0 * share);
        // Three ticks of 10 ms in six seconds are half of what is allowed; a loop that does not sleep takes hundreds.
        assert!(share < MOST_CORE, "{used:?} of processor time in {IDLE:?}");
        assert!(memory < MOST_KIB, "{memory} KiB of memory");
    }
}
