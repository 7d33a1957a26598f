//! Why a pair is relayed.

use core::fmt;

/// Why a pair is relayed: text for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// UDP does not get out there.
    Blocked(Party),
    /// Both NATs choose from too many ports.
    TooManyPorts {
        /// Ours.
        ours: u32,
        /// Theirs.
        theirs: u32,
    },
    /// By what is known, packets should get through.
    NothingCame,
    /// One end has IPv4 alone, the other IPv6 alone.
    NoCommonFamily,
    /// Ports were guessed at, and none was hit.
    NotHit,
    /// Both are behind one NAT, which does not let them meet.
    SameNat,
    /// Nobody has heard the other end from the address that it says it has: nothing is sprayed there.
    NotProven,
    /// Probes or sockets of all punches together are used up for the time being.
    Budget,
    /// The other end did not answer an offer.
    Silent,
    /// It was stopped here.
    Aborted,
}

/// Which of the two, in words of the one who reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// This end.
    Us,
    /// The other end.
    Them,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked(Party::Us) => "UDP does not get out of our network",
            Self::Blocked(Party::Them) => "UDP does not get out of their network",
            Self::TooManyPorts { ours, theirs } => {
                return write!(
                    f,
                    "both NATs choose another port for each destination, ours of {ours}, theirs of {theirs}: too many to guess"
                );
            }
            Self::NothingCame => "no packet came through, though by what is known of the NATs it should",
            Self::NoCommonFamily => "one end has IPv4 alone and the other IPv6 alone: there is no direct way",
            Self::NotHit => "their NAT's port was guessed at and not hit",
            Self::SameNat => "both are behind one NAT and do not reach each other inside",
            Self::NotProven => "their public address is not proven, so that no ports are tried there",
            Self::Budget => "the budget for probes is used up for now",
            Self::Silent => "the other end did not answer the offer to punch",
            Self::Aborted => "stopped",
        })
    }
}
