//! What the layer above sees of MRT: the types of its verbs and events.

use crate::mrt::recovery::congestion::Algorithm;
use crate::mrt::route::Route;
use crate::time::Duration;
use bytes::Bytes;
use core::fmt;
use std::net::SocketAddr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// How an endpoint behaves. Every limit is a cap on what a peer can make us hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// The endpoint's own Noise key.
    pub static_key: StaticKey,
    /// What is spoken above MRT, bound into every handshake: two endpoints with different applications cannot connect.
    pub application: Vec<u8>,
    /// A connection is lost when nothing authentic arrived for this long.
    pub idle_timeout: Duration,
    /// When to send a ping on a silent connection. `None`: never.
    pub keep_alive: Option<Duration>,
    /// How often a path that carries no data is asked whether it is still there.
    pub standby_keep_alive: Duration,
    /// Bytes a second that are relayed for others, over all flows.
    pub relay_rate: u64,
    /// The congestion controller for connections.
    pub congestion: Algorithm,
    /// The largest UDP payload to try, in bytes. The search starts at 1200.
    pub max_datagram: u16,
    /// Bytes that a peer may have in flight to us over all channels of a connection, at most.
    pub max_connection_window: u64,
    /// Bytes that a peer may have in flight to us on one channel, at most.
    pub max_channel_window: u64,
    /// Bytes that are kept unacknowledged for one channel before `send` takes no more.
    pub max_send_buffer: usize,
    /// Channels of one class that a peer may have open at once.
    pub max_channels: u32,
    /// Connections that have not proven themselves yet, before new ones have to return a cookie.
    pub max_half_open: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Packets after which a sender changes keys, at most 2^22.
    pub key_update_after: u64,
}

impl Config {
    /// The defaults, for an endpoint with this key.
    pub fn new(static_key: StaticKey, application: &[u8]) -> Self {
        Self {
            static_key,
            application: application.to_vec(),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(10)),
            standby_keep_alive: Duration::from_secs(5),
            relay_rate: 12_500_000,
            congestion: Algorithm::default(),
            max_datagram: 1472,
            max_connection_window: 24 << 20,
            max_channel_window: 16 << 20,
            max_send_buffer: 4 << 20,
            max_channels: 1024,
            max_half_open: 64,
            max_connections: 16_384,
            key_update_after: 1 << 22,
        }
    }
}

/// An X25519 public key: who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

/// An X25519 private key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StaticKey([u8; 32]);

impl StaticKey {
    /// A key from 32 secret random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key, for the handshake.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that others know us by.
    pub fn public(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey(…)")
    }
}

/// A secret that two sides share besides their keys (Noise psk2), for example from an invitation.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret(pub [u8; 32]);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// Names a [`SharedSecret`] without giving it away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretId(pub [u8; 16]);

/// What the caller knows of the other end; it chooses the Noise pattern.
#[derive(Clone, Debug)]
pub enum ConnectTo {
    /// Nothing: pattern XX, two round trips, the key is learned.
    Unknown,
    /// Its key: pattern IK, one round trip.
    Known(PublicKey),
    /// Its key and a shared secret: pattern IKpsk2, one round trip, and both know of the secret.
    Invited {
        /// The other end's key.
        key: PublicKey,
        /// Which secret.
        id: SecretId,
        /// The secret.
        secret: SharedSecret,
    },
}

/// Names a connection of this endpoint, for as long as the endpoint lives. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionHandle(pub(crate) u64);

/// How urgent a channel is. Lower classes wait until higher ones have nothing to send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// Views, heartbeats, hand-over.
    Control = 0,
    /// Lines of chat.
    Chat = 1,
    /// Questions and their short answers.
    Request = 2,
    /// Files.
    Bulk = 3,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Chat, Self::Request, Self::Bulk];
}

/// A channel of a connection: bit 0 says who opened it (0: whoever connected), bits 1–2 its class, the rest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelId(pub(crate) u64);

impl ChannelId {
    /// The `index`-th channel of `class` that this side opened.
    pub const fn new(opened_by_initiator: bool, class: Class, index: u64) -> Self {
        Self(index << 3 | (class as u64) << 1 | (!opened_by_initiator) as u64)
    }

    /// Whether the side that made the connection opened it.
    pub const fn opened_by_initiator(self) -> bool {
        self.0 & 1 == 0
    }

    /// Its priority class, which both sides use.
    pub const fn class(self) -> Class {
        match self.0 >> 1 & 3 {
            0 => Class::Control,
            1 => Class::Chat,
            2 => Class::Request,
            _ => Class::Bulk,
        }
    }

    /// How many of its class its opener had opened before.
    pub const fn index(self) -> u64 {
        self.0 >> 3
    }
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The other end is authenticated and its route proven. Channels may be opened.
    Connected {
        /// Which connection.
        connection: ConnectionHandle,
        /// The way there.
        route: Route,
        /// Its key.
        key: PublicKey,
        /// Whether we connected to it (else it connected to us).
        initiator: bool,
        /// The shared secret that both proved to know.
        secret: Option<SecretId>,
        /// The Noise handshake hash: unique to this connection, the same at both ends.
        binding: [u8; 32],
    },
    /// There is something to `receive`: bytes, the end, or the other side's reset. The first one of a channel that the other
    /// side opened announces it. Comes again only after `receive` returned [`Received::Nothing`].
    Readable {
        /// Which connection.
        connection: ConnectionHandle,
        /// Which channel.
        channel: ChannelId,
    },
    /// `send` took less than it was given, and would take more now.
    Writable {
        /// Which connection.
        connection: ConnectionHandle,
        /// Which channel.
        channel: ChannelId,
    },
    /// Data goes another way from here on: another path was chosen, or the other end's address changed and was proven.
    Moved {
        /// Which connection.
        connection: ConnectionHandle,
        /// The way it goes.
        route: Route,
    },
    /// One more way to the other end is proven: authenticated datagrams of full size went both ways there. Data goes there after
    /// [`Moved`](Self::Moved).
    PathUp {
        /// Which connection.
        connection: ConnectionHandle,
        /// The way.
        route: Route,
        /// How long the proof took there and back.
        rtt: Duration,
    },
    /// What [`add_path`](crate::mrt::Endpoint::add_path) began came to nothing: no answer came that way, or there are better ways
    /// than it, as many as a connection keeps.
    PathFailed {
        /// Which connection.
        connection: ConnectionHandle,
        /// The way.
        route: Route,
    },
    /// A path that carried no data, or does so no longer, answers no more. The connection goes on over others. For a minute the path
    /// is still tried; if it answers, [`PathUp`](Self::PathUp) comes again.
    PathDown {
        /// Which connection.
        connection: ConnectionHandle,
        /// The way.
        route: Route,
    },
    /// The system reports that nobody listens at the other side's address. Anyone could have sent that: a hint, no more.
    Unreachable {
        /// Which connection.
        connection: ConnectionHandle,
    },
    /// The connection is over, or was never made. Its handle means nothing any more.
    Lost {
        /// Which connection.
        connection: ConnectionHandle,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This side closed it.
    #[error("closed")]
    Local,
    /// The other side closed it, with its application's code and words (untrusted text).
    #[error("closed by the other side ({code}): {reason}")]
    Remote {
        /// The other application's code.
        code: u32,
        /// Its words, at most 256 bytes, not made safe for a screen.
        reason: String,
    },
    /// Nothing authentic came for the idle timeout.
    #[error("nothing heard from the other side")]
    TimedOut,
    /// Nobody answered, or what answered could not prove its key.
    #[error("no answer")]
    NoAnswer,
    /// The system reported that nobody listens there, and nobody answered either.
    #[error("nobody listens there")]
    Refused,
    /// The other side broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(&'static str),
}

/// Why a connection cannot be started. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint holds as many connections as it may.
    #[error("too many connections")]
    TooMany,
    /// Port 0, or an address that no single host can have.
    #[error("not an address of a host")]
    BadAddress,
    /// The other end's key is our own.
    #[error("that is ourselves")]
    Ourselves,
    /// There is no such connection that could relay.
    #[error("no such relay")]
    NoSuchRelay,
    /// The connection that is to relay is relayed itself.
    #[error("the relay is relayed itself")]
    RelayedTwice,
}

/// Why bytes were not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such connection, or it is not established, or it is closing.
    #[error("not connected")]
    NotConnected,
    /// No such channel, or this side finished or reset it.
    #[error("the channel is closed")]
    ChannelClosed,
    /// The other side asked us to stop, with this code.
    #[error("the other side does not want more ({0})")]
    Stopped(u32),
    /// The other side allows no more channels of this class.
    #[error("too many channels")]
    TooManyChannels,
}

/// What a channel had for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The next bytes, never empty.
    Bytes(Bytes),
    /// The other side finished; everything it sent was received. The channel's receiving half is gone.
    Finished,
    /// Nothing yet.
    Nothing,
}

/// Why a channel has no more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// No such connection.
    #[error("not connected")]
    NotConnected,
    /// No such channel, or all was received.
    #[error("the channel is closed")]
    ChannelClosed,
    /// The other side gave up sending, with this code.
    #[error("the other side gave up ({0})")]
    Reset(u32),
}

/// Numbers of one connection, counted since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStats {
    /// The way that data goes.
    pub route: Route,
    /// Whether datagrams of full size (1200 bytes) went there both ways: the setup shows that for one of them only.
    pub full_size: bool,
    /// Smoothed round-trip time; the initial guess until a sample was taken.
    pub rtt: Duration,
    /// Smallest round-trip time seen; `None` until a sample was taken.
    pub min_rtt: Option<Duration>,
    /// How long ago the last authentic packet came.
    pub silent_for: Duration,
    /// From the first packet to authenticated.
    pub handshake: Option<Duration>,
    /// Datagrams sent.
    pub sent_packets: u64,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// Datagrams that were declared lost.
    pub lost_packets: u64,
    /// Bytes of channel data that the other side acknowledged.
    pub delivered_bytes: u64,
    /// Congestion window, in bytes.
    pub congestion_window: u64,
    /// Bytes sent, neither acknowledged nor declared lost.
    pub in_flight: u64,
    /// UDP payload size in use, in bytes.
    pub mtu: u16,
}

impl ConnectionStats {
    /// The other end's current address, if nobody is in between.
    pub const fn remote(&self) -> Option<SocketAddr> {
        self.route.remote()
    }
}
