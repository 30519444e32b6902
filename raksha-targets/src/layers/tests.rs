//! The policies against a target that misbehaves.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use raksha_core::env::Env;
use tokio::time::Instant;

use super::{GuardOptions, Guarded, Operation, RetryOptions, Timeouts};
use crate::testkit::{Faults, Faulty, Random};

/// Policies that never tire, so that only their logic is tested. Time is tokio's, paused.
fn tireless() -> GuardOptions {
    let retry = RetryOptions {
        give_up_after: Duration::from_secs(1 << 20),
        per_second: 1e6,
        ..RetryOptions::default()
    };
    GuardOptions {
        retry: Some(retry),
        timeouts: Some(Timeouts::default()),
        ..GuardOptions::default()
    }
}

fn env(seed: u64) -> Env {
    Env::system().with_entropy(Arc::new(Random::new(seed)))
}

fn guarded(inner: &Faulty, options: GuardOptions, seed: u64) -> Guarded {
    Guarded::new(Arc::new(inner.clone()), true, options, env(seed))
}

const NASTY: Faults = Faults {
    refused: 200,
    answer_lost: 300,
    body_broken: 300,
    hanging: 50,
    racy_create: 0,
};

#[tokio::test(start_paused = true)]
async fn lost_answers_never_make_two_winners_or_none() {
    for seed in 0..40 {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let faulty = Faulty::new(Arc::clone(&memory), NASTY, seed);
        for round in 0..10 {
            let location = Path::from(format!("log/{round}"));
            let racers = (0..5u64).map(|writer| {
                // Each writer is a process of its own.
                let store = guarded(&faulty, tireless(), seed * 100 + writer);
                let location = location.clone();
                async move {
                    let entry = format!("entry of writer {writer}");
                    let create = PutOptions::from(PutMode::Create);
                    match store
                        .put_opts(&location, entry.clone().into(), create)
                        .await
                    {
                        Ok(_) => Some(entry),
                        Err(Error::AlreadyExists { .. }) => None,
                        Err(e) => panic!("seed {seed}: {e}"),
                    }
                }
            });
            let winners: Vec<_> = join_all(racers).await.into_iter().flatten().collect();
            let there = memory.get(&location).await.unwrap().bytes().await.unwrap();
            let there = String::from_utf8(there.to_vec()).unwrap();
            assert_eq!(winners, [there], "seed {seed}, round {round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_lists_and_deletes_get_through() {
    for seed in 0..40 {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let faulty = Faulty::new(Arc::clone(&memory), NASTY, seed);
        let store = guarded(&faulty, tireless(), seed);
        let random = Random::new(seed);
        let mut expected = BTreeMap::new();
        for i in 0..20 {
            let location = Path::from(format!("o/{i:02}"));
            let length = usize::try_from(random.below(5000)).unwrap();
            let bytes = random.bytes(length);
            store.put(&location, bytes.clone().into()).await.unwrap();
            expected.insert(location, bytes);
        }
        for (location, bytes) in &expected {
            let got = store.get(location).await.unwrap().bytes().await.unwrap();
            assert_eq!(&got, bytes, "seed {seed}");
            let end = random.below(bytes.len() as u64 + 1).max(1);
            let range = random.below(end)..end;
            let expected =
                usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            if let Some(expected) = bytes.get(expected).filter(|b| !b.is_empty()) {
                let got = store.get_range(location, range).await.unwrap();
                assert_eq!(got, expected, "seed {seed}");
            }
        }
        let listed: Vec<_> = store
            .list(None)
            .map_ok(|m| m.location)
            .try_collect()
            .await
            .unwrap();
        assert!(listed.iter().eq(expected.keys()), "seed {seed}: {listed:?}");
        let wanted: Vec<_> = expected.keys().take(15).cloned().map(Ok).collect();
        let deleted: Vec<Path> = store
            .delete_stream(stream::iter(wanted).boxed())
            .try_collect()
            .await
            .unwrap();
        assert_eq!(deleted.len(), 15, "seed {seed}");
        assert_eq!(memory.list(None).count().await, 5, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_replaced_object_is_not_patched_together() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let broken = Faults {
        body_broken: 1000,
        ..Faults::default()
    };
    let faulty = Faulty::new(Arc::clone(&memory), broken, 3);
    let store = guarded(&faulty, tireless(), 3);
    let location = Path::from("o");
    memory.put(&location, vec![1; 1000].into()).await.unwrap();
    let result = store.get(&location).await.unwrap();
    memory.put(&location, vec![2; 1000].into()).await.unwrap();
    let error = result.bytes().await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_asked_once_and_what_may_until_the_deadline() {
    let faulty = Faulty::new(Arc::new(InMemory::new()), Faults::default(), 1);
    let store = guarded(&faulty, tireless(), 1);
    let missing = store.get(&Path::from("missing")).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }));
    assert_eq!(faulty.requests(), 1);

    let refusing = Faults {
        refused: 1000,
        ..Faults::default()
    };
    let faulty = Faulty::new(Arc::new(InMemory::new()), refusing, 1);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let options = GuardOptions {
        retry: Some(RetryOptions::default()),
        observer: Some(Arc::new(move |e| {
            seen.lock().unwrap().push((e.attempt, e.retried_in));
        })),
        ..GuardOptions::default()
    };
    let store = guarded(&faulty, options, 1);
    let begun = Instant::now();
    store.put(&Path::from("o"), "x".into()).await.unwrap_err();
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(200) && took <= Duration::from_secs(300),
        "{took:?}"
    );
    let events = events.lock().unwrap();
    let (last, earlier) = events.split_last().unwrap();
    assert_eq!(last.0 as usize, events.len());
    assert!(last.1.is_none() && earlier.iter().all(|(_, pause)| pause.is_some()));
    let longest = earlier
        .iter()
        .filter_map(|(_, pause)| *pause)
        .max()
        .unwrap();
    assert!(longest > Duration::from_secs(10) && longest <= Duration::from_secs(20));
    let counts = store.metrics().snapshot().operations;
    assert_eq!(counts[0].operation, Operation::Put);
    assert_eq!(counts[0].failures, faulty.requests());
    assert_eq!(counts[0].retries, faulty.requests() - 1);
}

#[tokio::test(start_paused = true)]
async fn many_in_trouble_share_one_budget() {
    let refusing = Faults {
        refused: 1000,
        ..Faults::default()
    };
    let faulty = Faulty::new(Arc::new(InMemory::new()), refusing, 1);
    let options = GuardOptions {
        retry: Some(RetryOptions::default()),
        ..GuardOptions::default()
    };
    let store = guarded(&faulty, options, 1);
    let (location, writers) = (Path::from("o"), 500);
    join_all((0..writers).map(|_| store.put(&location, "x".into()))).await;
    // 50 at once, then 5 a second for 300 s.
    let retries = faulty.requests() - writers;
    assert!((1000..=1550).contains(&retries), "{retries}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let hanging = Faults {
        hanging: 1000,
        ..Faults::default()
    };
    let faulty = Faulty::new(Arc::new(InMemory::new()), hanging, 1);
    let options = GuardOptions {
        timeouts: Some(Timeouts::default()),
        ..GuardOptions::default()
    };
    let store = guarded(&faulty, options, 1);
    let begun = Instant::now();
    let payload = vec![0; 1 << 20];
    let error = store
        .put(&Path::from("o"), payload.into())
        .await
        .unwrap_err();
    // A minute, and 8 s for 1 MiB at 128 KiB/s.
    assert_eq!(begun.elapsed().as_secs(), 68);
    let error = raksha_core::Error::object("store", &Path::from("o"), error);
    assert_eq!(error.kind(), raksha_core::Kind::Timeout, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("object o") && text.contains("faulty InMemory"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_at_once_than_allowed() {
    #[derive(Debug, Default)]
    struct Peak {
        now: AtomicUsize,
        most: AtomicUsize,
    }
    let peak = Arc::new(Peak::default());
    let options = GuardOptions {
        concurrency: NonZeroUsize::new(3),
        ..GuardOptions::default()
    };
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Path::from("o");
    memory.put(&location, "x".into()).await.unwrap();
    let store = Guarded::new(memory, true, options, env(1));
    let readers = (0..50).map(|_| async {
        let body = store.get(&location).await.unwrap();
        let now = peak.now.fetch_add(1, Ordering::SeqCst) + 1;
        peak.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        peak.now.fetch_sub(1, Ordering::SeqCst);
        body.bytes().await.unwrap()
    });
    let begun = Instant::now();
    join_all(readers).await;
    assert_eq!(peak.most.load(Ordering::SeqCst), 3);
    assert_eq!(begun.elapsed().as_secs(), 17);
}
