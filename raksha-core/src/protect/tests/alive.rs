//! What lives in this process, as others see it.

use std::sync::Arc;

use tokio::sync::Notify;

use super::bench::{Bench, new_repository};
use super::troubled::Trouble;
use crate::error::Kind;
use crate::local::NewServer;
use crate::protect::{Alive, Life, Phase, RestoreOptions, RunOptions};

fn can_be_sent<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn what_one_project_handle_began_another_sees_and_stops() {
    let bench = Bench::new(70).await;
    let job = bench.job().await;
    let alive = Alive::new();
    let raksha = bench.raksha.clone().with_alive(alive.clone());
    let mut lives = alive.listen();
    // In the middle of reading.
    let told = Arc::new(Notify::new());
    bench.fate.set(8, Trouble::Hang(Arc::clone(&told)));
    let handle = raksha.run(job).await.unwrap();
    let id = handle.id();
    assert_eq!(alive.progress(id).unwrap().phase, None, "it has not begun");
    let run = tokio::spawn(can_be_sent(handle.finish()));
    told.notified().await;
    let progress = alive.progress(id).unwrap();
    assert!(progress.phase >= Some(Phase::Snapshotting), "{progress:?}");
    assert!(!alive.cancel("another"));
    tokio::time::pause();
    assert!(alive.cancel(id));
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    assert!(!alive.contains(id) && !alive.cancel(id) && alive.count() == 0);
    let mut heard = Vec::new();
    loop {
        let (whose, life) = lives.next().await.unwrap();
        assert_eq!(whose, id.to_string());
        let over = life == Life::Over;
        heard.push(life);
        if over {
            break;
        }
    }
    assert!(heard.len() > 3, "{heard:?}");
    bench.fate.clear();
    bench
        .assert_clean(0, "after a run that was cancelled by its id")
        .await;
}

#[tokio::test]
async fn a_run_in_full_reads_all_and_makes_the_same() {
    let mut bench = Bench::empty(71, new_repository().await).await;
    let server = NewServer::new("web").volume("system", 24 << 20);
    bench.cloud.add_server(server).await.unwrap();
    let disk = bench.disks().await.remove(0).0;
    bench.write(&disk, 0, 24 << 20).await;
    let job = bench.job().await;
    let first = bench.run(job).await.unwrap();
    let hinted = bench.run(job).await.unwrap();
    assert!(hinted.counts.read_bytes < first.counts.read_bytes / 2);
    let full = bench.raksha.run_with(job, RunOptions::in_full()).await;
    let full = full.unwrap().finish().await.unwrap();
    assert_eq!(full.counts.read_bytes, first.counts.read_bytes);
    assert_eq!(full.counts.new_bytes, 0);
    let disks = bench.disks().await.len();
    bench.assert_clean(disks, "after a run in full").await;
}

#[tokio::test]
async fn restores_can_be_sent_to_other_threads_and_leave_their_progress() {
    let source = Bench::new(72).await;
    let job = source.job().await;
    let point = source.run(job).await.unwrap().point;
    let bench = Bench::empty(72, source.repository.clone()).await;
    let plan = bench.raksha.plan_restore(point, RestoreOptions::default());
    let bytes = plan.await.unwrap();
    let total = bytes.bytes();
    let restore = bench.raksha.restore(bytes).await.unwrap();
    let done = tokio::spawn(can_be_sent(restore.finish())).await.unwrap();
    let record = bench.raksha.restore_record(done.unwrap().restore).await;
    let record = record.unwrap();
    assert_eq!(record.phase, Some(Phase::Starting));
    let written: u64 = record.disks.iter().map(|d| d.counts.logical_bytes).sum();
    assert_eq!(written, total);
}
