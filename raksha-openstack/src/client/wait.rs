//! Waiting for something that the cloud does in its own time.

use std::time::Duration;

use raksha_core::{Error, Kind, Result};
use tokio::time::Instant;

use super::{Client, retry};

impl Client {
    /// Calls `poll` until it finds what is waited for, with pauses that grow from [`poll`](super::ClientOptions::poll) to fifty times that.
    ///
    /// `what` completes the sentence *waited for*: `volume 1234 to become available`.
    ///
    /// # Errors
    /// What `poll` fails with; [`Kind::Timeout`] if `deadline` passes.
    pub async fn wait<T, F>(
        &self,
        what: &str,
        deadline: Duration,
        mut poll: impl FnMut() -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>> + Send,
    {
        let transport = &self.0.transport;
        let until = Instant::now() + deadline;
        let mut pause = transport.options().poll;
        let longest = pause.saturating_mul(50);
        loop {
            match tokio::time::timeout_at(until, poll()).await {
                Ok(found) => {
                    if let Some(found) = found? {
                        return Ok(found);
                    }
                }
                Err(_) => return Err(late(what, deadline)),
            }
            let next = Instant::now() + retry::jittered(pause, transport.env());
            if next >= until && Instant::now() >= until {
                return Err(late(what, deadline));
            }
            // The last look is at the deadline itself.
            tokio::time::sleep_until(next.min(until - until.elapsed())).await;
            pause = pause.mul_f64(1.3).min(longest);
        }
    }
}

fn late(what: &str, deadline: Duration) -> Error {
    let message = "the cloud did not finish in time: look there at what it does, and raise the deadline if it is only slow";
    Error::new(Kind::Timeout, "wait for the cloud", message)
        .with("waited for", what)
        .with("deadline", format!("{deadline:?}"))
}
