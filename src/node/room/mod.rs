//! The room as a value over abstract links.
pub mod config;
pub mod epoch;
pub mod line;
pub mod message;
pub mod output;
pub mod rank;
pub mod view;

mod room;

pub use config::{RoomConfig, Times};
pub use epoch::{ChainHash, Epoch, Head, RoomId};
pub use message::RoomMessage;
pub use output::{DialFailure, DialNumber, DialTo, Host, Invitation, Invited, LinkDown, LinkedPeer, RoomOutput};
pub use rank::Rank;
pub use room::Room;
pub use view::View;
