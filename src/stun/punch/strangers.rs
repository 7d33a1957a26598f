//! placeholder
/// placeholder
#[derive(Debug)]
pub struct Strangers;
