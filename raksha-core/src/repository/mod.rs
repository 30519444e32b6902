#![allow(dead_code, missing_docs)]
mod compress;
mod fetch;
mod frame;
mod index;
mod keys;
mod lookup;
mod pack;
mod packer;
mod record;
mod seal;
#[cfg(test)]
mod seeded;

pub use compress::Compression;
pub use keys::Secret;
pub use seal::Cipher;
