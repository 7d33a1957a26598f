//! Two ends punch in virtual time.

mod hostile;
mod matrix;
mod stories;
mod strangers;
mod world;
