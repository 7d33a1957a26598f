//! (being written)
/// Many connections on one socket.
#[derive(Debug)]
pub struct Endpoint;
