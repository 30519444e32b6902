//! The outside world, injected: time, randomness and where heavy computing happens.
//!
//! Nothing in this crate asks the operating system for the time or for randomness by itself, so that a
//! simulation can own both. An embedder normally passes [`Env::system`].

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::error::{Error, Kind, Result};

/// Tells the time. Used for what people read (when a point was made) and for policy; never to decide
/// whether data is safe to delete.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// A source of randomness, fit for cryptography unless it belongs to a simulation.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `buffer`; fails only if the operating system has no randomness to give.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// Where work that keeps a processor busy (hashing, compressing, sealing) is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compute {
    /// On tokio's threads for blocking work: never on the threads that drive input and output.
    Threads,
    /// Right where it is asked for. For simulations, which want one thread and one order of things.
    Inline,
}

/// How many processors this process may work with, as it was when that was first asked: the answer takes half a dozen system calls.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS
        .get_or_init(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
}

/// The outside world as this crate sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    compute: Compute,
}

impl Env {
    /// The real world: system clock, the operating system's randomness, blocking threads.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy(ring::rand::SystemRandom::new())),
            compute: Compute::Threads,
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same with another source of randomness.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// The same with heavy work done elsewhere.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.compute = compute;
        self
    }

    /// The time now, cut to whole milliseconds, as everything that is stored has it.
    pub fn now(&self) -> crate::time::Timestamp {
        crate::time::Timestamp::from(self.clock.now())
    }

    /// `N` random bytes.
    pub fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Runs `work` off the threads that drive input and output, and waits for it.
    ///
    /// # Cancellation
    /// Dropping the future does not interrupt work that has begun; its result is discarded.
    pub async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match self.compute {
            Compute::Inline => Ok(work()),
            Compute::Threads => tokio::task::spawn_blocking(work).await.map_err(|e| {
                Error::new(Kind::Internal, "compute", "a worker thread did not finish").caused_by(e)
            }),
        }
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::system()
    }
}

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place where the system's clock is read
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[derive(Debug)]
struct SystemEntropy(ring::rand::SystemRandom);

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        use ring::rand::SecureRandom;
        self.0.fill(buffer).map_err(|_| {
            Error::new(
                Kind::Internal,
                "draw randomness",
                "the operating system gave none",
            )
        })
    }
}
