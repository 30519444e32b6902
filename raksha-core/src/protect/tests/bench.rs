//! A project with one of everything, a repository in memory, and eyes for what is left behind.

use std::sync::Arc;

use bytes::Bytes;

use super::troubled::{Fate, Troubled};
use crate::cloud::{
    Consistency, DiskId, IdMap, ResourceGraph, ResourceKey, ResourceKind, Selection,
    ServerSelector, SnapshotProvider, SnapshotRequest,
};
use crate::env::Env;
use crate::error::Result;
use crate::id::{JobId, ProjectId};
use crate::local::LocalCloud;
use crate::protect::{Cloud, NewJob, Raksha, RestoreReport, RunReport};
use crate::repository::{EngineOptions, Parameters, Repository, Secret, Target};
use crate::store::JobStore;
use crate::testkit::cloud::{Notebook, read_all, sample_graph};
use crate::testkit::{MemoryJobs, Seeded};

pub(super) struct Bench {
    pub(super) raksha: Raksha,
    pub(super) cloud: LocalCloud,
    pub(super) fate: Fate,
    pub(super) repository: Repository,
    pub(super) jobs: Arc<MemoryJobs>,
    pub(super) seeded: Seeded,
    _scratch: tempfile::TempDir,
}

impl Bench {
    /// The sample project, its disks full of what `seed` gives.
    pub(super) async fn new(seed: u64) -> Self {
        let mut bench = Self::empty(seed, new_repository().await).await;
        bench
            .cloud
            .add(sample_graph().unwrap(), Vec::new())
            .await
            .unwrap();
        for (disk, size) in bench.disks().await {
            bench
                .write(&disk, 0, usize::try_from(size / 2).unwrap())
                .await;
        }
        bench
    }

    /// A cloud with nothing in it, beside a repository.
    pub(super) async fn empty(seed: u64, repository: Repository) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let cloud = LocalCloud::create(scratch.path().join("cloud"), Env::system())
            .await
            .unwrap();
        let fate = Fate::default();
        let troubled = Troubled {
            cloud: cloud.clone(),
            fate: fate.clone(),
        };
        let jobs = Arc::new(MemoryJobs::new());
        let project = ProjectId::new("p");
        let raksha = Raksha::new(
            Cloud::new(troubled),
            repository.clone(),
            jobs.clone(),
            project,
        );
        Self {
            raksha: raksha.with_principal("somebody"),
            cloud,
            fate,
            repository,
            jobs,
            seeded: Seeded::new(seed),
            _scratch: scratch,
        }
    }

    pub(super) async fn disks(&self) -> Vec<(DiskId, u64)> {
        self.cloud.graph().await.unwrap().disks().unwrap()
    }

    /// Writes random bytes to a live disk.
    pub(super) async fn write(&mut self, disk: &DiskId, offset: u64, length: usize) {
        let bytes = Bytes::from(self.seeded.bytes(length));
        self.cloud.write_disk(disk, offset, bytes).await.unwrap();
    }

    /// A job for the whole project.
    pub(super) async fn job(&self) -> JobId {
        let job = NewJob::new("all", Selection(vec![ServerSelector::All]));
        self.raksha.create_job(job).await.unwrap()
    }

    pub(super) async fn run(&self, job: JobId) -> Result<RunReport> {
        self.raksha.run(job).await.unwrap().finish().await
    }

    /// What all live disks hold.
    pub(super) async fn contents(&self) -> Vec<(DiskId, Vec<u8>)> {
        let graph = self.cloud.graph().await.unwrap();
        let disks: Vec<DiskId> = graph.disks().unwrap().into_iter().map(|d| d.0).collect();
        let request = SnapshotRequest {
            graph: &graph,
            disks: &disks,
            consistency: Consistency::Crash,
            marker: "look",
            keep_anchor: false,
        };
        let notebook = Notebook::new();
        let set = self.cloud.snapshot(request, &notebook).await.unwrap();
        let mut contents = Vec::new();
        for disk in disks {
            let opened = self.cloud.open(&set, &disk, None, &notebook).await.unwrap();
            contents.push((disk, read_all(&*opened.reader).await.unwrap()));
        }
        for temporary in notebook.open() {
            self.cloud.release(&temporary).await.unwrap();
        }
        contents
    }

    /// How many snapshots the cloud holds.
    pub(super) fn snapshots(&self) -> usize {
        let folder = std::fs::read_dir(self.cloud.path().join("snapshots"));
        folder.map_or(0, Iterator::count)
    }

    /// How many things are recorded as to be released.
    pub(super) async fn recorded(&self) -> usize {
        self.jobs.temporaries(None).await.unwrap().len()
    }

    pub(super) async fn open_sessions(&self) -> u64 {
        self.repository.stats().await.unwrap().open_sessions
    }

    /// Asserts that nothing is in the cloud or in the repository's log that is only there for the time of a run, except `anchors`.
    pub(super) async fn assert_clean(&self, anchors: usize, when: &str) {
        assert_eq!(self.snapshots(), anchors, "snapshots in the cloud, {when}");
        assert_eq!(
            self.recorded().await,
            anchors,
            "recorded temporaries, {when}"
        );
        assert_eq!(self.open_sessions().await, 0, "open sessions, {when}");
    }
}

/// A repository in memory.
pub(super) async fn new_repository() -> Repository {
    let objects = Arc::new(object_store::memory::InMemory::new());
    let parameters = Parameters {
        segment_size: 1 << 20,
        pack_size: 1 << 20,
        ..Parameters::default()
    };
    let secret = Secret::key_file(&[7; 32]);
    let options = EngineOptions::default();
    Repository::create(Target::new(objects), parameters, &secret, options)
        .await
        .unwrap()
}

/// The graph with everything in a fixed order and without what differs between one cloud and another: ids are those of `report`'s
/// point again.
pub(super) fn as_in_the_point(mut graph: ResourceGraph, report: &RestoreReport) -> ResourceGraph {
    let mut back = IdMap::default();
    for created in &report.created {
        let here = ResourceKey::new(created.key.kind, created.id.as_str());
        back.insert(here, created.key.id.as_str());
    }
    let all_the_same = back.iter().all(|(here, there)| here.id == there);
    assert!(
        all_the_same,
        "into an empty cloud, resources keep their ids"
    );
    graph.servers.sort_by(|a, b| a.id.cmp(&b.id));
    graph.volumes.sort_by(|a, b| a.id.cmp(&b.id));
    graph.images.sort_by(|a, b| a.id.cmp(&b.id));
    graph.ports.sort_by(|a, b| a.id.cmp(&b.id));
    graph.networks.sort_by(|a, b| a.id.cmp(&b.id));
    graph.subnets.sort_by(|a, b| a.id.cmp(&b.id));
    graph.routers.sort_by(|a, b| a.id.cmp(&b.id));
    graph.security_groups.sort_by(|a, b| a.id.cmp(&b.id));
    graph.floating_ips.sort_by(|a, b| a.id.cmp(&b.id));
    for group in &mut graph.security_groups {
        group.rules.sort_by_key(|rule| format!("{rule:?}"));
    }
    graph
}

pub(super) fn server_key(id: &str) -> ResourceKey {
    ResourceKey::new(ResourceKind::Server, id)
}
