//! Reproducible randomness for tests.

use std::sync::{Mutex, PoisonError};

use raksha_core::Result;
use raksha_core::env::Entropy;

/// The same numbers for the same seed: splitmix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014).
#[derive(Debug)]
pub struct Random(Mutex<u64>);

impl Random {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True in `per_mille` of a thousand cases.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// `length` bytes.
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for chunk in bytes.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *to = from;
            }
        }
        bytes
    }
}

impl Entropy for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.copy_from_slice(&self.bytes(buffer.len()));
        Ok(())
    }
}
