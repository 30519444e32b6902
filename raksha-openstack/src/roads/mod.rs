//! Roads to the bytes of a disk: what can be read and written where, and at what cost.

pub(crate) mod nbd;
pub mod options;
pub(crate) mod scratch;
