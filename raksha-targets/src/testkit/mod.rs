//! For tests of those who implement or embed targets: a conformance suite, and a target that misbehaves on demand.

pub mod conformance;
mod faulty;
mod random;

pub use faulty::{Faults, Faulty};
pub use random::Random;
