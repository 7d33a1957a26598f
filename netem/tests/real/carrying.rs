//! What links and NATs do to real packets.

use crate::harness::{can_run, count, netem, text};
use crate::roles::{Patience, ask, echo, echo_six, said};

/// 20 ms there and 20 ms back. The shortest of many is looked at: a busy machine adds to the others, and nothing may take away.
#[test]
fn a_round_trip_takes_the_delay_twice_and_less_than_a_millisecond_more() {
    if !can_run("a_round_trip_takes_the_delay_twice_and_less_than_a_millisecond_more", &[]) {
        return;
    }
    let ask = ask("192.0.2.2", 25, Patience::Waits);
    let output = netem(&["run", "--delay", "20ms", "--far", &echo(), "--", "sh", "-c", &ask]);
    let rtt = said(&text(&output.stdout), "rtt");
    assert!((40_000..41_000).contains(&rtt), "{rtt} µs");
}

/// Two hundred small datagrams fit into a socket's buffer, so that nothing is lost there either.
///
/// Whoever asks sees exactly those losses that the links have counted, so none happened elsewhere, and none was counted in vain.
#[test]
fn what_does_not_arrive_is_what_the_links_count_as_lost() {
    if !can_run("what_does_not_arrive_is_what_the_links_count_as_lost", &[]) {
        return;
    }
    let ask = ask("192.0.2.2", 200, Patience::Hurries);
    let output = netem(&["run", "--loss", "20%", "--far", &echo(), "--", "sh", "-c", &ask]);
    let errors = text(&output.stderr);
    let (up, down) = (count(&errors, "near up", "lost"), count(&errors, "near down", "lost"));
    assert!(up > 10 && down > 10, "{errors}");
    assert_eq!(count(&errors, "near up", "sent"), 200);
    assert_eq!(said(&text(&output.stdout), "answers"), 200 - up - down, "{errors}");
}

/// The kernel of the receiver drops what its checksum finds; the damage that is meant here is the other kind.
#[test]
fn damaged_packets_arrive_and_are_damaged() {
    if !can_run("damaged_packets_arrive_and_are_damaged", &[]) {
        return;
    }
    let ask = ask("192.0.2.2", 200, Patience::Hurries);
    let output = netem(&["run", "--corruption", "100%", "--far", &echo(), "--", "sh", "-c", &ask]);
    let heard = text(&output.stdout);
    assert_eq!((said(&heard, "answers"), said(&heard, "different")), (200, 200), "{}", text(&output.stderr));
}

/// Behind two NATs in a row, the outer of which gives each remote another port, answers find the way back.
#[test]
fn answers_find_their_way_back_through_two_nats() {
    if !can_run("answers_find_their_way_back_through_two_nats", &[]) {
        return;
    }
    let path = format!("{}/two-nats-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let ask = ask("192.0.2.1", 50, Patience::Hurries);
    let scenario = format!(
        "# A server, and a home behind its own NAT and its provider's.\n\
         server --serve -- {}\n\
         home --delay 1ms --nat port-restricted --nat symmetric -- {ask}\n",
        echo()
    );
    std::fs::write(&path, scenario).unwrap();
    let output = netem(&["run", "--scenario", &path]);
    std::fs::remove_file(&path).unwrap();
    let errors = text(&output.stderr);
    assert_eq!(said(&text(&output.stdout), "answers"), 50, "{errors}");
    assert!(errors.contains("netem: home NAT: out 50, in 50, mappings 1"), "{errors}");
}

/// Nothing translates IPv6: who is behind a NAT with IPv4 is in the world with IPv6, over the same links.
#[test]
fn a_host_behind_a_nat_speaks_ipv6_past_it() {
    if !can_run("a_host_behind_a_nat_speaks_ipv6_past_it", &[]) {
        return;
    }
    let path = format!("{}/six-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let ask = ask("[2001:db8::1]", 50, Patience::Hurries);
    let home = "home --six --delay 1ms --nat symmetric";
    std::fs::write(&path, format!("server --six --serve -- {}\n{home} -- {ask}\n", echo_six())).unwrap();
    let output = netem(&["run", "--scenario", &path]);
    std::fs::remove_file(&path).unwrap();
    let errors = text(&output.stderr);
    assert_eq!((said(&text(&output.stdout), "answers"), count(&errors, "home up", "sent")), (50, 50), "{errors}");
    assert!(errors.contains("netem: home NAT: out 0, in 0"), "{errors}");
}

/// The kernel's NAT carries the same question.
#[test]
fn answers_find_their_way_back_through_a_nat_of_the_kernel() {
    if !can_run("answers_find_their_way_back_through_a_nat_of_the_kernel", &["nft"]) {
        return;
    }
    let ask = ask("192.0.2.2", 50, Patience::Waits);
    let output = netem(&["kernel-nat", "symmetric", "--far", &echo(), "--", "sh", "-c", &ask]);
    assert_eq!(said(&text(&output.stdout), "answers"), 50, "{}", text(&output.stderr));
}
