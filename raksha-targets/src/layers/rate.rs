//! A token bucket: so many at once, so many a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What takes less than this part of a second's tokens is small.
const SMALL: f64 = 0.05;

/// Grants tokens at a steady rate after a first burst.
///
/// Who takes more than there is goes into debt and waits until the debt is paid, in the order of coming. What is small waits only for what is small, too: otherwise an
/// entry of the log would wait for all the packs that came before it. What it takes is missing to the others, so that all together keep the rate.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Tokens for all at the time `at`; negative while in debt.
    all: f64,
    /// The same for what is small.
    small: f64,
    at: Option<Instant>,
}

impl Rate {
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        let state = Mutex::new(State {
            all: burst,
            small: burst,
            at: None,
        });
        Self {
            per_second,
            burst,
            state,
        }
    }

    /// Takes `tokens` and says how long to wait before they may be used.
    pub(super) fn reserve(&self, tokens: u64) -> Duration {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = state.at {
            let earned = now.saturating_duration_since(at).as_secs_f64() * self.per_second;
            state.all = (state.all + earned).min(self.burst);
            state.small = (state.small + earned).min(self.burst);
        }
        state.at = Some(now);
        state.all -= tokens as f64;
        let left = match self.is_small(tokens) {
            true => {
                state.small -= tokens as f64;
                state.small.max(state.all)
            }
            false => state.all,
        };
        match left < 0.0 {
            true => Duration::try_from_secs_f64(-left / self.per_second).unwrap_or(Duration::MAX),
            false => Duration::ZERO,
        }
    }

    fn is_small(&self, tokens: u64) -> bool {
        tokens as f64 <= self.per_second * SMALL
    }

    /// Takes `tokens` and waits until they may be used; says how long that was.
    ///
    /// # Cancellation
    /// A dropped wait gives its tokens back: whoever comes after it does not wait for bytes that never travel.
    pub(super) async fn take(&self, tokens: u64) -> Duration {
        let wait = self.reserve(tokens);
        if !wait.is_zero() {
            let mut taken = Taken {
                rate: self,
                tokens: Some(tokens),
            };
            tokio::time::sleep(wait).await;
            taken.tokens = None;
        }
        wait
    }

    fn give_back(&self, tokens: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.all = (state.all + tokens as f64).min(self.burst);
        if self.is_small(tokens) {
            state.small = (state.small + tokens as f64).min(self.burst);
        }
    }
}

/// Tokens that were taken and may not be used yet.
struct Taken<'a> {
    rate: &'a Rate,
    tokens: Option<u64>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(tokens) = self.tokens.take() {
            self.rate.give_back(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_the_rate_for_large_and_small() {
        let rate = Rate::new(100.0, 50.0);
        let begun = Instant::now();
        for tokens in [50, 300, 1, 49] {
            rate.take(tokens).await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!(
            (took - 3.5).abs() < 0.01,
            "350 beyond the burst at 100/s took {took}"
        );
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(
            rate.reserve(50),
            Duration::ZERO,
            "idle time fills the bucket"
        );
        assert!(!rate.reserve(10).is_zero(), "but no further than the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn the_small_do_not_wait_for_the_large_and_cost_them_what_they_take() {
        let rate = Rate::new(100.0, 10.0);
        assert_eq!(rate.reserve(1010), Duration::from_secs(10));
        for _ in 0..10 {
            assert_eq!(rate.reserve(1), Duration::ZERO);
        }
        let begun = Instant::now();
        for _ in 0..100 {
            rate.take(1).await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!(
            (took - 1.0).abs() < 0.01,
            "100 of the small at 100/s took {took}"
        );
        let wait = rate.reserve(10).as_secs_f64();
        assert!(
            (wait - 10.2).abs() < 0.01,
            "what the small took is missing: {wait}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_owes_nothing() {
        let rate = Rate::new(100.0, 100.0);
        rate.take(100).await;
        let large = tokio::time::timeout(Duration::from_secs(1), rate.take(1_000_000));
        assert!(large.await.is_err(), "it takes hours");
        let begun = Instant::now();
        rate.take(1).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
