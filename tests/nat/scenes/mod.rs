//! Scenes of rooms across NATs, each told from its beginning to its end.
//!
//! ```text
//!  gathering   a room and its members, ready for a scene
//!  chains      two behind one NAT, NATs in a row, a NAT that clashes
//!  blocked     somebody whose UDP gets nowhere
//!  lasting     NATs that forget, move and lose their power; a silent room
//!  moving      a machine in another network; a lid that is closed and opened
//!  families    IPv6 alone against both
//!  shifting    a download whose way changes under it
//!  relays      a room that is held together by relays alone
//!  strangers   two people, two typed addresses, nobody else; a ticket where that cannot do
//!  thrift      sockets and probes that are not needed
//! ```

mod blocked;
mod chains;
mod families;
mod gathering;
mod lasting;
mod moving;
mod relays;
mod shifting;
mod strangers;
mod thrift;
