//! Who offers what.
//!
//! The promise: every member sees the same offers, each signed by whoever makes it, whichever supernode passed it on; and what one
//! owner can make others hold is bounded.
//!
//! ```text
//!   owner ──offers, digest──▶ supernode ──▶ everybody else
//!
//!   member ──Greet (own digest)──▶ supernode      on every new link between the two, and on every change of supernode
//!   member ◀──digests of all owners── supernode
//!          ──Want (owners)──▶                     either side, where a digest says that something is missing
//!          ◀──offers──
//! ```
//!
//! A digest is an owner's signed hash over all its offers. It makes the catalogue heal itself: whatever was lost on the way, with a
//! supernode that died for example, is asked for again. A withdrawn offer stays as a signed gap in its slot until the slot is used
//! again, so that nobody can bring it back. A program that starts again begins with an empty shelf and a later `start`, which
//! outdates whatever its predecessor offered.
//!
//! Reading order: [`Catalogue`] (`table`), [`offer`], `shelf` (one owner's), `index` (over all shelves); then its verbs by what they are about:
//! `own` (what we offer), `listing` (what can be downloaded), `exchange` (what catalogues say to each other) with `sync` (what each peer is
//! still to be told).

pub mod offer;

mod exchange;
mod index;
mod listing;
mod own;
mod shelf;
mod sync;
mod table;

pub use exchange::CatalogueMessage;
pub use listing::Listing;
pub use offer::{Digest, Offer};
pub use table::{Catalogue, CatalogueOutput};
