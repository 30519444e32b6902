//! Asking to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, Kind, Result};

/// How long something in the cloud that was begun may take to end after somebody asked to stop. What is dropped while its
/// answer is on the way is recorded, but can only be found again by its marker, so waiting is the better choice.
const GRACE: Duration = Duration::from_secs(60);

/// Says to a run or restore: stop. Cheap to clone; clones are the same token. Once cancelled it stays so.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Cancel {
    /// One that was not cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. The run or restore ends as soon as it left nothing behind.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks to stop.
    pub async fn cancelled(&self) {
        let mut watch = self.0.subscribe();
        // It fails only when the sender is gone, and `self` holds the sender.
        let _ = watch.wait_for(|cancelled| *cancelled).await;
    }

    /// Does `work` unless somebody asks to stop; then it is dropped where it is.
    ///
    /// # Errors
    /// [`Kind::Cancelled`], or the error of `work`.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancelled() => Err(cancelled()),
            done = work => done,
        }
    }
}

/// What a step listens to: any of several tokens stops it.
#[derive(Debug, Clone)]
pub(super) struct Stop(Vec<Cancel>);

impl Stop {
    /// Stops when `cancel` is cancelled.
    pub(super) fn on(cancel: &Cancel) -> Self {
        Self(vec![cancel.clone()])
    }

    /// The same, and when `cancel` is cancelled.
    pub(super) fn or(&self, cancel: &Cancel) -> Self {
        let mut tokens = self.0.clone();
        tokens.push(cancel.clone());
        Self(tokens)
    }

    async fn stopped(&self) {
        let tokens = self.0.iter().map(|token| Box::pin(token.cancelled()));
        futures_util::future::select_all(tokens).await;
    }

    /// Does `work` unless it is stopped; then it is dropped where it is.
    pub(super) async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(cancelled()),
            done = work => done,
        }
    }

    /// Does `work` on something in the cloud: stopped, it is given [`GRACE`] to come to its own end, or not begun at all.
    pub(super) async fn gently<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.0.iter().any(Cancel::is_cancelled) {
            return Err(cancelled());
        }
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            () = self.stopped() => {
                // However it ends, what it did is recorded and will be released.
                let _ = tokio::time::timeout(GRACE, work).await;
                Err(cancelled())
            }
            done = &mut work => done,
        }
    }
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "cancelled", "somebody asked to stop")
}
