//! Sessions end, however slow or broken the target is: one that stays open would keep what it pins from being collected.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use raksha_core::Kind;
use raksha_core::image::{ExportOptions, IngestOptions, export, ingest};
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::{CollectOptions, Repository, Target};
use raksha_core::testkit::check_chunk_store;
use raksha_tests::{
    MemoryDisk, MemorySink, Random, Rights, Stored, back_up, failed, options, restore,
};

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
    assert_eq!(Some(open[0].id), reader.session());
    reader.close().await.unwrap();
    assert!(repository.sessions().await.unwrap().is_empty());
    let back = restore(&repository, stored.points[0].0).await.unwrap();
    assert_eq!(back.as_ref(), Some(&stored.points[0].1));
}

/// The first try to append was done and never answered, the second was refused.
#[tokio::test(start_paused = true)]
async fn what_was_done_is_done_though_a_later_try_was_refused() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    let point = stored.points[0].0;
    stored.overlay.lose_answers(1);
    stored.overlay.refuse_writes(io::ErrorKind::StorageFull, 1);
    repository.forget(&[point], "test").await.unwrap();
    stored.overlay.repair();
    let points = repository.points().await.unwrap();
    assert!(points.iter().all(|known| known.id != point));
}

/// What a process published itself, and what was collected while it looked away, is not taken for known when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_collected_meanwhile_is_stored_again() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let (mine, other) = (stored.open().await.unwrap(), stored.open().await.unwrap());
    let content = random.bytes(300_000);
    let reader = MemoryDisk::new(Arc::new(content.clone()), true);
    let writer = mine.write(&[], "test").await.unwrap();
    let ingest_options = IngestOptions {
        chunking: mine.parameters().chunking,
        segment_size: mine.parameters().segment_size,
        ..IngestOptions::default()
    };
    // Published, but never part of a point: garbage as soon as the session ends.
    ingest(&reader, &writer, ingest_options).await.unwrap();
    writer.close().await.unwrap();
    let collected = other.collect(&CollectOptions::default()).await.unwrap();
    assert!(collected.retired_packs > 0 && collected.deleted_objects > 0);
    let id = back_up(&mine, "again", &content).await.unwrap();
    assert_eq!(restore(&mine, id).await.unwrap(), Some(content));
    stored.is_whole().await;
}

/// A reader that has not looked at the log since finds chunks again that a collector moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_moved_is_found_by_those_who_read() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let (mine, other) = (stored.open().await.unwrap(), stored.open().await.unwrap());
    let (id, content) = &stored.points[2];
    let root = mine.point(*id).await.unwrap().disks[0].root;
    let reader = mine.read(&[*id], "test").await.unwrap();
    let mut options = CollectOptions::default();
    // Every pack that has any garbage in it is rewritten.
    options.rewrite_below = 1.0;
    // Most of what the last point needs lies where the first ones left garbage.
    let gone: Vec<_> = stored.points[..2].iter().map(|(id, _)| *id).collect();
    other.forget(&gone, "test").await.unwrap();
    let collected = other.collect(&options).await.unwrap();
    assert!(collected.rewritten_packs > 0 && collected.deleted_objects > 0);
    let sink = MemorySink::new(root.size);
    export(&root, &reader, &sink, ExportOptions::default())
        .await
        .unwrap();
    assert_eq!(sink.content().as_ref(), Some(content));
    reader.close().await.unwrap();
}

/// A reader that was fenced off, and whose point was forgotten and collected, is told that, and not that something is damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_fenced_off_is_told_so() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let (mine, other) = (stored.open().await.unwrap(), stored.open().await.unwrap());
    let (id, _) = stored.points[1];
    let root = mine.point(id).await.unwrap().disks[0].root;
    let reader = mine.read(&[id], "test").await.unwrap();
    other
        .fence(reader.session().unwrap(), "test")
        .await
        .unwrap();
    let all: Vec<_> = stored.points.iter().map(|(id, _)| *id).collect();
    other.forget(&all, "test").await.unwrap();
    let collected = other.collect(&CollectOptions::default()).await.unwrap();
    assert!(collected.deleted_objects > 0);
    let sink = MemorySink::new(root.size);
    let exported = export(&root, &reader, &sink, ExportOptions::default()).await;
    failed(
        exported.map(drop),
        &[Kind::Fenced],
        &["fenced off", "start anew"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_could_pin_nothing_is_told_that_its_point_was_forgotten() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let other = stored.open().await.unwrap();
    let reads = Target::new(Arc::new(Rights::to_read(stored.overlay.clone())));
    let mine = Repository::open(reads, &stored.secret, options()).await;
    let mine = mine.unwrap();
    let (id, _) = stored.points[1];
    let root = mine.point(id).await.unwrap().disks[0].root;
    let reader = mine.read(&[id], "test").await.unwrap();
    assert!(reader.session().is_none(), "nothing can be pinned");
    let sink = || MemorySink::new(root.size);
    let whole = export(&root, &reader, &sink(), ExportOptions::default()).await;
    whole.unwrap();

    let all: Vec<_> = stored.points.iter().map(|(id, _)| *id).collect();
    other.forget(&all, "test").await.unwrap();
    let collected = other.collect(&CollectOptions::default()).await.unwrap();
    assert!(collected.deleted_objects > 0);
    let exported = export(&root, &reader, &sink(), ExportOptions::default()).await;
    failed(
        exported.map(drop),
        &[Kind::Fenced],
        &["forgotten", "without a pin", &id.to_string()],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_keeps_the_contract_of_a_chunk_store() {
    let random = &mut Random::announced("sessions");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    let writer = repository.write(&[], "test").await.unwrap();
    check_chunk_store(&writer, random.number()).await.unwrap();
    writer.close().await.unwrap();
}
