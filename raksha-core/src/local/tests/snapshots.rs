//! What is particular about snapshots in a local cloud.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use super::bench::{Bench, volume};
use crate::cloud::{
    Consistency, DiskId, ResourceGraph, SnapshotProvider, SnapshotRequest, SnapshotSet, Temporary,
};
use crate::error::{Kind, Result};
use crate::local::directory::Hold;
use crate::testkit::cloud::{Notebook, SnapshotBench};

async fn one_volume(size: u64) -> (Bench, DiskId) {
    let graph = ResourceGraph {
        volumes: vec![volume("v", size)],
        ..ResourceGraph::default()
    };
    (Bench::with(graph).await, DiskId::Volume("v".into()))
}

async fn take(
    bench: &Bench,
    disk: &DiskId,
    marker: &str,
    keep_anchor: bool,
) -> Result<SnapshotSet> {
    let graph = bench.cloud.graph().await?;
    let request = SnapshotRequest {
        graph: &graph,
        disks: std::slice::from_ref(disk),
        consistency: Consistency::Application,
        marker,
        keep_anchor,
    };
    bench.cloud.snapshot(request, &Notebook::new()).await
}

#[tokio::test]
async fn a_terabyte_with_little_in_it_costs_little() {
    let (bench, disk) = one_volume(1 << 40).await;
    let near_the_end = (1 << 40) - 4096;
    bench
        .cloud
        .write_disk(&disk, near_the_end, "old".into())
        .await
        .unwrap();
    let old = take(&bench, &disk, "old", true).await.unwrap();
    bench
        .cloud
        .write_disk(&disk, near_the_end, "new".into())
        .await
        .unwrap();
    let new = take(&bench, &disk, "new", true).await.unwrap();
    assert_eq!(new.ledger.reached(), Consistency::CrashAcrossDisks);

    let file = File::open(bench.cloud.path().join("snapshots/new-0/0")).unwrap();
    assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    let anchor = old.disks[0].anchor.as_ref();
    let opened = bench
        .cloud
        .open(&new, &disk, anchor, &Notebook::new())
        .await
        .unwrap();
    assert_eq!(opened.hint.unwrap().changed, vec![near_the_end..1 << 40]);
    let extents = opened.reader.extents(0..1 << 40).await.unwrap();
    assert_eq!(extents.len(), 2, "{extents:?}");
}

#[tokio::test]
async fn a_disk_that_grew_or_shrank_since_the_anchor() {
    for (before, after) in [(100_000, 300_000), (300_000, 100_000)] {
        let (bench, disk) = one_volume(before).await;
        bench
            .cloud
            .write_disk(&disk, 99_000, vec![7; 1000].into())
            .await
            .unwrap();
        let old = take(&bench, &disk, "old", true).await.unwrap();
        let file = bench.cloud.path().join("disks/volume+v.raw");
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(after)
            .unwrap();
        bench
            .cloud
            .change(move |d, _| {
                d.graph.volumes[0].size = after;
                Ok(())
            })
            .await
            .unwrap();
        let new = take(&bench, &disk, "new", true).await.unwrap();
        let anchor = old.disks[0].anchor.as_ref();
        let opened = bench
            .cloud
            .open(&new, &disk, anchor, &Notebook::new())
            .await
            .unwrap();
        let changed = opened.hint.unwrap().changed;
        if after > before {
            let first = before - before % 4096;
            assert_eq!(changed, vec![first..after]);
        } else {
            assert_eq!(changed, vec![]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_ignores_the_lock_is_seen() {
    let (bench, disk) = one_volume(64 << 20).await;
    let file = bench.cloud.path().join("disks/volume+v.raw");
    let file = File::options().write(true).open(file).unwrap();
    file.write_all_at(&vec![1; 64 << 20], 0).unwrap();
    let running = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let go_on = std::sync::Arc::clone(&running);
    let rogue = std::thread::spawn(move || {
        while go_on.load(std::sync::atomic::Ordering::Relaxed) {
            file.write_all_at(&[2; 512], 0).unwrap();
        }
    });
    let outcome = take(&bench, &disk, "run", false).await;
    running.store(false, std::sync::atomic::Ordering::Relaxed);
    rogue.join().unwrap();
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn snapshots_wait_for_writers_and_writers_for_each_other_do_not() {
    let (bench, disk) = one_volume(8192).await;
    let held = bench
        .cloud
        .directory
        .try_lock(Hold::Shared)
        .unwrap()
        .unwrap();
    bench.cloud.write_disk(&disk, 0, "a".into()).await.unwrap();
    let waiting = take(&bench, &disk, "run", false);
    let waited = tokio::time::timeout(Duration::from_millis(200), waiting).await;
    assert!(
        waited.is_err(),
        "a snapshot was taken while a writer held the lock"
    );
    drop(held);
    take(&bench, &disk, "run", false).await.unwrap();
}

#[tokio::test]
async fn only_snapshots_are_released() {
    let (bench, disk) = one_volume(8192).await;
    take(&bench, &disk, "run", false).await.unwrap();
    std::fs::create_dir(bench.cloud.path().join("precious")).unwrap();
    let release = async |marker: &str, kind: &str| {
        let temporary = Temporary {
            marker: marker.to_owned(),
            kind: kind.to_owned(),
            id: None,
            detail: serde_json::Value::Null,
        };
        bench.cloud.release(&temporary).await
    };
    for marker in ["../precious", "..", ".", "", "/etc", "a/b"] {
        release(marker, "disk snapshot").await.unwrap();
    }
    assert!(bench.cloud.path().join("precious").exists());
    assert!(release("run-0", "volume").await.is_err());
    assert_eq!(bench.temporaries().await.unwrap(), 1);
    std::os::unix::fs::symlink(
        bench.cloud.path().join("precious"),
        bench.cloud.path().join("snapshots/link"),
    )
    .unwrap();
    assert!(release("link", "disk snapshot").await.is_err());
    assert!(bench.cloud.path().join("precious").exists());
    release("run-0", "disk snapshot").await.unwrap();
    assert!(!bench.cloud.path().join("snapshots/run-0").exists());
}

#[tokio::test]
async fn any_marker_will_do_but_no_disk_twice() {
    let (bench, disk) = one_volume(8192).await;
    for marker in ["../x", "a b", "", "..", ".hidden", "ü", &"x".repeat(300)] {
        let set = take(&bench, &disk, marker, true).await.unwrap();
        bench
            .cloud
            .open(&set, &disk, None, &Notebook::new())
            .await
            .unwrap();
        let anchor = set.disks[0].anchor.as_ref().unwrap();
        bench.cloud.release(&anchor.temporary).await.unwrap();
        assert_eq!(bench.temporaries().await.unwrap(), 0, "{marker}");
    }
    let graph = bench.cloud.graph().await.unwrap();
    let request = SnapshotRequest {
        graph: &graph,
        disks: &[disk.clone(), disk],
        consistency: Consistency::Crash,
        marker: "twice",
        keep_anchor: false,
    };
    let error = bench
        .cloud
        .snapshot(request, &Notebook::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_snapshot_that_was_not_finished_is_none() {
    let (bench, disk) = one_volume(8192).await;
    let set = take(&bench, &disk, "run", true).await.unwrap();
    let record = bench.cloud.path().join("snapshots/run-0/snapshot.json");
    std::fs::write(&record, "{\"disk\":").unwrap();
    let error = bench
        .cloud
        .open(&set, &disk, None, &Notebook::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    std::fs::remove_file(&record).unwrap();
    let error = bench
        .cloud
        .open(&set, &disk, None, &Notebook::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}
