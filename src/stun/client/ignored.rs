//! What came and changed nothing, by what was wrong with it.

use core::fmt;

/// Datagrams that a client ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ignored {
    /// Longer than a STUN message may be here.
    pub too_long: u64,
    /// Not of the form of a message: header, length, attributes, FINGERPRINT.
    pub malformed: u64,
    /// Neither a success nor an error, or of another method than Binding.
    pub kind: u64,
    /// No such transaction.
    pub id: u64,
    /// From another address than the one that was asked.
    pub source: u64,
    /// On another socket than the one that asked.
    pub socket: u64,
    /// Has an attribute that has to be understood, and is not.
    pub unknown: u64,
    /// Says nothing, or in a form that is none.
    pub empty: u64,
    /// Says two addresses that differ.
    pub contradiction: u64,
    /// Says an address of another family than the one that asked.
    pub family: u64,
    /// Says an address that the server cannot have seen.
    pub implausible: u64,
}

/// What was wrong: names one of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    TooLong,
    Malformed,
    Kind,
    Id,
    Source,
    Socket,
    Unknown,
    Empty,
    Contradiction,
    Family,
    Implausible,
}

impl Ignored {
    pub(super) const fn note(&mut self, reason: Reason) {
        let counter = match reason {
            Reason::TooLong => &mut self.too_long,
            Reason::Malformed => &mut self.malformed,
            Reason::Kind => &mut self.kind,
            Reason::Id => &mut self.id,
            Reason::Source => &mut self.source,
            Reason::Socket => &mut self.socket,
            Reason::Unknown => &mut self.unknown,
            Reason::Empty => &mut self.empty,
            Reason::Contradiction => &mut self.contradiction,
            Reason::Family => &mut self.family,
            Reason::Implausible => &mut self.implausible,
        };
        *counter = counter.saturating_add(1);
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).fold(0, |sum, count| sum.saturating_add(*count))
    }

    const fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("too_long", self.too_long),
            ("malformed", self.malformed),
            ("kind", self.kind),
            ("id", self.id),
            ("source", self.source),
            ("socket", self.socket),
            ("unknown", self.unknown),
            ("empty", self.empty),
            ("contradiction", self.contradiction),
            ("family", self.family),
            ("implausible", self.implausible),
        ]
    }
}

/// `id=3 source=1`; `nothing` if there was nothing.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str("nothing");
        }
        let said = self.named().into_iter().filter(|(_, count)| *count > 0);
        said.enumerate()
            .try_for_each(|(at, (name, count))| write!(f, "{}{name}={count}", if at == 0 { "" } else { " " }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_said() {
        assert_eq!(Ignored::default().to_string(), "nothing");
        let ignored = Ignored { id: 3, implausible: 1, ..Ignored::default() };
        assert_eq!((ignored.to_string().as_str(), ignored.total()), ("id=3 implausible=1", 4));
    }
}
