//! A port that the gateway passes to us, if it does such things: asked for, kept, and given back.
//!
//! ```text
//!   keeper     what is wanted against what there is: obtain, renew, tell, release
//!     ▼
//!   mapping    one mapping, by whichever protocol the gateway speaks: PCP, else NAT-PMP, else UPnP-IGD
//!     ▼
//!   igd        UPnP-IGD: find it, ask it     http    one small request and its answer     external    what may be believed
//! ```
//!
//! A gateway is whoever has that address on this network. Its answers are hints, bounded in size and time; nothing it says makes us
//! talk to anybody but itself.

mod external;
mod http;
mod igd;
mod keeper;
mod mapping;

pub(super) use keeper::run;
