//! Speed, lag and clock of a target.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use raksha_core::Timestamp;
use raksha_core::env::Env;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::room::Room;

/// How long listings are watched for what was just done.
const PATIENCE: Duration = Duration::from_secs(30);

/// Objects written to measure speed are as large as packs.
const OBJECT: u64 = 16 << 20;

/// How far listings lag behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lag {
    /// The longest time until a stored object was listed, of several; nothing if one never was in half a minute.
    pub appears: Option<Duration>,
    /// The longest time until a deleted object was no longer listed; nothing if one still was after half a minute.
    pub vanishes: Option<Duration>,
}

/// How fast a target is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Speed {
    /// Objects under way at once while measuring.
    pub streams: u32,
    /// Bytes written each second, in objects of 16 MiB.
    pub write: f64,
    /// Bytes read each second.
    pub read: f64,
    /// The usual time to store an object of 100 bytes, one after the other: what a commit costs.
    pub small_put: Duration,
    /// The usual time to read one.
    pub small_get: Duration,
}

pub(super) async fn lag(room: &Room) -> Lag {
    let mut lag = Lag {
        appears: Some(Duration::ZERO),
        vanishes: Some(Duration::ZERO),
    };
    for i in 0..5 {
        let name = format!("lag/{i}");
        if room.put(&name, vec![1]).await.is_err() {
            return Lag::default();
        }
        lag.appears = longer(lag.appears, until(room, &name, true).await);
        if room.objects.delete(&room.at(&name)).await.is_err() {
            return Lag::default();
        }
        lag.vanishes = longer(lag.vanishes, until(room, &name, false).await);
    }
    lag
}

fn longer(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.zip(b).map(|(a, b)| a.max(b))
}

/// The time until `name` is listed, or is not. What the first look shows counts as no time: looking takes some itself.
async fn until(room: &Room, name: &str, listed: bool) -> Option<Duration> {
    let begun = Instant::now();
    let mut looks = 0;
    loop {
        let names = room.names("lag").await.ok()?;
        if names.iter().any(|n| n == name) == listed {
            return Some(match looks {
                0 => Duration::ZERO,
                _ => begun.elapsed(),
            });
        }
        if begun.elapsed() > PATIENCE {
            return None;
        }
        looks += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn speed(room: &Room, bytes: u64) -> Option<Speed> {
    const STREAMS: u32 = 4;
    if bytes == 0 {
        return None;
    }
    let objects = bytes.div_ceil(OBJECT);
    let size = usize::try_from(OBJECT).ok()?;
    // Made before the clock runs. Every object differs in its first bytes, so that nothing can be deduplicated on the way.
    let payload = bytes::Bytes::from(room.bytes(1, size));
    let whole = (objects * (OBJECT + 8)) as f64;
    let streams = STREAMS as usize;

    let begun = Instant::now();
    let writes = stream::iter(0..objects).map(|i| {
        let own = bytes::Bytes::copy_from_slice(&i.to_be_bytes());
        let payload = object_store::PutPayload::from_iter([own, payload.clone()]);
        let location = room.at(&format!("speed/{i}"));
        async move { room.objects.put(&location, payload).await.map(drop) }
    });
    writes
        .buffer_unordered(streams)
        .try_collect::<()>()
        .await
        .ok()?;
    let write = whole / begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let reads = stream::iter(0..objects).map(|i| async move {
        let location = room.at(&format!("speed/{i}"));
        let got = room.objects.get(&location).await?;
        let mut body = got.into_stream();
        while body.try_next().await?.is_some() {}
        Ok::<_, object_store::Error>(())
    });
    reads
        .buffer_unordered(streams)
        .try_collect::<()>()
        .await
        .ok()?;
    let read = whole / begun.elapsed().as_secs_f64();

    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for i in 0..15 {
        let name = format!("small/{i}");
        let begun = Instant::now();
        room.put(&name, room.bytes(i, 100)).await.ok()?;
        puts.push(begun.elapsed());
        let begun = Instant::now();
        room.get(&name).await.ok()?;
        gets.push(begun.elapsed());
    }
    Some(Speed {
        streams: STREAMS,
        write,
        read,
        small_put: median(puts)?,
        small_get: median(gets)?,
    })
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

/// How many milliseconds the target's clock is ahead of ours, at least; negative if it is behind. Zero if the difference is within the
/// precision with which it can be seen, which is a second and the time that a request takes.
pub(super) async fn clock(room: &Room, env: &Env) -> Option<i64> {
    let before = env.now();
    room.put("clock", vec![1]).await.ok()?;
    let after = env.now();
    let meta = room.objects.head(&room.at("clock")).await.ok()?;
    let there = Timestamp::from(std::time::SystemTime::from(meta.last_modified)).as_millis();
    let millis = |n: u64| i64::try_from(n).ok();
    let (before, after, there) = (
        millis(before.as_millis())?,
        millis(after.as_millis())?,
        millis(there)?,
    );
    // HTTP dates are cut to whole seconds.
    Some(match there {
        t if t > after => t - after,
        t if t + 1000 < before => t + 1000 - before,
        _ => 0,
    })
}
