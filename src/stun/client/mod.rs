//! Questions to servers, and which answers count.
//!
//! The promise: each question ends once: with an answer that came from where it was asked, in its transaction, of its family, saying an
//! address that the server can have seen; or with a refusal; or, after as many repetitions as the questioner's patience has, with silence.
//! Everything else that comes changes nothing and is counted.
//!
//! Reading order: [`Patience`] (when to repeat a question), [`Question`] and [`Report`] (what goes in and out), [`Ignored`] (what was wrong
//! with what came), [`Client`] (the table of transactions).

mod ignored;
mod patience;
mod question;
mod rto;
mod transactions;

pub use ignored::Ignored;
pub use patience::Patience;
pub use question::{Answer, Outcome, Question, QuestionNumber, Report};
pub use rto::FIRST_RTO;
pub use transactions::{Client, MAX_QUESTIONS};
