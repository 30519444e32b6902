//! For tests of those who implement or embed targets: a target that misbehaves on demand.

mod faulty;
mod random;

pub use faulty::{Faults, Faulty};
pub use random::Random;
