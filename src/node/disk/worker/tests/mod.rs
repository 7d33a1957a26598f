//! Stories: a sharer's worker and a downloader's, the slices carried between them by hand.
//!
//! `bench` is the harness; `sharing` is about what is offered and served, `downloading` about what is written, and interrupted.

mod bench;
mod downloading;
mod sharing;
