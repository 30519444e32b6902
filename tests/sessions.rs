//! Sessions end, however slow or broken the target is: one that stays open would keep what it pins from being collected.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use raksha_core::Kind;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_tests::{MemoryDisk, Random, Stored, back_up, failed, restore};

#[tokio::test(start_paused = true)]
async fn a_backup_that_is_cancelled_while_it_uploads_closes_its_session_at_once() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    // As slow as can be: what is uploaded never arrives.
    stored.overlay.hold_up("packs/");
    let reader = MemoryDisk::new(Arc::new(random.bytes(8 << 20)), true);
    let options = DiskOptions::default();
    let cancel = options.cancel.clone();
    let backup = disk::backup(&reader, "slow", &repository, options);
    let cancelled = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(repository.sessions().await.unwrap().len(), 1, "it works");
        cancel.cancel();
    };
    let both = async { tokio::join!(backup, cancelled) };
    let in_time = tokio::time::timeout(Duration::from_secs(3700), both);
    let (done, ()) = in_time.await.expect("closing waits for the uploads");
    failed(done, &[Kind::Cancelled], &[]);
    assert!(repository.sessions().await.unwrap().is_empty());
    stored.overlay.repair();
    stored.is_whole().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_begin_does_not_stay() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let (mine, other) = (stored.open().await.unwrap(), stored.open().await.unwrap());
    let index = |objects: Vec<(Path, Vec<u8>)>| -> Vec<Path> {
        objects.into_iter().map(|(location, _)| location).collect()
    };
    let before = index(stored.of("index/").await);
    back_up(&other, "other", &random.bytes(50_000))
        .await
        .unwrap();
    for location in index(stored.of("index/").await) {
        if !before.contains(&location) {
            stored.overlay.remove(&location);
        }
    }
    failed(mine.write(&[], "test").await, &[Kind::NotFound], &[]);
    stored.overlay.repair();
    assert!(mine.sessions().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_beginning_was_never_answered_is_taken_up_all_the_same() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    // One time more than an append is looked into.
    stored.overlay.lose_answers(5);
    let reader = repository.read(&[stored.points[0].0], "test").await;
    let reader = reader.unwrap();
    let open = repository.sessions().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].id, reader.session());
    reader.close().await.unwrap();
    assert!(repository.sessions().await.unwrap().is_empty());
    let back = restore(&repository, stored.points[0].0).await.unwrap();
    assert_eq!(back.as_ref(), Some(&stored.points[0].1));
}
