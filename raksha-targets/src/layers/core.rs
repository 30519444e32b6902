//! The road that every request takes: wait for a turn, try under a deadline, count, and perhaps try again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use object_store::{Error, Result};
use raksha_core::env::Env;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::backoff::{Attempts, Retries};
use super::classify::timed_out;
use super::metrics::{Metrics, Operation, RequestEvent};
use super::named;
use super::rate::Rate;
use super::{GuardOptions, Timeouts};

/// What one request is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// Bytes that it sends.
    pub(super) sends: u64,
    /// Bytes that it receives before it is answered.
    pub(super) receives: u64,
    /// Objects that it is about.
    pub(super) objects: usize,
}

impl Call {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            sends: 0,
            receives: 0,
            objects: 1,
        }
    }

    pub(super) fn sending(self, sends: u64) -> Self {
        Self { sends, ..self }
    }

    pub(super) fn receiving(self, receives: u64) -> Self {
        Self { receives, ..self }
    }

    pub(super) fn about(self, objects: usize) -> Self {
        Self { objects, ..self }
    }
}

/// The right to have a request under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _held: Option<OwnedSemaphorePermit>,
}

/// The policies of a target, shared by all of its requests.
#[derive(Debug)]
pub(super) struct Core {
    /// What the target is, for errors.
    name: Arc<str>,
    turns: Option<Arc<Semaphore>>,
    requests: Option<Rate>,
    bytes: Option<Rate>,
    timeouts: Option<Timeouts>,
    retries: Option<Retries>,
    metrics: Metrics,
}

/// A failed attempt and what to do about it.
pub(super) struct Failed {
    pub(super) error: Error,
    /// The pause before the next attempt; nothing if the error is final.
    pub(super) pause: Option<Duration>,
}

impl Core {
    pub(super) fn new(name: &str, options: GuardOptions, env: Env) -> Self {
        let GuardOptions {
            concurrency,
            requests_per_second,
            bytes_per_second,
            timeouts,
            retry,
            observer,
        } = options;
        Self {
            name: name.into(),
            turns: concurrency.map(|n| Arc::new(Semaphore::new(n.get()))),
            // A second's worth may come at once.
            requests: requests_per_second.map(|n| Rate::new(n.get().into(), n.get().into())),
            bytes: bytes_per_second.map(|n| Rate::new(n.get() as f64, n.get() as f64)),
            timeouts,
            retries: retry.map(|retry| Retries::new(retry, env)),
            metrics: observer.map_or_else(Metrics::default, Metrics::with_observer),
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How long a body may keep silent.
    pub(super) fn stall(&self) -> Option<Duration> {
        self.timeouts.as_ref().map(|t| t.stall)
    }

    /// Makes attempts until one succeeds or the error is final.
    pub(super) async fn run<T, F>(&self, call: Call, mut request: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempts = Attempts::begin();
        loop {
            match self.attempt(call, &mut attempts, request()).await {
                Ok((answer, _turn)) => return Ok(answer),
                Err(Failed { error, pause }) => match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }

    /// Makes one attempt; the turn is still the caller's when it succeeded.
    pub(super) async fn attempt<T>(
        &self,
        call: Call,
        attempts: &mut Attempts,
        request: impl Future<Output = Result<T>>,
    ) -> Result<(T, Turn), Failed> {
        let queued = Instant::now();
        let turn = self.turn().await;
        if let Some(requests) = &self.requests {
            requests.take(1).await;
        }
        self.pace(call.sends).await;
        let begun = Instant::now();
        let answer = self.under_deadline(call, request).await;
        let took = begun.elapsed();
        let attempt = attempts.failed() + 1;
        let pause = answer.as_ref().err().and_then(|error| {
            let retries = self.retries.as_ref()?;
            retries.pause(attempts, error)
        });
        self.metrics.record(&RequestEvent {
            operation: call.operation,
            attempt,
            took,
            queued: begun.saturating_duration_since(queued),
            sent: call.sends,
            error: answer.as_ref().err(),
            retried_in: pause,
        });
        match answer {
            Ok(answer) => Ok((answer, turn)),
            Err(error) => Err(Failed {
                error: self.named(error),
                pause,
            }),
        }
    }

    /// The same error, which says that it comes from this target.
    pub(super) fn named(&self, error: Error) -> Error {
        named::of(&self.name, error)
    }

    /// The pause after an error that came when the request was answered already; nothing if it is final.
    pub(super) fn pause(&self, attempts: &mut Attempts, error: &Error) -> Option<Duration> {
        self.retries.as_ref()?.pause(attempts, error)
    }

    /// Waits until `bytes` may travel.
    pub(super) async fn pace(&self, bytes: u64) {
        if let Some(rate) = &self.bytes {
            rate.take(bytes).await;
        }
    }

    async fn turn(&self) -> Turn {
        let held = match &self.turns {
            // The semaphore is never closed, so the error cannot happen.
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
            None => None,
        };
        Turn { _held: held }
    }

    async fn under_deadline<T>(
        &self,
        call: Call,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(timeouts) = &self.timeouts else {
            return request.await;
        };
        let deadline = timeouts.attempt(call.sends + call.receives, call.objects);
        match tokio::time::timeout(deadline, request).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out(deadline, "no answer")),
        }
    }
}
