//! The room as a whole: several nodes in virtual time, each with the real disk worker, over the simulated network.

#[cfg(test)]
#[expect(dead_code, reason = "shared with tests/nat, which uses all of it")]
#[path = "nat/house.rs"]
mod house;

#[cfg(test)]
#[path = "room/village.rs"]
mod village;

#[cfg(test)]
#[path = "room/chat.rs"]
mod chat;

#[cfg(test)]
#[path = "room/files.rs"]
mod files;

#[cfg(test)]
#[path = "room/door.rs"]
mod door;

#[cfg(test)]
#[path = "room/shapes.rs"]
mod shapes;

#[cfg(test)]
#[path = "room/real.rs"]
mod real;

#[cfg(test)]
#[path = "room/size.rs"]
mod size;

#[cfg(test)]
#[path = "room/quiet.rs"]
mod quiet;

#[cfg(test)]
#[path = "room/cost.rs"]
mod cost;
