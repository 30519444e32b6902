//! For tests of those who implement or embed targets: a conformance suite, and a target that misbehaves on demand.

pub mod conformance;
mod faulty;
#[cfg(feature = "postgres")]
mod postgres;
mod random;

pub use faulty::{Faults, Faulty};
#[cfg(feature = "postgres")]
pub use postgres::PostgresSchema;
pub use random::Random;
