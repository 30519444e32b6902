//! How many requests work costs, since many stores charge for each. The numbers in docs/OPERATING.md are printed by
//!
//! ```text
//! RAKSHA_REQUESTS_MIB=1024 cargo test -p raksha-tests --test requests -- --nocapture
//! ```

use futures_util::TryStreamExt;
use raksha_core::repository::{
    CollectOptions, EngineOptions, Parameters, Repository, Secret, VerifyOptions, verify_keyless,
};
use raksha_targets::{MetricsSnapshot, OpenOptions, OpenedTarget, Operation};
use raksha_tests::{Random, back_up, restore};

/// Requests of each kind between two moments.
fn between(before: &MetricsSnapshot, after: &MetricsSnapshot) -> Vec<(Operation, u64)> {
    let of = |snapshot: &MetricsSnapshot, operation| {
        let mut counts = snapshot.operations.iter();
        counts
            .find(|c| c.operation == operation)
            .map_or(0, |c| c.attempts)
    };
    let all = after.operations.iter().map(|c| c.operation);
    all.map(|operation| (operation, of(after, operation) - of(before, operation)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Tells what was asked since the last time; gives how often something was created, and the rest.
fn told(what: &str, target: &OpenedTarget, last: &mut MetricsSnapshot) -> (u64, u64) {
    let now = target.metrics.snapshot();
    let asked = between(last, &now);
    *last = now;
    println!("{what:34} {asked:?}");
    let (created, rest): (Vec<_>, Vec<_>) = asked
        .into_iter()
        .partition(|(operation, _)| *operation == Operation::Create);
    let sum = |of: Vec<(Operation, u64)>| of.into_iter().map(|(_, count)| count).sum();
    (sum(created), sum(rest))
}

#[tokio::test(flavor = "multi_thread")]
async fn work_costs_few_requests() {
    // With the memory that is the default: packs are as large as it allows.
    let mut options = raksha_tests::options();
    options.memory = EngineOptions::default().memory;
    let mib: u64 = std::env::var("RAKSHA_REQUESTS_MIB").map_or(128, |n| n.parse().unwrap());
    let mut random = Random::announced("requests");
    let mut disk = random.bytes((mib << 20) as usize);
    let target = raksha_targets::open("memory:", &OpenOptions::default())
        .await
        .unwrap();
    let mut last = target.metrics.snapshot();
    let secret = Secret::passphrase("secret");
    let in_target = target.repository().unwrap();
    let create = Repository::create(
        in_target.clone(),
        Parameters::default(),
        &secret,
        options.clone(),
    );
    let repository = create.await.unwrap();
    told("a new repository", &target, &mut last);
    let point = back_up(&repository, "disk", &disk).await.unwrap();
    let first = told("the first backup", &target, &mut last);
    back_up(&repository, "disk", &disk).await.unwrap();
    let nothing = told("another one, nothing new", &target, &mut last);
    // One part in a hundred is new, in sixteen places.
    let length = disk.len() / 1600;
    for _ in 0..16 {
        let at = random.below((disk.len() - length) as u64) as usize;
        disk[at..at + length].copy_from_slice(&random.bytes(length));
    }
    back_up(&repository, "disk", &disk).await.unwrap();
    told("another one, a hundredth new", &target, &mut last);
    drop(repository);
    let repository = Repository::open(in_target.clone(), &secret, options.clone())
        .await
        .unwrap();
    told("opening, without a cache", &target, &mut last);
    restore(&repository, point).await.unwrap();
    let restored = told("restoring the first", &target, &mut last);
    repository.verify(&VerifyOptions::default()).await.unwrap();
    told("verify", &target, &mut last);
    verify_keyless(&in_target).await.unwrap();
    told("verify --keyless", &target, &mut last);
    repository.forget(&[point], "tester").await.unwrap();
    repository
        .collect(&CollectOptions::default())
        .await
        .unwrap();
    told("forgetting one, collecting", &target, &mut last);
    let objects: Vec<_> = target.objects.list(None).try_collect().await.unwrap();
    println!("{} objects in the end", objects.len());

    // Packs have 16 MiB, some are closed before they are full. A publication (every 64 MiB) costs an index object and an entry of the log, and four requests
    // to see whether others appended something.
    let (packs, publications) = (mib.div_ceil(16), mib.div_ceil(64));
    let most = (packs * 9 / 8 + 2 * publications + 16, 4 * publications + 40);
    assert!(
        first.0 <= most.0 && first.1 <= most.1,
        "{first:?} requests for {mib} MiB, {most:?} at most"
    );
    assert!(
        nothing.0 <= 6 && nothing.1 <= 40,
        "{nothing:?} requests for nothing"
    );
    // Chunks that lie together are read together.
    assert!(
        restored.1 <= 24 * packs + 40,
        "{restored:?} requests to restore {mib} MiB"
    );
}
