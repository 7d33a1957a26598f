//! What is known of the NAT in front of us: the terms of RFC 4787, each one measured or not yet.

use crate::time::Duration;
use core::fmt;
use serde::{Deserialize, Serialize};

/// When two packets from one inside address and port leave from the same outside port (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mapping {
    /// For every remote: "endpoint-independent".
    Independent,
    /// For the same remote address, whatever its port: "address-dependent".
    ByAddress,
    /// For the same remote address and port: "address and port-dependent".
    ByAddressAndPort,
}

/// Whose packets come in through a mapping (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Filtering {
    /// Everybody's: "endpoint-independent".
    Independent,
    /// Those of addresses that were sent to, whatever their port: "address-dependent".
    ByAddress,
    /// Those of addresses and ports that were sent to: "address and port-dependent".
    ByAddressAndPort,
}

/// Which outside port a new mapping gets (RFC 4787 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// The inside port ("port preservation").
    Kept,
    /// So many above the last one that was given, whoever got it.
    Sequential {
        /// The distance; negative if they fall.
        step: i16,
    },
    /// Any from `lowest` to `highest`, both among them: the bounds are estimates from samples, already widened by their error.
    Random {
        /// The lowest port of the pool.
        lowest: u16,
        /// The highest port of the pool.
        highest: u16,
    },
}

impl Ports {
    /// Among how many ports the next one is, as far as the policy alone tells.
    pub const fn pool(self) -> u32 {
        match self {
            Self::Kept | Self::Sequential { .. } => 1,
            Self::Random { lowest, highest } => highest.saturating_sub(lowest) as u32 + 1,
        }
    }
}

/// A NAT's behaviour as far as it was measured. `None`: not yet, or it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Whether our address is another one outside.
    pub translated: Option<bool>,
    /// No answer came from anybody: UDP does not get out.
    pub blocked: bool,
    /// When outside ports are used again.
    pub mapping: Option<Mapping>,
    /// Who may come in. Measured without translation too: a firewall filters.
    pub filtering: Option<Filtering>,
    /// Which outside port is next.
    pub ports: Option<Ports>,
    /// Whether those behind the same NAT reach each other by their outside addresses.
    pub hairpin: Option<bool>,
    /// A silent mapping lasted this long at least.
    pub lifetime: Option<Duration>,
}

/// A [`Fingerprint`] in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No NAT: our address is the one the world sees.
    None,
    /// One outside port for everybody.
    Easy,
    /// A port for each destination.
    Hard,
    /// UDP does not get out.
    Blocked,
}

impl Fingerprint {
    /// The whole in one word, once enough is known for it.
    pub const fn kind(&self) -> Option<Kind> {
        match (self.blocked, self.translated, self.mapping) {
            (true, _, _) => Some(Kind::Blocked),
            (false, Some(false), _) => Some(Kind::None),
            (false, _, Some(Mapping::Independent)) => Some(Kind::Easy),
            (false, _, Some(Mapping::ByAddress | Mapping::ByAddressAndPort)) => Some(Kind::Hard),
            (false, _, None) => None,
        }
    }
}

/// One line for a log and for `W`: `mapping=independent filtering=port ports=kept hairpin=no lifetime=20s`.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blocked {
            return f.write_str("blocked");
        }
        let scope = |level: Option<u8>| match level {
            None => "?",
            Some(0) => "independent",
            Some(1) => "address",
            Some(_) => "address+port",
        };
        let yes = |known: Option<bool>| known.map_or("?", |yes| if yes { "yes" } else { "no" });
        write!(f, "nat={} ", yes(self.translated))?;
        write!(f, "mapping={} ", scope(self.mapping.map(|mapping| mapping as u8)))?;
        write!(f, "filtering={} ", scope(self.filtering.map(|filtering| filtering as u8)))?;
        match self.ports {
            None => f.write_str("ports=? ")?,
            Some(Ports::Kept) => f.write_str("ports=kept ")?,
            Some(Ports::Sequential { step }) => write!(f, "ports=sequential({step}) ")?,
            Some(Ports::Random { lowest, highest }) => write!(f, "ports=random({lowest}-{highest}) ")?,
        }
        write!(f, "hairpin={} ", yes(self.hairpin))?;
        match self.lifetime {
            None => f.write_str("lifetime=?"),
            Some(lifetime) => write!(f, "lifetime>{}s", lifetime.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_nat_is_said_as_soon_as_it_is_sure() {
        let nothing = Fingerprint::default();
        assert_eq!(nothing.kind(), None);
        assert_eq!(Fingerprint { translated: Some(true), ..nothing }.kind(), None);
        assert_eq!(Fingerprint { translated: Some(false), ..nothing }.kind(), Some(Kind::None));
        assert_eq!(Fingerprint { mapping: Some(Mapping::Independent), ..nothing }.kind(), Some(Kind::Easy));
        assert_eq!(Fingerprint { mapping: Some(Mapping::ByAddress), ..nothing }.kind(), Some(Kind::Hard));
        assert_eq!(Fingerprint { blocked: true, ..nothing }.kind(), Some(Kind::Blocked));
    }

    #[test]
    fn what_was_not_measured_is_a_question_mark() {
        let known = Fingerprint {
            translated: Some(true),
            mapping: Some(Mapping::ByAddressAndPort),
            ports: Some(Ports::Random { lowest: 1024, highest: 1535 }),
            lifetime: Some(Duration::from_secs(20)),
            ..Fingerprint::default()
        };
        let line = "nat=yes mapping=address+port filtering=? ports=random(1024-1535) hairpin=? lifetime>20s";
        assert_eq!(known.to_string(), line);
        assert_eq!(known.ports.map(Ports::pool), Some(512));
    }
}
