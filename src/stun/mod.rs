//! What the world sees of our sockets, and what the NAT in front of them does.
//!
//! The promises: before anything else reads the fresh socket, one question is asked, answered within a second or not at all, and the
//! socket is left as it was found; that answer is a hint. From then on questions are asked and answered on the live sockets, whatever
//! else they carry; a wrong answer is ignored and counted by what is wrong with it; and no questioner gets much more than it sent.
//!
//! ```text
//!   vantage points ──▶ discovery ──▶ Fingerprint            others' questions ──▶ server ──▶ answers
//!                       │     ▲                                                     │
//!                       ▼     │                                                     ▼
//!                       client: transactions ◀────────── message: bytes ──────────▶
//! ```
//!
//! Reading order: [`fingerprint`] (what a NAT is), [`message`] (the bytes), [`plausible`] (which addresses a server can have seen),
//! [`client`] (questions), [`server`] (answers), [`discovery`] (what is asked, and what follows from the answers), [`startup`]; [`fuzz`].
//!
//! This layer knows neither MRT nor rooms. All but [`startup`] are values.

pub mod candidate;
pub mod client;
pub mod discovery;
pub mod fingerprint;
pub mod fuzz;
pub mod message;
mod packet;
pub mod plausible;
pub mod punch;
pub mod server;
pub mod startup;

pub use packet::Packet;

/// Whether a datagram that begins with this byte belongs to STUN (RFC 7983 §7): MRT shares the socket and keeps off 0 to 3.
pub const fn is_stun(first_byte: u8) -> bool {
    first_byte <= 3
}
