//! One disk as a tree of chunks: brought in ([`ingest`]) and out ([`export`]), [compared](compare), [walked](walk), and
//! [read anywhere](ImageReader).
//!
//! A disk is cut into segments of fixed size, each segment into chunks and holes ([`Chunking`](crate::format::Chunking)), and their
//! names make up a tree ([`format::tree`](crate::format::tree)). Everything rests on one property:
//!
//! > **The tree is a function of the disk's bytes, the chunking and the segment size.**
//!
//! It does not depend on how the bytes were read, on what the disk says of its holes, on what an older disk had, or on what a change
//! hint left out truthfully. So an incremental backup has the root that a full one has, any two trees can be compared name by
//! name, and what an export found to be the root's is the disk.
//!
//! It follows from how cutting works. Whether a stretch of zeroes is a hole depends on that stretch alone. Where a chunk ends depends
//! only on bytes from its beginning on, no further than a bounded look-ahead. So cutting can begin at any border between two items, and
//! once it meets an old border behind the last change, it would find the old items again.
//!
//! Segments are worked on in parallel. Within one, the next window is read while the last one is cut, named and offered to
//! the store; chunks are slices of the window.
//!
//! | file | idea |
//! | --- | --- |
//! | `cut`, `aligned`, `fast_cdc`, `zeroes` | where a segment is cut |
//! | `script`, `cursor` | what of a segment must be read, and the walk through it |
//! | `segment`, `window` | one segment's worker, and its memory |
//! | `plan`, `grow`, `tree`, `items` | down an old tree, up a new one |
//! | `hint` | checking what a hint claims |
//!
//! # Memory
//!
//! What is large is taken from a [`Budget`](crate::budget::Budget), all that a worker needs at once, so that workers and disks
//! that share a budget never wait for each other in a circle. It must not be the budget that the store draws on while it
//! takes or gives chunks: give each a share of its own.

mod aligned;
mod compare;
mod cursor;
mod cut;
mod export;
mod fast_cdc;
mod grow;
mod hint;
mod ingest;
mod items;
mod meter;
mod plan;
mod ranges;
mod reader;
mod script;
mod segment;
mod tree;
mod walk;
mod window;
mod zeroes;

#[cfg(test)]
mod tests;

pub use compare::compare;
pub use export::{ExportOptions, Exported, export};
pub use hint::{SPREAD, Sampling};
pub use ingest::{IngestOptions, Ingested, ingest};
pub use meter::Meter;
pub use reader::ImageReader;
pub use walk::{Visitor, walk};
