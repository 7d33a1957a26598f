//! What the world sees of our socket.
//!
//! The promise: before anything else reads the fresh socket, one question is asked, answered within a second or not at all, and
//! the socket is left as it was found. The answer is a hint: whoever relies on it asks again.
//!
//! Reading order: [`fingerprint`] (what a NAT is), [`startup`].
//!
//! This layer knows neither MRT nor rooms.

pub mod candidate;
pub mod fingerprint;
pub mod punch;
pub mod startup;

/// Whether a datagram that begins with this byte belongs to STUN (RFC 7983 §7): MRT shares the socket and keeps off 0 to 3.
pub const fn is_stun(first_byte: u8) -> bool {
    first_byte <= 3
}
