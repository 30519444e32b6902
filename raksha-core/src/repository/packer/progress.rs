//! What is under way, and what went wrong.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, Kind, Result};

/// Uploads under way, numbered in the order in which they began, and the first error of all.
#[derive(Default)]
pub(super) struct Progress {
    uploads: watch::Sender<Uploads>,
    pub(super) failure: Failure,
}

#[derive(Default)]
struct Uploads {
    next: u64,
    under_way: BTreeSet<u64>,
}

/// An upload that is under way. One that is dropped before it was [delivered](Self::delivered) is a failure, however it came to that.
pub(super) struct UnderWay {
    progress: Arc<Progress>,
    number: u64,
    delivered: bool,
}

impl Progress {
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut number = 0;
        self.uploads.send_modify(|uploads| {
            number = uploads.next;
            uploads.next += 1;
            uploads.under_way.insert(number);
        });
        UnderWay {
            progress: Arc::clone(self),
            number,
            delivered: false,
        }
    }

    /// How many uploads have begun and are not over.
    pub(super) fn under_way(&self) -> usize {
        self.uploads.borrow().under_way.len()
    }

    /// Waits until every upload that has begun by now is over.
    pub(super) async fn all_over(&self) {
        let end = self.uploads.borrow().next;
        let over = |uploads: &Uploads| uploads.under_way.first().is_none_or(|first| *first >= end);
        // The sender is ours, so the channel is open.
        let _ = self.uploads.subscribe().wait_for(over).await;
    }
}

impl UnderWay {
    /// It is in the target, and noted as such.
    pub(super) fn delivered(mut self) {
        self.delivered = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.delivered {
            // Whoever knows a better reason has told it before.
            let why = "an upload was abandoned";
            let error = Error::new(Kind::Internal, "store pack", why);
            self.progress.failure.note(error);
        }
        self.progress.uploads.send_modify(|uploads| {
            uploads.under_way.remove(&self.number);
        });
    }
}

/// The first error, which ends everything: all later callers are told of it.
#[derive(Default)]
pub(super) struct Failure(Mutex<Option<Arc<Error>>>);

impl Failure {
    /// Takes note of an error and returns what to tell the caller.
    pub(super) fn note(&self, error: Error) -> Error {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told(first.get_or_insert_with(|| Arc::new(error)))
    }

    /// Fails if anything failed before.
    pub(super) fn check(&self) -> Result<()> {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().map_or(Ok(()), |error| Err(told(error)))
    }
}

fn told(first: &Arc<Error>) -> Error {
    Error::new(
        first.kind(),
        "store chunks",
        "storing failed, what was put since the last flush may be missing: start a new session",
    )
    .retryable(first.is_retryable())
    .caused_by(First(Arc::clone(first)))
}

/// The first error, as the source of what each caller is told.
#[derive(Debug)]
struct First(Arc<Error>);

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for First {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
