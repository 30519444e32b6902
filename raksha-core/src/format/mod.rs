//! The stored format: what is written where, byte by byte. The specification in prose is `docs/FORMAT.md`.
//!
//! Everything here is pure: bytes in, values out, and back. Every decoder takes bytes that nobody vouches for and answers with an
//! error instead of a panic, whatever they are.

mod chunking;
mod reader;
pub mod tree;

pub use chunking::{BLOCK, Chunking};
pub(crate) use reader::Reader;
