//! Exit codes: a contract with scripts.

/// After `Q` and what is the same as `Q`.
pub(crate) const QUIT: u8 = 0;
/// Something of ours failed.
pub(crate) const FAULT: u8 = 1;
/// The arguments make no sense.
pub(crate) const BAD_ARGUMENTS: u8 = 2;
/// The address or port is not to be had.
pub(crate) const NOT_BOUND: u8 = 3;
/// The room refused `--join`.
pub(crate) const REFUSED: u8 = 4;
/// After a second SIGINT or SIGTERM: nothing was waited for.
pub(crate) const INTERRUPTED: u8 = 130;
