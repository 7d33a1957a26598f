//! Stories of links over real endpoints, joined by a perfect wire.
//!
//! `net` is the harness; then the stories: `dials` (how a link comes up and goes down), `one_link` (several connections to one peer become
//! one), `bounds` (what others can make us hold or send).

mod bounds;
mod dials;
mod net;
mod one_link;
