//! Processes of a simulated world: each opens the repository by itself, does one kind of work, and may die at any moment.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use raksha_core::env::{Compute, Env};
use raksha_core::id::PointId;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::{
    CollectOptions, EngineOptions, PassphraseCost, Repository, Secret, Target, VerifyOptions,
};
use raksha_core::testkit::{SeededEntropy, SetClock};
use raksha_core::{Error, Kind};
use tokio::time::Instant;

use super::bucket::Line;
use super::oracle::Oracle;
use crate::{MemoryDisk, MemorySink, Random};

/// What all clocks that go right show when a world begins.
const EPOCH: i64 = 1_700_000_000;

/// The kinds of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Write,
    Read,
    Collect,
    Forget,
    Fence,
    ChangeKeys,
    Verify,
}

/// A process before it begins.
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) work: Work,
    pub(super) target: Target,
    pub(super) random: Random,
    pub(super) oracle: Oracle,
}

/// How a process looks at the world: a clock of its own, which may be wrong and be set while it works; randomness of its own; one thread.
pub(super) fn options(random: &mut Random) -> (EngineOptions, Arc<SetClock>) {
    let hour = 3600;
    let wrong = [0, 0, 0, -hour, hour, -40 * 24 * hour, 40 * 24 * hour];
    let shows = EPOCH + random.pick(&wrong).copied().unwrap_or(0);
    let clock = Arc::new(SetClock::new(Instant::now(), shows));
    let entropy = SeededEntropy::new(random.number());
    let mut options = EngineOptions::default();
    options.env = Env::system()
        .with_clock(Arc::clone(&clock) as _)
        .with_entropy(Arc::new(entropy))
        .with_compute(Compute::Inline);
    options.memory = 24 << 20;
    options.passphrase_cost = PassphraseCost {
        memory_kib: 16,
        iterations: 1,
        lanes: 1,
    };
    (options, clock)
}

/// The key that always opens the repository.
pub(super) fn first_secret() -> Secret {
    Secret::key_file(&[1; 32])
}

impl Process {
    /// Works until it is done or fails. What must not happen goes to the oracle.
    pub(super) async fn run(mut self) {
        let (options, clock) = options(&mut self.random);
        let opened = Repository::open(self.target.clone(), &first_secret(), options).await;
        let repository = match opened {
            Ok(repository) => repository,
            Err(error) => return self.oracle.failed(self.work, "open", &error, &[]),
        };
        for _ in 0..1 + self.random.below(3) {
            if self.random.one_in(8) {
                // Somebody sets the clock while it works: days back, or ahead.
                let days = self.random.below(100) as i64 - 50;
                clock.shift(days * 24 * 3600);
            }
            match self.work {
                Work::Write => self.write(&repository).await,
                Work::Read => self.read(&repository).await,
                Work::Collect => self.collect(&repository).await,
                Work::Forget => self.forget(&repository).await,
                Work::Fence => self.fence(&repository).await,
                Work::ChangeKeys => self.change_keys(&repository).await,
                Work::Verify => self.verify(&repository).await,
            }
            let pause = self.random.below(60_000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn write(&mut self, repository: &Repository) {
        let (name, content) = self.oracle.begin_backup(&mut self.random);
        let reader = MemoryDisk::new(Arc::clone(&content), self.random.one_in(2));
        let done = disk::backup(&reader, &name, repository, DiskOptions::default()).await;
        match done {
            Ok(done) => self.oracle.committed(done.point, &content),
            Err(error) => {
                // The repository may change underneath more often than it is tried again, and the target may be full.
                let fair = [Kind::Conflict, Kind::Fenced, Kind::Full];
                self.oracle.failed(self.work, "back up", &error, &fair);
                if !matches!(error.kind(), Kind::Unavailable | Kind::Timeout) {
                    self.oracle.certainly_failed(&content, &error);
                }
            }
        }
    }

    async fn read(&mut self, repository: &Repository) {
        let Some((id, content)) = self.oracle.pick(&mut self.random) else {
            return;
        };
        let restored = async {
            let point = repository.point(id).await?;
            let only = disk::pick(&point, None)?;
            let sink = MemorySink::new(only.root.size);
            let options = DiskOptions::default();
            disk::restore(repository, id, &only.disk, &sink, options).await?;
            Ok::<_, Error>(sink.content())
        };
        match restored.await {
            Ok(bytes) if bytes.as_ref() == Some(&*content) => {}
            Ok(_) => self
                .oracle
                .broken(format!("point {id} came back different")),
            Err(error) => self.gone(id, "restore", &error),
        }
    }

    /// An error about a point that somebody may have forgotten meanwhile.
    fn gone(&self, id: PointId, what: &str, error: &Error) {
        // Who was fenced off is told so only if something is missing, which takes that it was forgotten as well.
        let gone = [Kind::NotFound, Kind::Fenced, Kind::Full];
        let fair = match self.oracle.may_be_forgotten(id) {
            true => &gone[..],
            false => &gone[2..],
        };
        self.oracle.failed(self.work, what, error, fair);
    }

    async fn forget(&mut self, repository: &Repository) {
        let Some((id, _)) = self.oracle.pick(&mut self.random) else {
            return;
        };
        if self.random.one_in(4) {
            let held = repository.hold(id, true, "simulation").await;
            if let Err(error) = held {
                return self.gone(id, "hold", &error);
            }
            if let Err(error) = repository.hold(id, false, "simulation").await {
                return self.gone(id, "lift", &error);
            }
        }
        self.oracle.begin_forget(id);
        match repository.forget(&[id], "simulation").await {
            Ok(()) => self.oracle.forgotten(id),
            // Another process holds it for a moment, or was faster.
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => self.gone(id, "forget", &error),
        }
    }

    async fn collect(&mut self, repository: &Repository) {
        let mut options = CollectOptions::default();
        options.rewrite_below = [0.0, 0.5, 0.95][self.random.below(3) as usize];
        // Far too short: it is policy, and may be wrong.
        let minutes = self.random.below(600);
        options.fence_after = match self.random.one_in(2) {
            true => Some(Duration::from_secs(60 * minutes)),
            false => None,
        };
        options.delete = !self.random.one_in(5);
        options.retired_at_once = 1 + self.random.below(4) as usize;
        match repository.collect(&options).await {
            Ok(done) if !done.foreign_objects.is_empty() => {
                self.oracle
                    .broken(format!("foreign: {:?}", done.foreign_objects));
            }
            Ok(_) => {}
            Err(error) => {
                let fair = [Kind::Fenced, Kind::Conflict, Kind::Full];
                self.oracle.failed(self.work, "collect", &error, &fair);
            }
        }
    }

    async fn fence(&mut self, repository: &Repository) {
        let sessions = match repository.sessions().await {
            Ok(sessions) => sessions,
            Err(error) => return self.oracle.failed(self.work, "list sessions", &error, &[]),
        };
        let Some(session) = self.random.pick(&sessions) else {
            return;
        };
        // Whether it lives or not.
        if let Err(error) = repository.fence(session.id, "simulation").await {
            let fair = [Kind::NotFound, Kind::Full];
            self.oracle.failed(self.work, "fence", &error, &fair);
        }
    }

    async fn change_keys(&mut self, repository: &Repository) {
        let slot = format!("slot-{}", self.random.number());
        let secret = Secret::key_file(&self.random.bytes(32));
        let first = first_secret();
        // Lists may be late: a slot that was just made, or another one, may not be seen.
        let fair = [
            Kind::Full,
            Kind::AlreadyExists,
            Kind::NotFound,
            Kind::Denied,
        ];
        let added = repository
            .add_key(&slot, &secret, &first, "simulation")
            .await;
        if let Err(error) = added {
            return self.oracle.failed(self.work, "add key", &error, &fair);
        }
        let (options, _) = options(&mut self.random);
        let again = Repository::open(repository.target().clone(), &secret, options).await;
        if let Err(error) = again {
            // The new slot may not be listed yet.
            let fair = [Kind::WrongKey];
            self.oracle
                .failed(self.work, "open with another key", &error, &fair);
        }
        if self.random.one_in(2)
            && let Err(error) = repository.remove_key(&slot, &first, "simulation").await
        {
            self.oracle.failed(self.work, "remove key", &error, &fair);
        }
    }

    async fn verify(&mut self, repository: &Repository) {
        match repository.verify(&VerifyOptions::default()).await {
            Ok(verified) if !verified.is_whole() => self.oracle.damage(&verified.damage),
            Ok(_) => {}
            Err(error) => self
                .oracle
                .failed(self.work, "verify", &error, &[Kind::Full]),
        }
    }
}

/// A process that dies when it has been polled so many times: at any await there is.
pub(super) struct Mortal<F> {
    life: Option<Pin<Box<F>>>,
    polls: u64,
    line: Line,
}

impl<F: Future<Output = ()>> Mortal<F> {
    pub(super) fn new(life: F, polls: u64, line: Line) -> Self {
        Self {
            life: Some(Box::pin(life)),
            polls,
            line,
        }
    }
}

impl<F: Future<Output = ()>> Future for Mortal<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polls == 0 {
            self.line.cut();
            self.life = None;
            return Poll::Ready(());
        }
        self.polls -= 1;
        match &mut self.life {
            Some(life) => life.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }
}
