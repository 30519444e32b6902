//! A simulated world: the real engine on one thread, with a clock, randomness and a target that a seed decides.
//!
//! Writers, readers, collectors, forgetters, fencers, key changers and verifiers work at the same time on one repository, each as a process of its own
//! with a clock that may be wrong; they die at any await, and what they sent before may arrive hours later. The target refuses, loses answers, is slow,
//! full, lists late, and gives wrong bytes. After each step that could have lost something, and at the end, every point that was committed is
//! restored and compared. The same seed gives the same world, request by request: its trace says so.

mod bucket;
mod events;
mod faults;
mod oracle;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use raksha_core::format::Chunking;
use raksha_core::id::PointId;
use raksha_core::image::{ExportOptions, export};
use raksha_core::protect::disk;
use raksha_core::repository::{
    CollectOptions, Compression, KnownEntries, Parameters, Repository, Target, VerifyOptions,
    verify_keyless,
};

use crate::{MemorySink, Random};
use bucket::{Bucket, Line};
pub use faults::Faults;
use oracle::{Oracle, Restored};
use process::{Mortal, Process, Work, first_secret, options};

/// What became of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// What must not have happened and did.
    pub broken: Option<String>,
    /// A hash over everything that happened.
    pub trace: String,
    /// Requests that the target saw.
    pub requests: u64,
    /// Points that were committed.
    pub commits: u64,
    /// Times that everything was restored and compared.
    pub checks: u64,
}

/// Lives through the world of a seed.
pub fn simulate(seed: u64) -> Simulated {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // Within the runtime, whose clock stands still, from the first moment.
    runtime.block_on(async { World::new(seed).live().await })
}

struct World {
    random: Random,
    bucket: Bucket,
    oracle: Oracle,
    /// What any process has checked of the log, none need check again: signatures are dear, and what holds for one holds for all.
    known: KnownEntries,
    processes: Vec<(Line, tokio::task::JoinHandle<()>)>,
    started: u64,
    checks: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_0000);
        let faults = Faults::draw(&mut random);
        let oracle = Oracle::new(faults.corrupt(), &mut random);
        let bucket = Bucket::new(faults, Random::new(random.number()));
        Self {
            random,
            bucket,
            oracle,
            known: KnownEntries::up_to(4096),
            processes: Vec::new(),
            started: 0,
            checks: 0,
        }
    }

    async fn live(mut self) -> Simulated {
        self.create().await;
        for _ in 0..40 + self.random.below(40) {
            self.step().await;
            self.check().await;
            if self.is_broken() {
                break;
            }
        }
        if !self.is_broken() {
            self.end().await;
        }
        let state = self.bucket.state();
        let broken = state.broken.clone().or_else(|| self.oracle.verdict());
        Simulated {
            broken,
            trace: state.trace().to_hex()[..16].to_owned(),
            requests: state.requests,
            commits: self.oracle.commits(),
            checks: self.checks,
        }
    }

    fn target(&self, objects: Arc<dyn ObjectStore>) -> Target {
        Target::new(objects).remembering(&self.known)
    }

    fn is_broken(&self) -> bool {
        self.bucket.state().broken.is_some() || self.oracle.verdict().is_some()
    }

    /// The repository is made in peace.
    async fn create(&mut self) {
        let faults = std::mem::take(&mut self.bucket.state().faults);
        let compressions = [Compression::default(), Compression::None];
        let parameters = Parameters {
            compression: *self.random.pick(&compressions).unwrap(),
            chunking: Chunking::Fixed { size: 4096 },
            segment_size: 1 << 20,
            pack_size: 1 << 20,
            ..Parameters::default()
        };
        let (options, _) = options(&mut self.random);
        let target = self.target(Arc::new(self.bucket.line(0)));
        let made = Repository::create(target, parameters, &first_secret(), options).await;
        made.unwrap();
        self.bucket.state().faults = faults;
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..6 => self.oracle.scribble(&mut self.random),
            6..14 => self.start(),
            14 => {
                let full = self.random.one_in(3);
                self.bucket.state().full = full;
            }
            _ => {
                let longest = *self.random.pick(&[100, 3_000, 60_000, 7_200_000]).unwrap();
                let pause = self.random.below(longest);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    /// Starts a process, which may die.
    fn start(&mut self) {
        use Work::*;
        let works = [
            Write, Write, Write, Write, Read, Read, Collect, Collect, Collect, Forget, Forget,
            Fence, ChangeKeys, Verify,
        ];
        self.started += 1;
        let line = self.bucket.line(self.started);
        let work = works[self.random.below(works.len() as u64) as usize];
        let process = Process {
            number: self.started,
            work,
            target: self.target(Arc::new(line.clone())),
            random: Random::new(self.random.number()),
            oracle: self.oracle.clone(),
        };
        self.bucket
            .state()
            .note(process.number, "start", &format!("{work:?}"), "");
        let polls = match self.random.one_in(3) {
            true => {
                let magnitude = 2 + self.random.below(9);
                self.random.below(1 << magnitude)
            }
            false => u64::MAX,
        };
        let life = Mortal::new(process.run(), polls, line.clone());
        self.processes.push((line, tokio::spawn(life)));
    }

    /// If something was deleted or retired since the last time, everything is restored from what the target holds at this moment.
    async fn check(&mut self) {
        if std::mem::take(&mut self.bucket.state().lossy) {
            self.compare().await;
        }
    }

    async fn compare(&mut self) {
        self.checks += 1;
        // Both at the same moment, so that they fit.
        let frozen: Arc<dyn ObjectStore> = self.bucket.frozen();
        let known = self.oracle.frozen();
        if let Err(error) = give_back(self.target(frozen), &known).await {
            known.broken(format!("it cannot be read: {error:?}"));
        }
        if let Some(broken) = known.verdict() {
            self.oracle.broken(broken);
        }
    }

    /// Everybody comes to an end, and what remains is what must remain: all that was committed, and nothing that nobody needs.
    async fn end(&mut self) {
        {
            let mut state = self.bucket.state();
            state.full = false;
            state.faults = Faults::default();
        }
        let long = Duration::from_secs(self.random.below(48 * 3600));
        let mut processes = std::mem::take(&mut self.processes);
        let all = futures_util::future::join_all(processes.iter_mut().map(|(_, life)| life));
        let _ = tokio::time::timeout(long, all).await;
        for (line, life) in &processes {
            line.cut();
            life.abort();
        }
        // What is still on its way arrives.
        tokio::time::sleep(Duration::from_secs(48 * 3600)).await;
        if let Err(error) = self.tidy_up().await {
            self.oracle.broken(format!("in the end: {error:?}"));
        }
    }

    async fn tidy_up(&mut self) -> raksha_core::Result<()> {
        self.compare().await;
        let (options, _) = options(&mut self.random);
        let target = self.target(Arc::new(self.bucket.line(u64::MAX)));
        let repository = Repository::open(target.clone(), &first_secret(), options).await?;
        for session in repository.sessions().await? {
            repository.fence(session.id, "the end").await?;
        }
        repository.collect(&CollectOptions::default()).await?;
        self.compare().await;
        for verified in [
            verify_keyless(&target).await?,
            repository.verify(&VerifyOptions::default()).await?,
        ] {
            if !verified.is_whole() {
                let damage = format!("damage in the end: {:?}", verified.damage);
                self.oracle.broken(damage);
            }
        }
        let points = repository.points().await?;
        let ids: Vec<PointId> = points.into_iter().map(|point| point.id).collect();
        for id in &ids {
            // Whoever held it may have died before letting go.
            repository.hold(*id, false, "the end").await?;
        }
        if !ids.is_empty() {
            repository.forget(&ids, "the end").await?;
        }
        repository.collect(&CollectOptions::default()).await?;
        // A session that collected is closed by now; what lies under it goes with the next one.
        repository.collect(&CollectOptions::default()).await?;
        let left: Vec<String> = crate::objects(&*self.bucket.frozen())
            .await
            .into_iter()
            .map(|(location, _)| location.to_string())
            .filter(|l| {
                ["packs/", "index/", "points/"]
                    .iter()
                    .any(|p| l.starts_with(p))
            })
            .collect();
        if !left.is_empty() {
            self.oracle
                .broken(format!("nothing is needed, and something stays: {left:?}"));
        }
        Ok(())
    }
}

/// Restores every point that there is, and compares with what is known.
async fn give_back(target: Target, known: &Oracle) -> raksha_core::Result<()> {
    let (options, _) = options(&mut Random::new(1));
    let repository = Repository::open(target, &first_secret(), options).await?;
    let mut listed: BTreeMap<PointId, Restored> = BTreeMap::new();
    let mut ids = Vec::new();
    for point in repository.points().await? {
        ids.push(point.id);
    }
    // One session for all of them.
    let reader = repository.read(&ids, "check").await?;
    for id in ids {
        let restored = async {
            let point = repository.point(id).await?;
            let root = disk::pick(&point, None)?.root;
            let sink = MemorySink::new(root.size);
            let options = ExportOptions {
                budget: repository.budget().clone(),
                env: repository.env().clone(),
                ..ExportOptions::default()
            };
            export(&root, &reader, &sink, options).await?;
            Ok::<_, raksha_core::Error>(sink.content())
        };
        let restored = match restored.await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err("it was never finished".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        };
        listed.insert(id, restored);
    }
    known.compare(&listed);
    Ok(())
}
