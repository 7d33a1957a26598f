//! A stage: one way of trying, with its numbers.

use core::fmt;

/// One way of trying. A stage is one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Both send to each other's candidates at the same time, and answer to where they hear from.
    Simultaneous,
    /// The same from a port that nobody has sent to yet.
    Fresh,
    /// Both NATs count: two series of probes that cross.
    Predict {
        /// The step of the initiator's NAT.
        initiator: i16,
        /// The step of the other one.
        responder: i16,
    },
    /// One end holds sockets, the other one casts over the ports that they may have.
    Spray {
        /// Who opens sockets.
        holder: End,
        /// How many.
        sockets: u16,
        /// How many ports the other one casts at.
        probes: u16,
        /// Where they are.
        aim: Aim,
    },
    /// Both guess at once.
    Product {
        /// What the initiator does.
        initiator: Share,
        /// What the other one does.
        responder: Share,
        /// Where the initiator's ports are.
        initiator_aim: Aim,
        /// Where the other one's are.
        responder_aim: Aim,
    },
}

impl Stage {
    /// Which kind it is of.
    pub const fn kind(&self) -> StageKind {
        match self {
            Self::Simultaneous => StageKind::Simultaneous,
            Self::Fresh => StageKind::Fresh,
            Self::Predict { .. } | Self::Spray { aim: Aim::After { .. }, .. } => StageKind::Predict,
            Self::Spray { .. } => StageKind::Spray,
            Self::Product { .. } => StageKind::Product,
        }
    }

    /// Probes that this end sends in it, beside those to candidates.
    pub const fn probes(&self, end: End) -> u16 {
        match *self {
            Self::Simultaneous | Self::Fresh => 0,
            Self::Predict { .. } => 64,
            Self::Spray { holder, sockets, probes, .. } => match (holder, end) {
                (End::Initiator, End::Initiator) | (End::Responder, End::Responder) => sockets.saturating_mul(2),
                _ => probes,
            },
            Self::Product { initiator, responder, .. } => match end {
                End::Initiator => initiator.probes,
                End::Responder => responder.probes,
            },
        }
    }

    /// Sockets that this end opens for it.
    pub const fn sockets(&self, end: End) -> u16 {
        match *self {
            Self::Simultaneous => 0,
            Self::Fresh | Self::Predict { .. } => 1,
            Self::Spray { holder, sockets, .. } => match (holder, end) {
                (End::Initiator, End::Initiator) | (End::Responder, End::Responder) => sockets,
                _ => 1,
            },
            Self::Product { initiator, responder, .. } => match end {
                End::Initiator => initiator.sockets,
                End::Responder => responder.sockets,
            },
        }
    }

    /// Whether this end's next port has to be known when the stage begins.
    pub const fn counts(&self, end: End) -> bool {
        matches!(
            (self, end),
            (Self::Predict { .. }, _)
                | (Self::Spray { holder: End::Initiator, aim: Aim::After { .. }, .. }, End::Initiator)
                | (Self::Spray { holder: End::Responder, aim: Aim::After { .. }, .. }, End::Responder)
                | (Self::Product { initiator_aim: Aim::After { .. }, .. }, End::Initiator)
                | (Self::Product { responder_aim: Aim::After { .. }, .. }, End::Responder)
        )
    }
}

/// One line for a log: `spray(initiator holds 256, 1741 casts)`.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |end: End| if end == End::Initiator { "initiator" } else { "responder" };
        match *self {
            Self::Simultaneous => f.write_str("simultaneous"),
            Self::Fresh => f.write_str("fresh"),
            Self::Predict { initiator, responder } => write!(f, "predict({initiator:+}, {responder:+})"),
            Self::Spray { holder, sockets, probes, aim: Aim::Pool(pool) } => {
                write!(f, "spray({} holds {sockets}, {probes} casts at {})", who(holder), pool.len())
            }
            Self::Spray { holder, sockets, probes, aim: Aim::After { step } } => {
                write!(f, "predict({} holds {sockets}, {probes} casts after, step {step:+})", who(holder))
            }
            Self::Product { initiator, responder, .. } => {
                let (a, b) = (initiator, responder);
                write!(f, "product({}×{}, {}×{})", a.sockets, a.probes, b.sockets, b.probes)
            }
        }
    }
}

/// A stage without its numbers: what experience is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    /// [`Stage::Simultaneous`]
    Simultaneous,
    /// [`Stage::Fresh`]
    Fresh,
    /// [`Stage::Predict`], or a spray at a counting NAT.
    Predict,
    /// [`Stage::Spray`]
    Spray,
    /// [`Stage::Product`]
    Product,
}

/// Which end of a punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The one that began it.
    Initiator,
    /// The other one.
    Responder,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What one end puts into a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// Sockets to send from.
    pub sockets: u16,
    /// Probes to send, each from a mapping of its own.
    pub probes: u16,
}

/// Where one end's next port is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aim {
    /// Anywhere in a pool.
    Pool(Pool),
    /// A few steps after the last one. It has to be asked for just before.
    After {
        /// The distance from one port to the next, not 0.
        step: i16,
    },
}

/// The ports from `lowest` to `highest`, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pool {
    /// The lowest.
    pub lowest: u16,
    /// The highest, not below the lowest.
    pub highest: u16,
}

impl Pool {
    /// How many there are, from 1.
    pub const fn len(self) -> u32 {
        self.highest.saturating_sub(self.lowest) as u32 + 1
    }

    /// Never: a pool has a port.
    pub const fn is_empty(self) -> bool {
        false
    }
}
