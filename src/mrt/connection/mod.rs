//! One connection: a list of parts, and a file for each verb over all of them.
//!
//! ```text
//!  birth      how it comes to be: the caller's and the callee's steps until there are keys
//!  life       its life from there on: setup, live, closing, over; what the endpoint calls
//!  ways       the same for its paths, and for relaying over it
//!    setup    who still has to say what before data may flow
//!    live     everything that exists once there are keys: a list of parts
//!      paths/    the ways to the other side, what each is like, and those that have to prove themselves
//!      acks      what arrived and is to be acknowledged
//!      stall     a stream that stops in the middle, and is asked after
//!      content   what a sent packet held, for when it is acknowledged or lost
//!    closing  the last words
//!  verbs over the parts of `live`
//!    receive  one packet arrived
//!    transmit what is sent next
//!    moving   where the other side is, and which way data goes
//!    timers   when to wake, and for what
//! ```
//!
//! A connection does not know its siblings; the endpoint gives it the datagrams that carry its id.

mod acks;
#[cfg(test)]
mod attacks;
mod birth;
mod closing;
mod content;
mod life;
mod live;
mod moving;
mod paths;
mod receive;
mod setup;
mod stall;
mod timers;
mod transmit;
mod ways;

pub(crate) use birth::{Birth, Call, Request};
pub(crate) use life::Connection;
pub(crate) use paths::BASE_DATAGRAM;
pub(crate) use transmit::Departure;
pub(crate) use ways::NoRelay;
