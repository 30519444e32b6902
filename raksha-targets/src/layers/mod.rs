//! What every target gets around it: deadlines, attempts, limits, counts.

mod backoff;
mod body;
mod classify;
mod core;
mod delete;
mod guard;
mod metrics;
mod named;
mod rate;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

pub use backoff::RetryOptions;
pub use classify::Refusal;
pub use guard::Guarded;
pub use metrics::{Metrics, MetricsSnapshot, Observer, Operation, OperationCounts, RequestEvent};

/// The policies of a target. By default there are none: requests are only counted.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct GuardOptions {
    /// Requests under way at once.
    pub concurrency: Option<NonZeroUsize>,
    /// Requests begun each second.
    pub requests_per_second: Option<NonZeroU32>,
    /// Bytes of objects sent and received each second.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Deadlines.
    pub timeouts: Option<Timeouts>,
    /// What is tried again, and for how long.
    pub retry: Option<RetryOptions>,
    /// Who is told of every attempt.
    pub observer: Option<Observer>,
}

impl GuardOptions {
    /// What suits a target behind a network: deadlines, attempts, and 64 requests at once.
    pub fn remote() -> Self {
        Self {
            concurrency: NonZeroUsize::new(64),
            timeouts: Some(Timeouts::default()),
            retry: Some(RetryOptions::default()),
            ..Self::default()
        }
    }
}

impl fmt::Debug for GuardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            concurrency,
            requests_per_second,
            bytes_per_second,
            timeouts,
            retry,
            observer,
        } = self;
        f.debug_struct("GuardOptions")
            .field("concurrency", concurrency)
            .field("requests_per_second", requests_per_second)
            .field("bytes_per_second", bytes_per_second)
            .field("timeouts", timeouts)
            .field("retry", retry)
            .field("observer", &observer.is_some())
            .finish()
    }
}

/// Deadlines.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long one attempt may take until it is answered. 60 s by default ...
    pub attempt: Duration,
    /// ... and as long again as its bytes need at this many a second. 128 KiB/s by default: below that, a target is of no use.
    pub slowest: NonZeroU64,
    /// How long a body that is being read may keep silent. 30 s by default.
    pub stall: Duration,
}

/// What each object after the first adds to the deadline of a request about many: a Swift that deletes a thousand takes them in turn.
const FURTHER_OBJECT: Duration = Duration::from_millis(200);

impl Timeouts {
    fn attempt(&self, bytes: u64, objects: usize) -> Duration {
        let more = u32::try_from(objects.saturating_sub(1)).unwrap_or(u32::MAX);
        self.attempt + Duration::from_secs(bytes / self.slowest) + FURTHER_OBJECT * more
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        const SLOWEST: NonZeroU64 = NonZeroU64::MIN.saturating_add((128 << 10) - 1);
        Self {
            attempt: Duration::from_secs(60),
            slowest: SLOWEST,
            stall: Duration::from_secs(30),
        }
    }
}
