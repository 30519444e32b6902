//! Trouble on demand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pattern::Pattern;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It is answered with this status and not done. With `retry_after`, the answer says how many seconds to wait.
    Status {
        /// For example 503.
        status: u16,
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// It is done this much later.
    Delay(Duration),
    /// It is not done, and the connection is reset.
    Reset,
    /// It is done, and the connection is reset instead of an answer.
    LostAnswer,
    /// It is not answered as long as somebody waits, who is to die meanwhile; `done` says whether it is done before that.
    Hangs {
        /// Whether it is done.
        done: bool,
    },
    /// The connection ends after so many bytes of the answer's body, whose length was announced.
    Truncated(u64),
    /// One byte in the middle of the answer's body is another one.
    FlippedByte,
    /// Glance and Swift: the checksum that the answer states, or that an upload results in, is not that of the bytes.
    WrongChecksum,
    /// What it makes or changes ends in the state `error` (Nova: `ERROR`; Glance: `killed`).
    EndsInError,
    /// What it makes or changes stays for ever in the state that it begins in.
    NeverFinishes,
}

#[derive(Debug)]
struct Fault {
    pattern: Pattern,
    trouble: Trouble,
    /// How many requests to let pass first.
    after: u32,
    /// How many more times; none means always.
    left: Option<u32>,
    hits: u32,
}

/// The trouble that a cloud makes. Cheap to clone: all clones are one list.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// The next `times` requests that match run into `trouble`. Several faults may meet in one request.
    ///
    /// # Errors
    /// [`Kind::Invalid`](raksha_core::Kind::Invalid) if `pattern` is none: see [`Pattern`].
    pub fn times(&self, pattern: &str, times: u32, trouble: Trouble) -> raksha_core::Result<()> {
        self.add(pattern, 0, Some(times), trouble)
    }

    /// The next request that matches runs into `trouble`.
    ///
    /// # Errors
    /// As [`times`](Self::times).
    pub fn once(&self, pattern: &str, trouble: Trouble) -> raksha_core::Result<()> {
        self.times(pattern, 1, trouble)
    }

    /// All requests that match run into `trouble`, until [`clear`](Self::clear).
    ///
    /// # Errors
    /// As [`times`](Self::times).
    pub fn always(&self, pattern: &str, trouble: Trouble) -> raksha_core::Result<()> {
        self.add(pattern, 0, None, trouble)
    }

    /// Of the requests that match, `after` pass, then one runs into `trouble`: for trouble at every single call in turn.
    ///
    /// # Errors
    /// As [`times`](Self::times).
    pub fn once_after(
        &self,
        pattern: &str,
        after: u32,
        trouble: Trouble,
    ) -> raksha_core::Result<()> {
        self.add(pattern, after, Some(1), trouble)
    }

    /// How many requests have run into trouble so far, of those that [`clear`](Self::clear) has not made forget.
    pub fn hits(&self) -> u32 {
        self.list().iter().map(|fault| fault.hits).sum()
    }

    /// No more trouble.
    pub fn clear(&self) {
        self.list().clear();
    }

    fn add(
        &self,
        pattern: &str,
        after: u32,
        left: Option<u32>,
        trouble: Trouble,
    ) -> raksha_core::Result<()> {
        let pattern = pattern.parse()?;
        self.list().push(Fault {
            pattern,
            trouble,
            after,
            left,
            hits: 0,
        });
        Ok(())
    }

    /// The trouble that this request is in for.
    pub(super) fn take(&self, method: &str, path: &str, action: Option<&str>) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for fault in self.list().iter_mut() {
            if fault.left == Some(0) || !fault.pattern.matches(method, path, action) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.left = fault.left.map(|left| left - 1);
            fault.hits += 1;
            troubles.push(fault.trouble.clone());
        }
        troubles
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
