//! When to try again, and when to give up.

use std::time::Duration;

use raksha_core::env::Env;
use tokio::time::Instant;

use super::classify::{Verdict, classify};
use super::rate::Rate;

/// How failures that may pass are tried again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RetryOptions {
    /// No further attempt begins later than this after the first one did. Five minutes by default: a gateway's restart.
    pub give_up_after: Duration,
    /// The first pause; each further one may be twice as long. A pause is drawn at random between nothing and its length ("full
    /// jitter", Marc Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015), so that those who failed together do
    /// not come again together. 100 ms by default.
    pub first_pause: Duration,
    /// No pause is longer, unless the server asks for it. 20 s by default.
    pub longest_pause: Duration,
    /// Attempts beyond the first that all requests together may make at once ...
    pub burst: u32,
    /// ... and then each second: so a target in trouble is not run over. 50 and 5 by default.
    pub per_second: f64,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            give_up_after: Duration::from_secs(300),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(20),
            burst: 50,
            per_second: 5.0,
        }
    }
}

/// What all requests share: the options and the budget.
#[derive(Debug)]
pub(super) struct Retries {
    options: RetryOptions,
    budget: Rate,
    env: Env,
}

/// One request's attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    first: Instant,
    failed: u32,
    only_one: bool,
}

impl Retries {
    pub(super) fn new(options: RetryOptions, env: Env) -> Self {
        let budget = Rate::new(options.per_second, f64::from(options.burst));
        Self {
            options,
            budget,
            env,
        }
    }

    /// How long to wait before the attempt after one that failed with `error`; nothing if there should be none.
    pub(super) fn pause(
        &self,
        attempts: &mut Attempts,
        error: &object_store::Error,
    ) -> Option<Duration> {
        let asked = match classify(error) {
            Verdict::Transient(asked) if !attempts.only_one => asked,
            _ => return None,
        };
        let longest = self
            .options
            .first_pause
            .saturating_mul(2u32.saturating_pow(attempts.failed))
            .min(self.options.longest_pause);
        attempts.failed += 1;
        let pause = asked.unwrap_or_default() + longest.mul_f64(self.fraction());
        let left = (self.options.give_up_after).checked_sub(attempts.first.elapsed())?;
        if pause > left {
            return None;
        }
        Some(pause.max(self.budget.reserve(1))).filter(|pause| *pause <= left)
    }

    /// At random from 0 to 1. Without randomness, as late as allowed.
    fn fraction(&self) -> f64 {
        let drawn = self.env.random::<4>().map(u32::from_be_bytes);
        f64::from(drawn.unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

impl Attempts {
    pub(super) fn begin() -> Self {
        Self {
            first: Instant::now(),
            failed: 0,
            only_one: false,
        }
    }

    /// Of a request that must not be made twice.
    pub(super) fn only() -> Self {
        Self {
            only_one: true,
            ..Self::begin()
        }
    }

    /// Attempts that failed so far.
    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// Something got through: the next failure is a new one.
    pub(super) fn begin_again(&mut self) {
        *self = Self::begin();
    }
}
