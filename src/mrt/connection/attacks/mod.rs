//! A peer with valid keys and bad intentions: what it can seal, it can send.
//!
//! [`Villain`] makes an honest setup against a [`Connection`], then takes the keys over and seals whatever frames a test wants. What
//! the victim may do: go on, or close with a violation. What it may not: panic, hold more than its caps, spend more than the bytes
//! are worth, wake for ever, or send an address that is not proven more than three times what came from there.
//!
//! Reading order: `villain` (the harness), then the stories: `frames` (what breaks the protocol), `addresses` (who gets sent how much, and
//! what proves a path), `costs` (memory, work, credit and time that a peer takes).

mod addresses;
mod costs;
mod frames;
mod villain;
