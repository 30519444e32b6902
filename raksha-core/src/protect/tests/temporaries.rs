//! Releasing what is recorded.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::bench::{Bench, new_repository};
use crate::cloud::{
    Anchor, DiskId, OpenedDisk, Recorder, ResourceGraph, SnapshotCapabilities, SnapshotProvider,
    SnapshotRequest, SnapshotSet, Temporary,
};
use crate::error::{Error, Kind, Result};
use crate::id::RunId;

/// Tells when the release of something begins and ends.
#[derive(Debug, Default)]
struct Slow(Mutex<Vec<String>>);

impl Slow {
    fn note(&self, what: char, temporary: &Temporary) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{what}{}", temporary.marker));
    }
}

fn unused<T>() -> Result<T> {
    Err(Error::new(Kind::Unsupported, "test", "nobody asks for it"))
}

#[async_trait]
impl SnapshotProvider for Slow {
    async fn capabilities(&self, _: &ResourceGraph) -> Result<SnapshotCapabilities> {
        unused()
    }

    async fn snapshot(&self, _: SnapshotRequest<'_>, _: &dyn Recorder) -> Result<SnapshotSet> {
        unused()
    }

    async fn open(
        &self,
        _: &SnapshotSet,
        _: &DiskId,
        _: Option<&Anchor>,
        _: &dyn Recorder,
    ) -> Result<OpenedDisk> {
        unused()
    }

    async fn release(&self, temporary: &Temporary) -> Result<()> {
        self.note('+', temporary);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.note('-', temporary);
        Ok(())
    }
}

#[tokio::test]
async fn what_is_alike_is_released_at_once_and_the_older_later() {
    let bench = Bench::empty(1, new_repository().await).await;
    let slow = Arc::new(Slow::default());
    let mut raksha = bench.raksha.clone();
    raksha.cloud.snapshots = slow.clone();
    let record = raksha.record_of(RunId::from_bytes([7; 16]), None);
    for (kind, marker) in [
        ("snapshot", "a"),
        ("snapshot", "b"),
        ("volume", "c"),
        ("image", "d"),
        ("image", "e"),
    ] {
        let temporary = Temporary {
            marker: marker.into(),
            kind: kind.into(),
            id: None,
            detail: serde_json::Value::Null,
        };
        record.record(&temporary).await.unwrap();
    }
    let released = record.release(&raksha, |t| t.marker == "c").await;
    assert!(released.left.is_empty());
    let events = slow.0.lock().unwrap().join(" ");
    assert_eq!(events, "+e +d -e -d +b +a -b -a");
    let left = record.jobs.temporaries(None).await.unwrap();
    assert_eq!(left.len(), 1, "what is kept stays recorded");
}
