//! Stories of several rooms, and random walks.

mod coming_in;
mod hostile;
mod losing;
mod talking;
mod walk;
mod world;

pub(crate) use world::{World, check};
