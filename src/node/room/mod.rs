//! The room: who is in it, who leads, what was said, in one order for everyone, whoever dies.
//!
//! [`Room`] is one node's part in it, a value over abstract links: it knows node ids and messages, no MRT, no sockets, no addresses but
//! those in records. Links are authenticated, reliable and ordered; they come up and go down. After any call, drain
//! [`poll_output`](Room::poll_output), then wait for [`poll_timeout`](Room::poll_timeout).
//!
//! ```text
//!             a line of chat                              the supernode dies
//!  author ── Say ──▶ supernode                      member ── Ask ──▶ witnesses, ◀── Verdict
//!                      │ place, sign                first in line ── Claim ──▶ survivors, ◀── Report
//!     members ◀─ Lines ┤                                          ── Fetch ──▶ whoever holds more, ◀── Lines
//!        └── Held ────▶│ the first successor has it               ── View ───▶ everyone, ◀── Held, Say again
//!     members ◀─ Beat ─┘ show it
//! ```
//!
//! Reading order: [`epoch`], [`line`](mod@line), [`view`], [`rank`], [`message`] (the words); `log`, `voices` (the order);
//! `author`, `sequencer`, `delivery`, `rescue` (a line's way); `comparing` (whether it went the same way everywhere); `door`, `admission`,
//! `joining` (coming in); `publishing`, `patch`, `telling`, `moving`, `meeting`, `muster` (changing views); `warm`, `steady`, `crashes` (who could
//! lead next); `handover`, `detector`, `takeover`, `former` (losing a supernode, and finding each other again); `parts` (the list of them).
//!
//! What is promised: every member shows the same lines in the same order, once; an author's lines in the order they were said; nothing
//! that was shown is lost as long as one of those who held it survives. Two halves of a split room go on apart; when they meet, the smaller
//! joins the larger under a higher epoch than either knew, and brings what it said meanwhile. Epochs never fall.
//!
//! The larger half is the one that more members follow, in their own signed words (`muster`). A supernode that tells two stories is noticed by
//! members that compare what they hold (`comparing`), an author by whoever holds one of the two: each is told to everyone, and deposes nobody.

pub mod config;
pub mod epoch;
pub mod line;
pub mod message;
pub mod output;
pub mod patch;
pub mod rank;
pub mod view;

mod admission;
mod author;
mod bucket;
mod comparing;
mod crashes;
mod delivery;
mod detector;
mod dice;
mod door;
mod former;
mod handover;
mod joining;
mod links;
mod log;
mod meeting;
mod moving;
mod muster;
mod parts;
mod plant;
mod publishing;
mod rescue;
mod sequencer;
mod steady;
mod takeover;
mod telling;
mod voices;
mod warm;

#[cfg(test)]
mod tests;

pub use config::{RoomConfig, Times};
pub use epoch::{ChainHash, Epoch, Head, RoomId};
pub use message::RoomMessage;
pub use output::{DialFailure, DialNumber, DialTo, Host, Invitation, Invited, LinkDown, LinkedPeer, RoomOutput};
pub use parts::Room;
pub use rank::Rank;
pub use view::View;
pub use warm::Way;
