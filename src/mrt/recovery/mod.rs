//! (being written)
pub mod congestion;
