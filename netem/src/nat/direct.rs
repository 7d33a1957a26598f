//! Whether two hosts behind NATs can talk without a relay.

use super::behaviour::{Behaviour, Filtering, Mapping, Ports};
use super::ports::PORTS;

/// Pairs of ports among which it is still worth guessing: a pool of 512 against one of 4096.
const MAX_PAIRS: u64 = 1 << 21;

/// Packets that may be spent on guessing ports, in the mean, by both ends together, before a relay is the better path: what
/// 2^21 pairs of ports cost, 2·√(2^21). To be right nineteen times in twenty takes √(ln 20) = 1.73 times that, 2,500 of each end,
/// and a router at home that forgets flows after two minutes carries those (one is known to have died of 5,000).
pub const GUESSING_LIMIT: u64 = 2896;

/// The answer of [`direct_path_possible`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possible {
    /// Both ends send to what the other one's address looks like to a server, and answer to where packets come from.
    Yes,
    /// One end or both must guess at a port that no server has seen.
    ByGuessing {
        /// How many packets that takes both ends together, in the mean, rounded.
        packets: u64,
    },
    /// Not with any number of packets up to [`GUESSING_LIMIT`].
    No,
}

/// Whether two hosts can exchange packets directly: each behind a chain of NATs (its own first, the provider's last; empty: a public
/// address), both of which know what outside address and port a server in the world saw of the other, and begin at the same moment.
///
/// **A chain is one NAT**: its mapping and its filter are the most restrictive ones in it, since every NAT in it sees the same remote;
/// its ports are those of the last one that does not keep them.
///
/// **What is known.** With independent mapping, the port that the server saw is the one that the peer will see. With any other, it is not:
/// the peer is another address. Call such a NAT *unforeseeable*, and let N be the number of ports it may choose from, once the server
/// has seen one: the pool; for sequential ports what other users take in a second, and one; for kept ports one, because a socket that has
/// sent nothing yet has the port that it has inside.
///
/// **The cases**, for NATs A and B:
///
/// | who is unforeseeable | and | then |
/// |---|---|---|
/// | nobody | | yes: each sends to what is known, which opens its own filter |
/// | A | B does not filter by port | yes: B sends anything to A's address and is open to all its ports; A sends to B; B answers |
/// | A | B filters by port | B guesses A's port: single |
/// | both | one, A, does not filter at all, and B does not filter by port | yes: B reaches the port of A that the server saw; A answers to where that came from |
/// | both | A does not filter at all, B filters by port | B guesses A's port, unless both map by port, where the guess must be right at both ends: product |
/// | both | both filter by address | one guesses the other's port, whichever is easier: single; what arrives shows the sender's, and any port of it is let in |
/// | both | A filters by address, B by port | B guesses A's port, and A's answers must come from the port that B guessed: single if A maps by address; if only B does, B guesses twice; otherwise product |
/// | both | both filter by port | one of them maps by address, so that its port towards the peer is one and the same: each tries all ports of the other: sum; both map by port: product |
///
/// *Single*: k sockets at the end with N ports against m tries of the other one meet when k·m ≈ N, cheapest with k = m: 2·√N packets.
/// *Product*: the same for pairs of ports: 2·√(N·M). *Sum*: half of each in the mean: (N + M) / 2.
///
/// Through a NAT that is [blocked](Behaviour::blocked) nothing is possible.
///
/// Left out: two hosts behind the *same* outside address, who need their inside addresses or a NAT that
/// [hairpins](Behaviour::hairpin) (ask for the chains below it); lifetimes and table limits, which can end a long guess; and
/// [the clash](Behaviour::clash), which spoils a path that is possible when one end begins too early.
pub fn direct_path_possible(a: &[Behaviour], b: &[Behaviour]) -> Possible {
    let (a, b) = (Chain::of(a), Chain::of(b));
    let by_port = |chain: &Chain| chain.mapping == Mapping::ByAddressAndPort;
    if a.is_blocked || b.is_blocked {
        return Possible::No;
    }
    match (a.is_unforeseeable(), b.is_unforeseeable()) {
        (false, false) => Possible::Yes,
        (true, false) => one_unforeseeable(&a, &b),
        (false, true) => one_unforeseeable(&b, &a),
        (true, true) => {
            // The looser filter first.
            let (loose, strict) = if a.filtering <= b.filtering { (&a, &b) } else { (&b, &a) };
            let both_by_port = by_port(loose) && by_port(strict);
            match (loose.filtering, strict.filtering) {
                (Filtering::Independent, Filtering::Independent | Filtering::ByAddress) => Possible::Yes,
                (Filtering::ByAddress, Filtering::ByAddress) => guesses(single(loose.guesses.min(strict.guesses))),
                (_, Filtering::ByAddressAndPort) if both_by_port => guesses(product(&a, &b)),
                (Filtering::Independent, _) => guesses(single(loose.guesses)),
                (Filtering::ByAddress, _) if by_port(loose) => guesses(2.0 * single(loose.guesses)),
                (Filtering::ByAddress, _) => guesses(single(loose.guesses)),
                (Filtering::ByAddressAndPort, _) => guesses((f64::from(a.guesses) + f64::from(b.guesses)) / 2.0),
            }
        }
    }
}

/// Whether two hosts are expected to find a direct path, nineteen times in twenty at least: behind such chains of NATs as in
/// [`direct_path_possible`], one side's mapping is independent, or one side does not filter by port, or there are at most 2^21 pairs of
/// ports to guess among. A NAT with sequential ports counts with all of them: that its next one can be predicted is good luck which
/// other users of it can end.
///
/// What is required is possible; the reverse does not hold.
pub fn direct_path_required(a: &[Behaviour], b: &[Behaviour]) -> bool {
    let (a, b) = (Chain::of(a), Chain::of(b));
    let is_easy = |chain: &Chain| !chain.is_unforeseeable() || chain.filtering != Filtering::ByAddressAndPort;
    let pairs = u64::from(a.ports) * u64::from(b.ports);
    !a.is_blocked && !b.is_blocked && (is_easy(&a) || is_easy(&b) || pairs <= MAX_PAIRS)
}

fn one_unforeseeable(unforeseeable: &Chain, known: &Chain) -> Possible {
    match known.filtering {
        Filtering::Independent | Filtering::ByAddress => Possible::Yes,
        Filtering::ByAddressAndPort => guesses(single(unforeseeable.guesses)),
    }
}

fn single(ports: u32) -> f64 {
    2.0 * f64::from(ports).sqrt()
}

fn product(a: &Chain, b: &Chain) -> f64 {
    2.0 * (f64::from(a.guesses) * f64::from(b.guesses)).sqrt()
}

fn guesses(packets: f64) -> Possible {
    let packets = packets.round() as u64;
    if packets <= GUESSING_LIMIT { Possible::ByGuessing { packets } } else { Possible::No }
}

/// What a chain of NATs looks like from the world.
struct Chain {
    mapping: Mapping,
    filtering: Filtering,
    /// Among how many ports a new mapping is, as far as that can be foretold.
    guesses: u32,
    /// Among how many it may be.
    ports: u32,
    is_blocked: bool,
}

impl Chain {
    fn of(nats: &[Behaviour]) -> Self {
        let mapping = nats.iter().map(|nat| nat.mapping).max().unwrap_or_default();
        let filtering = nats.iter().map(|nat| nat.filtering).max().unwrap_or_default();
        let decides = nats.iter().rev().find(|nat| nat.ports != Ports::Kept);
        let guesses = match decides.map(|nat| (nat.ports, nat.background_flows)) {
            None | Some((Ports::Kept, _)) => 1,
            Some((Ports::Sequential { .. }, others)) => 1 + others.clamp(0.0, f64::from(PORTS - 1)) as u32,
            Some((Ports::Random { pool }, _)) => u32::from(pool.clamp(1, PORTS)),
        };
        let is_sequential = decides.is_some_and(|nat| matches!(nat.ports, Ports::Sequential { .. }));
        let ports = if is_sequential { u32::from(PORTS) } else { guesses };
        Self { mapping, filtering, guesses, ports, is_blocked: nats.iter().any(|nat| nat.blocked) }
    }

    fn is_unforeseeable(&self) -> bool {
        self.mapping != Mapping::Independent
    }
}

#[cfg(test)]
mod tests {
    use super::super::behaviour::MATRIX;
    use super::*;

    const MAPPINGS: [Mapping; 3] = [Mapping::Independent, Mapping::ByAddress, Mapping::ByAddressAndPort];
    const FILTERINGS: [Filtering; 3] = [Filtering::Independent, Filtering::ByAddress, Filtering::ByAddressAndPort];

    fn all(ports: Ports) -> Vec<Behaviour> {
        let pairs = MAPPINGS.into_iter().flat_map(|mapping| FILTERINGS.map(|filtering| (mapping, filtering)));
        pairs.map(|(mapping, filtering)| Behaviour { mapping, filtering, ports, ..Behaviour::default() }).collect()
    }

    /// The whole table, mapping and filtering of each side as I, A (address) and P (address and port), pools of 1024 ports. `+` is yes;
    /// a single guess costs 2 × √1024 = 64 packets, both of them 1024, a pair 2048.
    #[test]
    fn the_table_of_all_pairs() {
        let name = |nat: &Behaviour| {
            let letter = |number| ["I", "A", "P"][number];
            let place = (MAPPINGS.iter().position(|mapping| *mapping == nat.mapping).unwrap(), nat.filtering as usize);
            format!("{}{}", letter(place.0), letter(place.1))
        };
        let nats = all(Ports::Random { pool: 1024 });
        let mut table = String::from("\n   ");
        nats.iter().for_each(|nat| table += &format!("{:>5}", name(nat)));
        for a in &nats {
            table += &format!("\n{} ", name(a));
            for b in &nats {
                let cell = match direct_path_possible(std::slice::from_ref(a), std::slice::from_ref(b)) {
                    Possible::Yes => "+".to_owned(),
                    Possible::ByGuessing { packets } => packets.to_string(),
                    Possible::No => "-".to_owned(),
                };
                table += &format!("{cell:>5}");
            }
        }
        let expected = "
      II   IA   IP   AI   AA   AP   PI   PA   PP
II     +    +    +    +    +    +    +    +    +
IA     +    +    +    +    +    +    +    +    +
IP     +    +    +   64   64   64   64   64   64
AI     +    +   64    +    +   64    +    +   64
AA     +    +   64    +   64   64    +   64   64
AP     +    +   64   64   64 1024   64  128 1024
PI     +    +   64    +    +   64    +    + 2048
PA     +    +   64    +   64  128    +   64 2048
PP     +    +   64   64   64 1024 2048 2048 2048";
        assert_eq!(table, expected, "{table}");
    }

    #[test]
    fn the_order_of_the_two_does_not_matter() {
        let pool = |pool| all(Ports::Random { pool });
        for (a, b) in pool(7).iter().flat_map(|a| pool(900).into_iter().map(move |b| (a.clone(), b))) {
            let (a, b) = ([a], [b]);
            assert_eq!(direct_path_possible(&a, &b), direct_path_possible(&b, &a), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_named_kinds() {
        fn possible(a: &[&Behaviour], b: &[&Behaviour]) -> Possible {
            let [a, b] = [a, b].map(|chain| chain.iter().map(|nat| (*nat).clone()).collect::<Vec<_>>());
            direct_path_possible(&a, &b)
        }
        let (home, symmetric) = (&Behaviour::port_restricted(), &Behaviour::symmetric());
        assert_eq!(possible(&[], &[]), Possible::Yes);
        assert_eq!(possible(&[symmetric], &[]), Possible::Yes, "whoever has a public address can be called");
        assert_eq!(possible(&[home], &[home, &Behaviour::cgnat()]), Possible::Yes);
        assert_eq!(possible(&[home], &[symmetric]), Possible::ByGuessing { packets: 508 });
        assert_eq!(possible(&[symmetric], &[symmetric]), Possible::No);
        let sequential = &Behaviour::symmetric_sequential();
        assert_eq!(possible(&[sequential], &[sequential]), Possible::ByGuessing { packets: 2 });
        let busy = &Behaviour::symmetric_sequential_busy();
        assert_eq!(possible(&[busy], &[busy]), Possible::ByGuessing { packets: 22 });
        let (small, large) = (&Behaviour::symmetric_512(), &Behaviour::symmetric_4096());
        assert_eq!(possible(&[small], &[large]), Possible::ByGuessing { packets: GUESSING_LIMIT });
        assert_eq!(possible(&[large], &[large]), Possible::No);
        assert_eq!(possible(&[&Behaviour::blocked()], &[]), Possible::No);
        // A router that keeps ports, behind a provider that does not: the chain is what the provider is.
        assert_eq!(possible(&[home, symmetric], &[home, symmetric]), Possible::No);
    }

    /// The matrix of kinds, in the order of its list. What is required must be possible, and two sequential NATs show that what
    /// is possible need not be required.
    #[test]
    fn the_table_of_what_is_required() {
        let mut table = String::from("\n");
        for (_, a) in MATRIX {
            for (_, b) in MATRIX {
                let (a, b) = (a(), b());
                let is_required = direct_path_required(&a, &b);
                assert!(!is_required || direct_path_possible(&a, &b) != Possible::No, "{a:?} {b:?}");
                assert_eq!(is_required, direct_path_required(&b, &a));
                table.push(if is_required { '+' } else { '-' });
            }
            table.push('\n');
        }
        let expected = "
+++++++++++++
+++++++++++++
+++++++++++++
+++++++++++++
+++++++++++++
+++++++++++++
++++++-------
++++++-------
++++++-------
++++++-------
++++++----++-
++++++----+--
++++++-------
";
        assert_eq!(table, expected, "{table}");
        assert!(!direct_path_required(&[Behaviour::blocked()], &[]));
        let sequential = [Behaviour::symmetric_sequential()];
        assert_ne!(direct_path_possible(&sequential, &sequential), Possible::No);
    }
}
