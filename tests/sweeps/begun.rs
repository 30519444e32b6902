//! A repository with two points, and what can be done with it.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use raksha_core::id::PointId;
use raksha_core::repository::{CollectOptions, Repository, Secret, Target, VerifyOptions};
use raksha_core::{Error, Kind, Result};
use raksha_tests::{Random, back_up, options, restore, small};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
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

pub const WORK: [Work; 9] = [
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
pub struct Begun {
    objects: InMemory,
    secret: Secret,
    pub stays: (PointId, Vec<u8>),
    pub goes: (PointId, Vec<u8>),
}

impl Begun {
    pub async fn new(random: &mut Random) -> Self {
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

    /// The repository as it is in the beginning, for one attempt.
    pub fn copy(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.objects.fork())
    }

    pub async fn open(&self, objects: Arc<dyn ObjectStore>) -> Result<Repository> {
        Repository::open(Target::new(objects), &self.secret, options()).await
    }

    /// What a point holds that some work makes.
    pub fn of(&self, work: Work) -> &Vec<u8> {
        match work {
            Work::BackUpAgain => &self.stays.1,
            _ => &self.goes.1,
        }
    }

    /// Does it with a repository that is open, and lies in `objects`. The point that it makes.
    pub async fn work(
        &self,
        work: Work,
        repository: &Repository,
        objects: &Arc<dyn ObjectStore>,
    ) -> Result<Option<PointId>> {
        let whole = async |options: VerifyOptions| {
            let found = repository.verify(&options).await?;
            assert!(found.is_whole(), "{:?}", found.damage);
            Ok::<(), Error>(())
        };
        match work {
            Work::Open => {
                let opened = self.open(objects.clone()).await?;
                assert!(!opened.points().await?.is_empty());
            }
            Work::Verify => whole(VerifyOptions::default()).await?,
            Work::VerifyOne => {
                let mut one = VerifyOptions::default();
                one.points = Some(vec![self.stays.0]);
                whole(one).await?;
            }
            Work::Restore => {
                let back = restore(repository, self.stays.0).await?;
                assert!(back.as_ref() == Some(&self.stays.1));
            }
            Work::BackUp => return back_up(repository, "new", &self.goes.1).await.map(Some),
            Work::BackUpAgain => {
                return back_up(repository, "stays", &self.stays.1).await.map(Some);
            }
            Work::Collect => {
                repository.collect(&CollectOptions::default()).await?;
            }
            Work::Rewrite => {
                repository.collect(&rewrite()).await?;
            }
            Work::Sizes => match repository.point_sizes("test").await {
                Ok(sizes) => assert!(sizes.contains_key(&self.stays.0)),
                // It pins what was listed; that may be gone by then.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            },
        }
        Ok(None)
    }
}

/// Collects whatever there is, and moves what lies beside it.
pub fn rewrite() -> CollectOptions {
    let mut options = CollectOptions::default();
    options.rewrite_below = 1.0;
    options
}
