//! How patient the client is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Deadlines, attempts and connections of a [`Client`](super::Client). Durations are seconds in serde's form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long it may take until a connection stands.
    #[serde(with = "seconds")]
    pub connect: Duration,
    /// How long one attempt of a request that reads or is idempotent may take.
    #[serde(with = "seconds")]
    pub attempt: Duration,
    /// How long one attempt of a request that is not idempotent may take. Giving one up leaves it open whether it took effect, and
    /// some (the snapshot of a server with many volumes) take minutes.
    #[serde(with = "seconds")]
    pub effect: Duration,
    /// How long a stream of bytes may stand still.
    #[serde(with = "seconds")]
    pub stall: Duration,
    /// How many attempts there are in all.
    pub attempts: u32,
    /// The pause before the second attempt, doubled for each further one; a random part of up to a half is taken off.
    #[serde(with = "seconds")]
    pub pause: Duration,
    /// The longest pause, also if the cloud asks for a longer one by `Retry-After`: then there is no further attempt.
    #[serde(with = "seconds")]
    pub longest_pause: Duration,
    /// How many requests of one service may be under way at once; as many streams again.
    pub connections: usize,
    /// The first pause between two looks at something that is waited for; it grows to fifty times that.
    #[serde(with = "seconds")]
    pub poll: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            attempt: Duration::from_secs(90),
            effect: Duration::from_secs(300),
            stall: Duration::from_secs(120),
            attempts: 6,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            connections: 8,
            poll: Duration::from_millis(200),
        }
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(d.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(d)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}
