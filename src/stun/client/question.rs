//! What a client is asked to ask, and what it reports.

use super::patience::Patience;
use crate::machine::SocketId;
use crate::stun::message::Change;
use crate::time::Duration;
use std::net::SocketAddr;

/// Names a question of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionNumber(pub u64);

/// "Which address do you see?", from where, of whom, and where the answer may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The socket that asks.
    pub socket: SocketId,
    /// Whom.
    pub server: SocketAddr,
    /// From where the answer is wanted.
    pub change: Change,
    /// Where an answer may come from besides `server`: the address that `change` stands for.
    pub also_from: Option<SocketAddr>,
    /// Another socket of ours to which the answer shall go, and its outside port (RFC 5780 §7.5).
    pub respond_to: Option<(SocketId, u16)>,
    /// How long to ask.
    pub patience: Patience,
}

impl Question {
    /// A plain question, answered from where it went to where it came from.
    pub const fn new(socket: SocketId, server: SocketAddr, patience: Patience) -> Self {
        Self { socket, server, change: Change::NONE, also_from: None, respond_to: None, patience }
    }
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub number: QuestionNumber,
    /// As it was asked.
    pub question: Question,
    /// How.
    pub outcome: Outcome,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered(Answer),
    /// It was answered with this error: 420 if the server cannot do what was wanted of it.
    Refused(u16),
    /// Nobody answered.
    Silent,
}

/// What a server says, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whom we asked.
    pub server: SocketAddr,
    /// Where the answer came from.
    pub from: SocketAddr,
    /// To which of our sockets it came.
    pub on: SocketId,
    /// The address that the server saw.
    pub mapped: SocketAddr,
    /// The time it took. `None`: the question was repeated, and nobody knows which one was answered.
    pub rtt: Option<Duration>,
    /// The address that the answer was sent from, says the server.
    pub origin: Option<SocketAddr>,
    /// The server's other address and port, if it is plausible.
    pub other: Option<SocketAddr>,
}
