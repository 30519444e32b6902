//! Whatever others do between any two requests: somebody works, slowly, on a repository whose points others forget, collect and store anew.
//!
//! Requests take their time by a simulated clock, and what the others do takes none. So each instant is tried.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use raksha_core::Kind;
use raksha_core::id::PointId;
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless,
};
use raksha_tests::{Random, back_up, options, restore, small};
use tokio::time::Instant;

/// How long each request takes.
const REQUEST: Duration = Duration::from_millis(4);

/// What is done slowly.
#[derive(Debug, Clone, Copy)]
enum Work {
    Open,
    Verify,
    VerifyOne,
    Restore,
    BackUp,
    BackUpAgain,
    Collect,
    Rewrite,
    Sizes,
}

const WORK: [Work; 9] = [
    Work::Open,
    Work::Verify,
    Work::VerifyOne,
    Work::Restore,
    Work::BackUp,
    Work::BackUpAgain,
    Work::Collect,
    Work::Rewrite,
    Work::Sizes,
];

/// A repository with a point that stays and one that goes, which share some bytes.
struct Begun {
    objects: InMemory,
    secret: Secret,
    stays: (PointId, Vec<u8>),
    goes: (PointId, Vec<u8>),
}

impl Begun {
    async fn new(random: &mut Random) -> Self {
        let objects = Arc::new(InMemory::new());
        let secret = Secret::key_file(&random.bytes(32));
        let target = Target::new(objects.clone());
        let repository = Repository::create(target, small(), &secret, options()).await;
        let repository = repository.unwrap();
        let shared = random.bytes(100_000);
        let stays = [shared.clone(), random.bytes(100_000)].concat();
        let goes = [shared, random.bytes(100_000)].concat();
        let goes = (back_up(&repository, "goes", &goes).await.unwrap(), goes);
        let stays = (back_up(&repository, "stays", &stays).await.unwrap(), stays);
        drop(repository);
        Self {
            objects: objects.fork(),
            secret,
            stays,
            goes,
        }
    }

    async fn open(&self, objects: Arc<dyn ObjectStore>) -> Repository {
        let opened = Repository::open(Target::new(objects), &self.secret, options()).await;
        opened.unwrap()
    }

    async fn work(&self, work: Work, repository: &Repository, slow: &Arc<dyn ObjectStore>) {
        let mut one = VerifyOptions::default();
        one.points = Some(vec![self.stays.0]);
        let mut rewrite = CollectOptions::default();
        rewrite.rewrite_below = 1.0;
        let verify = async |options| {
            let found = repository.verify(&options).await.unwrap();
            assert!(found.is_whole(), "{:?}", found.damage);
        };
        match work {
            Work::Open => {
                let opened = self.open(slow.clone()).await;
                assert!(!opened.points().await.unwrap().is_empty());
            }
            Work::Verify => verify(VerifyOptions::default()).await,
            Work::VerifyOne => verify(one).await,
            Work::Restore => {
                let back = restore(repository, self.stays.0).await.unwrap();
                assert!(back.as_ref() == Some(&self.stays.1));
            }
            Work::BackUp => {
                let id = back_up(repository, "new", &self.goes.1).await.unwrap();
                let back = restore(repository, id).await.unwrap();
                assert!(back.as_ref() == Some(&self.goes.1));
            }
            Work::BackUpAgain => {
                back_up(repository, "stays", &self.stays.1).await.unwrap();
            }
            Work::Collect => {
                let options = CollectOptions::default();
                repository.collect(&options).await.unwrap();
            }
            Work::Rewrite => {
                repository.collect(&rewrite).await.unwrap();
            }
            Work::Sizes => match repository.point_sizes("test").await {
                Ok(sizes) => assert!(sizes.contains_key(&self.stays.0)),
                // It pins what it looked for; that may be gone by then.
                Err(error) => assert_eq!(error.kind(), Kind::NotFound, "{error}"),
            },
        }
    }

    /// Does the work while others forget, collect and move what there is after `gone`, and store it again after `again`. How long the work takes.
    async fn try_out(&self, work: Work, gone: Duration, again: Duration) -> Duration {
        let objects: Arc<dyn ObjectStore> = Arc::new(self.objects.fork());
        let slow = ThrottleConfig {
            wait_get_per_call: REQUEST,
            wait_list_per_call: REQUEST,
            wait_put_per_call: REQUEST,
            wait_delete_per_call: REQUEST,
            ..ThrottleConfig::default()
        };
        let slow: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(objects.clone(), slow));
        let (mine, other) = (
            self.open(slow.clone()).await,
            self.open(objects.clone()).await,
        );
        let began = Instant::now();
        let working = async {
            self.work(work, &mine, &slow).await;
            began.elapsed()
        };
        let others = async {
            tokio::time::sleep_until(began + gone).await;
            other.forget(&[self.goes.0], "test").await.unwrap();
            let mut rewrite = CollectOptions::default();
            rewrite.rewrite_below = 1.0;
            other.collect(&rewrite).await.unwrap();
            tokio::time::sleep_until(began + again).await;
            back_up(&other, "goes", &self.goes.1).await.unwrap()
        };
        let (took, id) = tokio::join!(working, others);
        let keyless = verify_keyless(&Target::new(objects.clone())).await.unwrap();
        assert!(keyless.is_whole(), "{:?}", keyless.damage);
        let after = self.open(objects).await;
        for (id, content) in [(self.stays.0, &self.stays.1), (id, &self.goes.1)] {
            let back = restore(&after, id).await.unwrap();
            assert!(back.as_ref() == Some(content), "{id} came back different");
        }
        took
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_nobody_is_told_of_damage() {
    let begun = Begun::new(&mut Random::announced("instants")).await;
    for work in WORK {
        let never = Duration::from_secs(3600);
        let takes = begun.try_out(work, never, never).await;
        let mut tried = 0;
        // Between two requests, and not at the same time as one.
        let mut gone = REQUEST / 2;
        while gone < takes {
            let mut again = gone;
            while again < takes + REQUEST {
                println!("{work:?}: gone after {gone:?}, there again after {again:?}");
                begun.try_out(work, gone, again).await;
                tried += 1;
                again += REQUEST.max((again - gone) / 4);
            }
            gone += REQUEST;
        }
        println!("{work:?}: {takes:?}, {tried} pairs of instants");
    }
}
