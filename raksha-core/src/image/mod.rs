//! One disk as a tree of chunks: in ([`ingest`]), out, compared, walked.

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

/// How many processors there are to work with.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
