//! What `bench` and `probe` share.

pub mod machine;
pub mod svg;
