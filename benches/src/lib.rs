//! What `bench`, `probe` and the benchmarks of stages share.

pub mod content;
pub mod machine;
pub mod svg;
