//! When a request is sent again, and how long that waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use raksha_core::env::Env;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::ClientOptions;

/// What an attempt that failed did, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// None: the request did not reach the service, or the service turned it away.
    None,
    /// Nobody knows.
    Unknown,
    /// The service answered, and will answer the same again.
    Final,
}

/// What an answer with this status means for sending the request again.
pub(super) fn effect_of(status: StatusCode, quota: bool) -> Effect {
    match status {
        // A quota that is used up does not come back by waiting.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE if !quota => Effect::None,
        StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Effect::Unknown,
        _ => Effect::Final,
    }
}

/// What the cloud asks to wait; dates are not understood, since the services send seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// How many repetitions the whole client has left: a cloud that fails everywhere is not flooded on top. Each repetition takes
/// a whole one, each success gives back a fifth.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Budget {
    const WHOLE: u32 = 5;
    const MOST: u32 = 100 * Self::WHOLE;

    pub(super) fn new() -> Self {
        Self(AtomicU32::new(Self::MOST))
    }

    pub(super) fn take(&self) -> bool {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(Self::WHOLE)
            });
        taken.is_ok()
    }

    pub(super) fn give(&self) {
        // The closure always answers, so that this cannot fail.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(Self::MOST.min(left.saturating_add(1)))
            });
    }
}

/// The pause before attempt `next` (the second is 2), or none if there is to be no further one.
pub(super) fn pause(
    options: &ClientOptions,
    env: &Env,
    next: u32,
    asked: Option<Duration>,
) -> Option<Duration> {
    if next > options.attempts {
        return None;
    }
    match asked {
        Some(asked) => (asked <= options.longest_pause)
            .then(|| asked.saturating_add(options.pause.mul_f64(fraction(env)))),
        None => {
            let doubled = options.pause.saturating_mul(
                1_u32
                    .checked_shl(next.saturating_sub(2))
                    .unwrap_or(u32::MAX),
            );
            Some(jittered(doubled.min(options.longest_pause), env))
        }
    }
}

/// `pause` less a random part of up to a half, so that those who failed together do not come back together.
pub(super) fn jittered(pause: Duration, env: &Env) -> Duration {
    pause.mul_f64(1.0 - fraction(env) / 2.0)
}

/// From 0 to below 1. Without randomness there is no jitter, which is no reason to fail.
fn fraction(env: &Env) -> f64 {
    match env.random::<4>() {
        Ok(bytes) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.0,
    }
}
