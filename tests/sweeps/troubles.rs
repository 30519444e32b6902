//! Something befalls a request: each in turn, in each way.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use raksha_core::Kind;
use raksha_core::id::PointId;
use raksha_core::repository::{CollectOptions, Target, verify_keyless};
use raksha_tests::{Fate, Nth, Random, objects, restore};

use crate::begun::{Begun, WORK, Work};

const FATES: [Fate; 4] = [
    Fate::NotDone,
    Fate::NotTold,
    Fate::DiesBefore,
    Fate::DiesAfter,
];

/// Collectors need something to collect.
fn collects(work: Work) -> bool {
    matches!(work, Work::Collect | Work::Rewrite)
}

/// Does the work, and `fate` befalls one of its requests. How many there are.
async fn try_out(begun: &Begun, work: Work, befalls: Option<(u64, Fate)>) -> u64 {
    let objects = begun.copy();
    let troubled = Nth::new(objects.clone());
    let through: Arc<dyn ObjectStore> = Arc::new(troubled.clone());
    let mine = begun.open(through.clone()).await.unwrap();
    if collects(work) {
        mine.forget(&[begun.goes.0], "test").await.unwrap();
    }
    let before = troubled.requests();
    if let Some((number, fate)) = befalls {
        troubled.befall(number, fate);
    }
    let hour = Duration::from_secs(3600);
    let done = tokio::time::timeout(hour, begun.work(work, &mine, &through)).await;
    let requests = troubled.requests() - before;
    let made = match (done, befalls) {
        (Ok(Ok(made)), _) => made,
        (Ok(Err(error)), Some((_, Fate::NotDone | Fate::NotTold))) => {
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
            assert!(error.is_retryable(), "{error}");
            None
        }
        (Err(_), Some((_, Fate::DiesBefore | Fate::DiesAfter))) => None,
        (done, _) => panic!("{done:?}"),
    };
    drop(mine);
    check(begun, work, objects, made).await;
    requests
}

/// Everything is there and whole, and once it is given up, nothing remains.
async fn check(begun: &Begun, work: Work, target: Arc<dyn ObjectStore>, made: Option<PointId>) {
    let keyless = verify_keyless(&Target::new(target.clone())).await.unwrap();
    assert!(keyless.is_whole(), "{:?}", keyless.damage);
    let repository = begun.open(target.clone()).await.unwrap();
    begun
        .work(Work::Verify, &repository, &target)
        .await
        .unwrap();
    let listed = repository.points().await.unwrap();
    let ids: Vec<_> = listed.iter().map(|point| point.id).collect();
    let stays = [begun.stays.0].into_iter().chain(made);
    for id in stays.chain((!collects(work)).then_some(begun.goes.0)) {
        assert!(ids.contains(&id), "{id} is gone");
    }
    for id in &ids {
        let content = match id {
            id if *id == begun.stays.0 => &begun.stays.1,
            id if *id == begun.goes.0 => &begun.goes.1,
            _ => begun.of(work),
        };
        let back = restore(&repository, *id).await.unwrap();
        assert!(back.as_ref() == Some(content), "{id} came back different");
    }
    repository.forget(&ids, "test").await.unwrap();
    let mut options = CollectOptions::default();
    options.fence_after = Some(Duration::ZERO);
    repository.collect(&options).await.unwrap();
    // A session that collected is closed by now; what lies under it goes with the next one.
    repository.collect(&options).await.unwrap();
    assert!(repository.sessions().await.unwrap().is_empty());
    let left = objects(&*target).await;
    let is_left = |location: &&str| {
        ["packs/", "points/", "index/"]
            .iter()
            .any(|kind| location.starts_with(kind))
    };
    let left: Vec<&str> = left
        .iter()
        .map(|(location, _)| location.as_ref())
        .filter(is_left)
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_befalls_a_request_everything_is_whole_and_nothing_is_left_behind() {
    let begun = Begun::new(&mut Random::announced("troubles")).await;
    for work in WORK {
        let requests = try_out(&begun, work, None).await;
        for number in 0..requests {
            for fate in FATES {
                println!("{work:?}: {fate:?} befalls request {number} of {requests}");
                try_out(&begun, work, Some((number, fate))).await;
            }
        }
        println!("{work:?}: each of {requests} requests");
    }
}
