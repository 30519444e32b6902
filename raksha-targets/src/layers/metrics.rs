//! What a target is asked, how long it takes, and what comes of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// An object is written, whatever was there.
    Put,
    /// An object is written only where none is.
    Create,
    /// A part of a large object is written, or the whole completed or aborted.
    Upload,
    /// An object or one range of it is read.
    Get,
    /// Several ranges are read at once.
    GetRanges,
    /// An object is asked for without its bytes.
    Head,
    /// Objects are listed.
    List,
    /// Objects are deleted, as many as one request may.
    Delete,
    /// An object is copied or renamed.
    Copy,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::Put,
        Self::Create,
        Self::Upload,
        Self::Get,
        Self::GetRanges,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Copy,
    ];
}

/// One attempt at one request, told when it is over.
#[derive(Debug)]
#[non_exhaustive]
pub struct RequestEvent<'a> {
    /// The kind of request.
    pub operation: Operation,
    /// The attempt: 1 is the first.
    pub attempt: u32,
    /// How long it took; for reads, until the first byte.
    pub took: Duration,
    /// How long it waited for its turn before, because of limits.
    pub queued: Duration,
    /// Bytes that it sent.
    pub sent: u64,
    /// What went wrong, if anything did.
    pub error: Option<&'a object_store::Error>,
    /// After which pause it is tried again, if it is.
    pub retried_in: Option<Duration>,
}

/// Who wants to be told of every attempt. Called on the request's own task: it must be quick.
pub type Observer = Arc<dyn Fn(&RequestEvent<'_>) + Send + Sync>;

/// Live counters of a target. Cheap to clone; clones share the counters.
#[derive(Clone, Default)]
pub struct Metrics {
    counters: Arc<[Counters; Operation::ALL.len()]>,
    observer: Option<Observer>,
}

#[derive(Debug, Default)]
struct Counters {
    attempts: AtomicU64,
    failures: AtomicU64,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    queued_micros: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

/// Buckets of the histogram: the i-th counts what took less than 2^i microseconds and not less than half of that; the last one
/// (34 s and above) has no upper end.
const BUCKETS: usize = 26;

impl Metrics {
    /// Counters that also tell `observer`.
    pub fn with_observer(observer: Observer) -> Self {
        Self {
            observer: Some(observer),
            ..Self::default()
        }
    }

    /// The counts at this moment. Kinds of requests that were never made are left out.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let operations = Operation::ALL.iter().zip(self.counters.iter());
        let operations = operations
            .map(|(operation, counters)| counters.read(*operation))
            .filter(|counts| counts.attempts > 0)
            .collect();
        MetricsSnapshot { operations }
    }

    pub(super) fn record(&self, event: &RequestEvent<'_>) {
        if let Some(counters) = self.counters(event.operation) {
            let add = |counter: &AtomicU64, n| counter.fetch_add(n, Ordering::Relaxed);
            add(&counters.attempts, 1);
            add(&counters.failures, u64::from(event.error.is_some()));
            add(&counters.retries, u64::from(event.retried_in.is_some()));
            add(&counters.sent, event.sent);
            add(&counters.queued_micros, micros(event.queued));
            if let Some(bucket) = counters.latency.get(bucket(event.took)) {
                add(bucket, 1);
            }
        }
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    pub(super) fn received(&self, operation: Operation, bytes: u64) {
        if let Some(counters) = self.counters(operation) {
            counters.received.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn counters(&self, operation: Operation) -> Option<&Counters> {
        self.counters.get(operation as usize)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.snapshot()).finish()
    }
}

impl Counters {
    fn read(&self, operation: Operation) -> OperationCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OperationCounts {
            operation,
            attempts: get(&self.attempts),
            failures: get(&self.failures),
            retries: get(&self.retries),
            sent_bytes: get(&self.sent),
            received_bytes: get(&self.received),
            queued: Duration::from_micros(get(&self.queued_micros)),
            latency: self.latency.iter().map(get).collect(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn bucket(took: Duration) -> usize {
    let bits = u64::BITS - micros(took).leading_zeros();
    (bits as usize).min(BUCKETS - 1)
}

/// Counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsSnapshot {
    /// A row for each kind of request.
    pub operations: Vec<OperationCounts>,
}

/// Counts of one kind of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationCounts {
    /// The kind.
    pub operation: Operation,
    /// Attempts made.
    pub attempts: u64,
    /// Attempts that failed; what is not there, or is there already, counts as failed too.
    pub failures: u64,
    /// Failed attempts that were tried again.
    pub retries: u64,
    /// Bytes of objects sent.
    pub sent_bytes: u64,
    /// Bytes of objects received.
    pub received_bytes: u64,
    /// Time that attempts waited for their turn, summed.
    pub queued: Duration,
    /// How many attempts took how long: the i-th number counts those of less than 2^i microseconds that are not in an earlier one.
    pub latency: Vec<u64>,
}

impl OperationCounts {
    /// The time within which `share` (0 to 1) of the attempts were answered, rounded up to a power of two of microseconds.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut left = share.clamp(0.0, 1.0) * self.attempts as f64;
        for (i, count) in (0u32..).zip(&self.latency) {
            left -= *count as f64;
            if left <= 0.0 {
                return Duration::from_micros(1u64.checked_shl(i).unwrap_or(u64::MAX));
            }
        }
        Duration::MAX
    }
}

impl fmt::Display for MetricsSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:10} {:>9} {:>9} {:>9} {:>15} {:>15} {:>10} {:>10}",
            "operation", "attempts", "failures", "retries", "sent", "received", "half <", "99% <"
        )?;
        for counts in &self.operations {
            writeln!(
                f,
                "{:10} {:>9} {:>9} {:>9} {:>15} {:>15} {:>7.1} ms {:>7.1} ms",
                format!("{:?}", counts.operation).to_lowercase(),
                counts.attempts,
                counts.failures,
                counts.retries,
                counts.sent_bytes,
                counts.received_bytes,
                counts.quantile(0.5).as_secs_f64() * 1e3,
                counts.quantile(0.99).as_secs_f64() * 1e3,
            )?;
        }
        Ok(())
    }
}
