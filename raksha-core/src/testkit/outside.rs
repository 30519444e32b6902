//! An outside world that a test owns: its clock and its randomness.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Seeded;
use crate::env::{Clock, Entropy};
use crate::error::Result;

/// A clock that goes as tokio's does (which a test can pause and put forward), and that can be set wrong at any time.
#[derive(Debug)]
pub struct SetClock {
    origin: Instant,
    /// Seconds since 1970 when the clock was made, as it has it.
    shows: Mutex<i64>,
}

impl SetClock {
    /// A clock that shows `seconds` since 1970 at tokio's instant `origin`.
    pub fn new(origin: Instant, seconds: i64) -> Self {
        Self {
            origin,
            shows: Mutex::new(seconds),
        }
    }

    /// Puts it forward, or back.
    pub fn shift(&self, seconds: i64) {
        let mut shows = self.shows.lock().unwrap_or_else(PoisonError::into_inner);
        *shows = shows.saturating_add(seconds);
    }
}

impl Clock for SetClock {
    fn now(&self) -> SystemTime {
        let shows = *self.shows.lock().unwrap_or_else(PoisonError::into_inner);
        let shows = Duration::from_secs(u64::try_from(shows).unwrap_or(0));
        SystemTime::UNIX_EPOCH + shows + self.origin.elapsed()
    }
}

/// Randomness that a seed repeats. Not for keys of anything that matters.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Seeded>);

impl SeededEntropy {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Seeded::new(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let mut seeded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.copy_from_slice(&seeded.bytes(buffer.len()));
        Ok(())
    }
}
