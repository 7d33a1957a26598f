//! Talking.

use crate::harness::{Client, room};

/// Waits on every client until `count` lines were said, and returns the order each saw.
fn orders(clients: &mut [Client], count: usize) -> Vec<Vec<String>> {
    for client in clients.iter_mut() {
        while client.texts().len() < count {
            client.wait(&format!("line {} of {count}", client.texts().len() + 1), |event| event["event"] == "chat");
        }
    }
    clients.iter().map(Client::texts).collect()
}

#[test]
fn thirty_lines_typed_at_once_by_each_of_four_appear_on_all_in_one_order_once() {
    const LINES: usize = 30;
    let names = ["anna", "ben", "cleo", "dan"];
    let mut clients = room(&names);
    for (client, name) in clients.iter_mut().zip(names) {
        let burst: String = (0..LINES).map(|number| format!("T {name} {number}\n")).collect();
        client.type_bytes(burst.as_bytes());
    }
    let total = LINES * names.len();
    let orders = orders(&mut clients, total);
    for order in &orders {
        assert_eq!(order, &orders[0], "everyone sees the order that the first sees");
    }
    let mut once = orders[0].clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), total, "nothing twice");
    for name in names {
        let own: Vec<&String> = orders[0].iter().filter(|text| text.starts_with(name)).collect();
        let typed: Vec<String> = (0..LINES).map(|number| format!("{name} {number}")).collect();
        assert_eq!(own, typed.iter().collect::<Vec<_>>(), "what one person says stays in the order it was said");
    }
    for client in &clients {
        assert!(client.events_called("error").is_empty() && client.events_called("missed").is_empty());
    }
}

#[test]
fn a_line_carries_who_said_it_when_and_its_place() {
    let mut clients = room(&["anna", "ben"]);
    let (anna, ben) = (clients[0].id(), clients[1].id());
    clients[1].type_line("T  two  blanks, ünïcödé and \u{202e}tricks ");
    let text = " two  blanks, ünïcödé and \u{202e}tricks ";
    let heard: Vec<_> = clients.iter_mut().map(|client| client.wait_for_text(text)).collect();
    assert_eq!(heard[0]["line"], heard[1]["line"]);
    assert_eq!(heard[0]["seq"], heard[1]["seq"]);
    for line in heard {
        assert_eq!((line["id"].as_str(), line["name"].as_str()), (Some(ben.as_str()), Some("ben")));
        assert_eq!(line["supernode"].as_str(), Some(anna.as_str()));
        assert!(line["epoch"].is_u64() && line["time"].as_u64().is_some_and(|time| time > 1_600_000_000_000));
        assert_eq!(line["history"], false);
    }
}

#[test]
fn p_lists_everybody_in_order_of_succession() {
    let mut clients = room(&["anna", "ben", "cleo"]);
    clients[2].type_line("p");
    let peers = clients[2].wait_for_members(3);
    let members = peers["members"].as_array().expect("a list");
    let ranks: Vec<u64> = members.iter().map(|member| member["rank"].as_u64().expect("a rank")).collect();
    assert_eq!(ranks, [0, 1, 2]);
    assert_eq!(members[0]["role"], "supernode");
    assert_eq!(members[0]["id"].as_str(), Some(clients[0].id().as_str()));
    for member in members {
        for field in ["id", "name", "addr", "role", "rank", "path", "rtt_ms"] {
            assert!(member.get(field).is_some(), "{field} is missing: {member}");
        }
    }
}

#[test]
fn w_explains_every_rank_and_the_elections_so_far() {
    let mut clients = room(&["anna", "ben"]);
    clients[1].type_line("W");
    let why = clients[1].wait("why", |event| event["event"] == "why");
    let ranking = why["ranking"].as_array().expect("a list");
    assert_eq!(ranking.len(), 2);
    assert!(ranking.iter().all(|member| member["terms"].as_array().is_some_and(|terms| !terms.is_empty())), "{why}");
    assert!(why["history"].as_array().is_some_and(|history| !history.is_empty()), "{why}");
}

#[test]
fn a_ticket_admits_whoever_holds_it() {
    let mut clients = room(&["anna", "ben"]);
    clients[0].type_line("I");
    let ticket = clients[0].wait("ticket", |event| event["event"] == "ticket");
    let ticket = ticket["ticket"].as_str().expect("text").to_owned();
    let mut third = Client::start_with("cleo", &["--join", &ticket]);
    third.wait("connected", |event| event["event"] == "connected");
    third.wait_for_members(3);
    third.type_line("T in");
    for client in &mut clients {
        client.wait_for_text("in");
    }
}
