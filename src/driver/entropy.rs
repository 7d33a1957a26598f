//! Randomness from the system: asked for once, when something starts. From then on everything follows from the seed.

use rand::TryRng;
#[expect(clippy::disallowed_types, reason = "the one place where the system is asked for randomness")]
use rand::rngs::SysRng;
use std::io;

/// 32 secret random bytes.
pub fn fresh_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}
