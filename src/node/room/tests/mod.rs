//! Stories of several rooms, and random walks.

mod coming_in;
mod detecting;
mod hostile;
mod liars;
mod losing;
mod model;
mod oracle;
mod patches;
mod plants;
mod ranking;
mod screen;
mod size;
mod talking;
mod walk;
mod world;

pub(crate) use oracle::check;
pub(crate) use world::World;
