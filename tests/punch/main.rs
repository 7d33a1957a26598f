//! Two ends punch in virtual time.

mod matrix;
mod world;
