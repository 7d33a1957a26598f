//! The ancestor's verbs over a real socket, for whoever wants only the transport: open, connect, accept1, accept_all, send,
//! receive1, broadcast, close.
//!
//! The promise: each [`Connection`] is one byte stream in each direction, encrypted, in order, whole; `send` waits while the other
//! side or the network is behind, `receive1` waits for at least one byte. Bytes, not messages: what one `send` hands over may come
//! in several `receive1`, and the other way round. Whoever needs priorities, several channels or no threads uses
//! [`Endpoint`](crate::mrt::Endpoint).
//!
//! ```no_run
//! use anjer::mrt::handle::Mrt;
//! use anjer::mrt::{Config, ConnectTo, StaticKey};
//!
//! # fn secret_random_bytes() -> [u8; 32] { [0; 32] }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(StaticKey::from_bytes(secret_random_bytes()), b"example 1");
//! let mrt = Mrt::open("127.0.0.1:0".parse()?, config, secret_random_bytes())?;
//! let mut connection = mrt.connect("127.0.0.1:7000".parse()?, ConnectTo::Unknown)?;
//! connection.send(b"hello")?;
//! while let Some(bytes) = connection.receive1()? {
//!     println!("{} bytes", bytes.len());
//! }
//! connection.close();
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  Mrt, Connection    the verbs, on any thread
//!      │ Command            ▲ replies, bytes (bounded)
//!      ▼                    │
//!  Hub                the endpoint and who waits for what, on the network thread
//!    └ Line              one connection's part of that
//! ```
//!
//! Reading order: [`Mrt`], [`Connection`], `hub`, `line`.

mod connection;
mod hub;
mod line;
mod open;

pub use connection::{Connection, Ended};
pub use open::{CONNECT_TIMEOUT, CouldNotConnect, Mrt};
