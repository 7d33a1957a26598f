//! Answers to others' questions.
//!
//! The promise: whoever asks is told the address that we see, at once and without being remembered; no answer is more than
//! [`MAX_GROWTH`] bytes longer than its question; and nobody makes us send more than [`Limits`] allow, in all or to one address.
//!
//! Reading order: [`Config`] (where we are asked, and from where else we can answer), `bucket` (how often), [`Server`].

mod bucket;
mod config;
mod responder;

pub use config::{Alternate, Config, Limits, Place};
pub use responder::{Declined, MAX_GROWTH, Server};
