//! What the program sees of the room: commands in, events out.
//!
//! [`Event`] serialises to the JSON lines of `node-client --json`; the field names are a contract with scripts.

use crate::node::files::FileHash;
use crate::node::identity::NodeId;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a person or script asks for. One variant a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `C <ip> <port>`: join the room of the node there.
    ConnectTo(SocketAddr),
    /// `C <ticket>`: join the room that the ticket is for.
    ConnectWith(String),
    /// `A <ip> <port>`: open our NAT towards that address and admit the first key that comes from it.
    AdmitAddress(SocketAddr),
    /// `A <id>`: admit whoever asked under that id (or an unambiguous beginning of it).
    AdmitId(String),
    /// `T <message>`: say it to everyone.
    Talk(String),
    /// `B <file>`: offer it to everyone.
    Offer(PathBuf),
    /// `U <name or hash>`: withdraw my offer.
    Withdraw(String),
    /// `G`: list what is on offer.
    Files,
    /// `R <name or hash> [as <path>]`: download it.
    Retrieve {
        /// Name, or 64 hex digits, or an unambiguous beginning of them (8 at least).
        what: String,
        /// Where to, if not under its own name in the shared folder. May replace an existing file.
        save_as: Option<PathBuf>,
    },
    /// `P`: members.
    Peers,
    /// `I`: print a ticket that admits one more person.
    Invite,
    /// `W`: who leads, how each member ranks, what the last elections decided.
    Why,
    /// `Q`: leave, handing over first.
    Quit,
}

impl Command {
    /// The letter it is typed with.
    pub const fn letter(&self) -> char {
        match self {
            Self::ConnectTo(_) | Self::ConnectWith(_) => 'C',
            Self::AdmitAddress(_) | Self::AdmitId(_) => 'A',
            Self::Talk(_) => 'T',
            Self::Offer(_) => 'B',
            Self::Withdraw(_) => 'U',
            Self::Files => 'G',
            Self::Retrieve { .. } => 'R',
            Self::Peers => 'P',
            Self::Invite => 'I',
            Self::Why => 'W',
            Self::Quit => 'Q',
        }
    }
}

/// What happened. Texts that come from others are raw: whoever prints them makes them harmless first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The node listens. Always the first.
    Ready {
        /// Who we are.
        id: NodeId,
        /// What others see.
        name: String,
        /// Where we listen.
        local: SocketAddr,
        /// What the world sees of that, if known.
        public: Option<SocketAddr>,
        /// What kind of NAT we are behind, if known.
        nat: Option<NatKind>,
    },
    /// We are in a room that someone else leads.
    Connected {
        /// Who leads.
        supernode: NodeId,
        /// The epoch's counter.
        epoch: u64,
        /// How we reach it.
        path: Path,
    },
    /// Somebody leads who did not before.
    Supernode {
        /// Who.
        id: NodeId,
        /// The epoch's counter.
        epoch: u64,
        /// Whether it is us.
        me: bool,
        /// Why.
        reason: Succession,
    },
    /// The members, in order of succession: after every change, and as the answer to `P`.
    Peers {
        /// The epoch's counter.
        epoch: u64,
        /// Who leads.
        supernode: NodeId,
        /// Everybody, us too.
        members: Vec<Member>,
    },
    /// The path to a member changed.
    Path {
        /// Which member.
        id: NodeId,
        /// How we reach it.
        path: Path,
        /// Round-trip time in milliseconds.
        rtt_ms: Option<f64>,
        /// Packets spent to get there.
        probes: u64,
        /// Why the path is no better than it is, in words for a person; `None`: nothing is to be wished for.
        why: Option<String>,
    },
    /// A line of chat.
    Chat {
        /// Who said it.
        id: NodeId,
        /// The name they had.
        name: String,
        /// The counter of the epoch that ordered it.
        epoch: u64,
        /// Who ordered it.
        supernode: NodeId,
        /// Its place in the order.
        seq: u64,
        /// Unique for ever.
        line: String,
        /// Unix milliseconds, by the author's clock.
        time: u64,
        /// Said before we came.
        history: bool,
        /// What was said.
        text: String,
    },
    /// Lines that could not be recovered.
    Missed {
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
        /// How many.
        count: u64,
    },
    /// What we know of our own endpoint changed.
    Address {
        /// What the world sees.
        public: Option<SocketAddr>,
        /// What kind of NAT we are behind.
        nat: Option<NatKind>,
    },
    /// The answer to `W`.
    Why {
        /// Members in order of succession, with every term of their rank.
        ranking: Vec<RankExplained>,
        /// The last elections, newest last.
        history: Vec<Election>,
        /// What is known of our NAT, term by term (RFC 4787).
        nat: String,
        /// How each member that we are linked to is reached.
        paths: Vec<PathExplained>,
    },
    /// Something that should not happen.
    Alert {
        /// A short word for scripts.
        code: &'static str,
        /// What happened.
        message: String,
    },
    /// Something is on offer.
    Offered(Offered),
    /// Something is no longer on offer.
    Withdrawn(Offered),
    /// The answer to `G`.
    Files {
        /// What is on offer, by name.
        files: Vec<FileListing>,
    },
    /// A download moved on.
    Progress {
        /// Its name.
        name: String,
        /// What is downloaded.
        hash: FileHash,
        /// Verified bytes on this disk.
        bytes: u64,
        /// Bytes in all.
        size: u64,
        /// How many holders send.
        sources: usize,
    },
    /// A download is complete.
    Saved {
        /// Its name.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Its hash.
        hash: FileHash,
        /// How long it took, in seconds.
        seconds: f64,
    },
    /// Someone asks to be let in.
    Asked {
        /// Where from.
        addr: SocketAddr,
        /// Who.
        id: NodeId,
        /// The name they give.
        name: String,
    },
    /// Our question to be let in was shown to the people there. The answer may take minutes.
    Waiting {
        /// Whose door we stand at.
        id: NodeId,
        /// The name they give.
        name: String,
        /// Where.
        addr: SocketAddr,
    },
    /// The answer to an `A` that admits somebody who is yet to come.
    Admitting {
        /// The first who comes from there, if an address was given.
        addr: Option<SocketAddr>,
        /// Whoever has this id, if an id was given.
        id: Option<NodeId>,
        /// For so long.
        seconds: u64,
    },
    /// The answer to `I`.
    Ticket {
        /// To be handed to one person.
        ticket: String,
        /// It is good for so long.
        seconds: u64,
    },
    /// A command was not done.
    Error {
        /// The command's letter, if one caused it.
        command: Option<char>,
        /// What kind of mistake, for scripts.
        code: ErrorCode,
        /// What was wrong and what to do instead.
        message: String,
    },
    /// The end. Always the last.
    Bye,
}

/// How a member is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Packets go straight there.
    Direct,
    /// Another member passes them on.
    Relayed,
}

/// What kind of NAT we are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NatKind {
    /// None: our address is the one the world sees.
    None,
    /// The same public port for everybody (RFC 4787: endpoint-independent mapping).
    Easy,
    /// A port for each destination.
    Hard,
    /// UDP does not get out.
    Blocked,
}

/// Why somebody leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Succession {
    /// Opened the room.
    First,
    /// We joined the room it leads.
    Joined,
    /// The one before handed over.
    Quit,
    /// The one before was lost.
    Lost,
    /// Two halves of a room met.
    Merged,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Leads.
    Supernode,
    /// Does not.
    Member,
}

/// One line of `P`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// Who.
    pub id: NodeId,
    /// The name they give themselves.
    pub name: String,
    /// Where we reach them, or where they say they are.
    pub addr: Option<SocketAddr>,
    /// Leads or not.
    pub role: Role,
    /// Place in the line of succession: 0 leads, 1 is next.
    pub rank: usize,
    /// How we reach them; `None` for ourselves and for those we have no connection to.
    pub path: Option<Path>,
    /// Round-trip time in milliseconds, likewise.
    pub rtt_ms: Option<f64>,
}

/// One member's rank, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankExplained {
    /// Who.
    pub id: NodeId,
    /// Place in the line of succession.
    pub rank: usize,
    /// Every term that was compared, in order of weight, as `name=value`.
    pub terms: Vec<String>,
}

/// How one member is reached, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathExplained {
    /// Who.
    pub id: NodeId,
    /// How we reach it.
    pub path: Path,
    /// Who passes packets on, if somebody does.
    pub via: Option<NodeId>,
    /// Ways that stand by.
    pub standby: usize,
    /// Packets spent on finding a direct path.
    pub probes: u64,
    /// What is known of its NAT, as it says itself.
    pub nat: String,
    /// Why the path is no better.
    pub why: Option<String>,
}

/// One change of supernode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Election {
    /// The counter of the epoch it began.
    pub epoch: u64,
    /// Who led from then on.
    pub supernode: NodeId,
    /// Why.
    pub reason: Succession,
    /// Milliseconds since start.
    pub at_ms: u64,
}

/// Something offered or withdrawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, once known.
    pub hash: Option<FileHash>,
    /// Who offers it.
    pub id: NodeId,
    /// What it is.
    pub kind: OfferKind,
}

/// What kind of thing is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferKind {
    /// One file.
    File,
}

/// One line of `G`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileListing {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub hash: FileHash,
    /// Who holds it.
    pub holders: Vec<NodeId>,
}

/// What kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the contract, and say it")]
pub enum ErrorCode {
    Usage,
    Unavailable,
    Unreachable,
    Refused,
    Timeout,
    NotFound,
    Ambiguous,
    Exists,
    Unreadable,
    Unwritable,
    DiskFull,
    UnsafeName,
    TooLarge,
    Corrupt,
    NotInRoom,
    NotAllowed,
    Network,
}
