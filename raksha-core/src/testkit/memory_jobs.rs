//! A job store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::memory_queue::Tracked;
use crate::authority::Delegation;
use crate::cloud::Temporary;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, JobId, ProjectId, RestoreId, RunId};
use crate::store::{BackupJob, BackupRun, DueRun, JobStore, RestoreRun, RestoreState, RunState};
use crate::time::Timestamp;

/// Keeps jobs, runs, restores, temporaries and due runs for as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryJobs {
    held: Mutex<Held>,
    pub(super) env: Env,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) jobs: BTreeMap<JobId, BackupJob>,
    pub(super) tracked: BTreeMap<JobId, Tracked>,
    /// In the order of creation, as are the next two.
    runs: Vec<BackupRun>,
    restores: Vec<RestoreRun>,
    temporaries: Vec<(String, Temporary)>,
    /// In the order of creation.
    pub(super) delegations: Vec<Delegation>,
    pub(super) due: BTreeMap<(JobId, Timestamp), DueRun>,
    /// Whose turn it was last: the higher, the later.
    pub(super) served: BTreeMap<ProjectId, u64>,
}

impl MemoryJobs {
    /// An empty one, whose clock is the system's.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one, whose clock is that of `env`.
    pub fn with_env(env: Env) -> Self {
        Self {
            env,
            ..Self::default()
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(super) fn job(&self, project: &ProjectId, id: JobId) -> Result<&BackupJob> {
        let job = self.jobs.get(&id).filter(|job| job.project == *project);
        job.ok_or_else(|| not_found("job", id))
    }

    pub(super) fn delegation(&self, project: &ProjectId, id: DelegationId) -> Result<&Delegation> {
        let mut own = self.delegations.iter();
        let found = own.find(|one| one.id == id && one.project == *project);
        found.ok_or_else(|| not_found("delegation", id))
    }

    pub(super) fn create_run(&mut self, run: &BackupRun) -> Result<()> {
        self.job(&run.project, run.job)?;
        if self.runs.iter().any(|known| known.id == run.id) {
            return Err(taken("run", run.id));
        }
        self.runs.push(run.clone());
        Ok(())
    }
}

pub(super) fn not_found(what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotFound, "look up", "the project has none of this id").with(what, id)
}

pub(super) fn taken(what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(Kind::AlreadyExists, "store", "there is one already").with(what, id)
}

fn ended(what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(Kind::Conflict, "update", "it has ended already")
        .with(what, id)
        .retryable(false)
}

/// The newest first: by when they began and, within one instant, by when they were stored.
fn newest_first<T>(mut all: Vec<T>, started: impl Fn(&T) -> Timestamp) -> Vec<T> {
    all.reverse();
    all.sort_by_key(|one| std::cmp::Reverse(started(one)));
    all
}

#[async_trait]
impl JobStore for MemoryJobs {
    async fn create_job(&self, job: &BackupJob) -> Result<()> {
        let mut held = self.lock();
        let same_name = |other: &BackupJob| other.project == job.project && other.name == job.name;
        if held.jobs.contains_key(&job.id) || held.jobs.values().any(same_name) {
            return Err(taken("job", &job.name));
        }
        if let Some(id) = job.delegation {
            held.delegation(&job.project, id)?;
        }
        held.tracked.insert(job.id, Tracked::new(job));
        held.jobs.insert(job.id, job.clone());
        Ok(())
    }

    async fn job(&self, project: &ProjectId, id: JobId) -> Result<BackupJob> {
        self.lock().job(project, id).cloned()
    }

    async fn projects(&self) -> Result<Vec<ProjectId>> {
        let held = self.lock();
        let of_jobs = held.jobs.values().map(|job| &job.project);
        let of_runs = held.runs.iter().map(|run| &run.project);
        let of_restores = held.restores.iter().map(|restore| &restore.project);
        let all: BTreeSet<&ProjectId> = of_jobs.chain(of_runs).chain(of_restores).collect();
        Ok(all.into_iter().cloned().collect())
    }

    async fn jobs(&self, project: &ProjectId) -> Result<Vec<BackupJob>> {
        let held = self.lock();
        let own = held.jobs.values().filter(|job| job.project == *project);
        let mut jobs: Vec<_> = own.cloned().collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(jobs)
    }

    async fn update_job(&self, job: &BackupJob) -> Result<()> {
        let now = self.env.now();
        let mut held = self.lock();
        let known = held.tracked(held.job(&job.project, job.id)?)?;
        let others = |other: &BackupJob| {
            other.id != job.id && other.project == job.project && other.name == job.name
        };
        if held.jobs.values().any(others) {
            return Err(taken("job", &job.name));
        }
        if let Some(id) = job.delegation {
            held.delegation(&job.project, id)?;
        }
        let next = known.replaced(job, now);
        held.tracked.insert(job.id, Tracked::after(&next));
        held.jobs.insert(job.id, next.job);
        Ok(())
    }

    async fn delete_job(&self, project: &ProjectId, id: JobId) -> Result<()> {
        let mut held = self.lock();
        held.job(project, id)?;
        let under_way = |run: &BackupRun| run.job == id && run.state == RunState::Running;
        if held.runs.iter().any(under_way) {
            return Err(Error::new(
                Kind::Conflict,
                "delete job",
                "one of its runs is under way: wait for its end or cancel it",
            )
            .with("job", id));
        }
        held.jobs.remove(&id);
        held.tracked.remove(&id);
        Ok(())
    }

    async fn create_run(&self, run: &BackupRun) -> Result<()> {
        self.lock().create_run(run)
    }

    async fn update_run(&self, run: &BackupRun) -> Result<()> {
        let mut held = self.lock();
        let mut runs = held.runs.iter_mut();
        let known = runs
            .find(|known| known.id == run.id && known.project == run.project)
            .ok_or_else(|| not_found("run", run.id))?;
        if known.state != RunState::Running {
            return Err(ended("run", run.id));
        }
        *known = run.clone();
        Ok(())
    }

    async fn run(&self, project: &ProjectId, id: RunId) -> Result<BackupRun> {
        let held = self.lock();
        let mut runs = held.runs.iter();
        let run = runs.find(|run| run.id == id && run.project == *project);
        run.cloned().ok_or_else(|| not_found("run", id))
    }

    async fn runs(&self, project: &ProjectId, job: Option<JobId>) -> Result<Vec<BackupRun>> {
        let held = self.lock();
        let wanted =
            |run: &&BackupRun| run.project == *project && job.is_none_or(|job| run.job == job);
        let runs = held.runs.iter().filter(wanted).cloned().collect();
        Ok(newest_first(runs, |run: &BackupRun| run.started))
    }

    async fn create_restore(&self, restore: &RestoreRun) -> Result<()> {
        let mut held = self.lock();
        if held.restores.iter().any(|known| known.id == restore.id) {
            return Err(taken("restore", restore.id));
        }
        held.restores.push(restore.clone());
        Ok(())
    }

    async fn update_restore(&self, restore: &RestoreRun) -> Result<()> {
        let mut held = self.lock();
        let mut restores = held.restores.iter_mut();
        let known = restores
            .find(|known| known.id == restore.id && known.project == restore.project)
            .ok_or_else(|| not_found("restore", restore.id))?;
        if known.state != RestoreState::Running && known.state != restore.state {
            return Err(ended("restore", restore.id));
        }
        *known = restore.clone();
        Ok(())
    }

    async fn restore(&self, project: &ProjectId, id: RestoreId) -> Result<RestoreRun> {
        let held = self.lock();
        let mut restores = held.restores.iter();
        let restore = restores.find(|restore| restore.id == id && restore.project == *project);
        restore.cloned().ok_or_else(|| not_found("restore", id))
    }

    async fn restores(&self, project: &ProjectId) -> Result<Vec<RestoreRun>> {
        let held = self.lock();
        let own = held.restores.iter().filter(|r| r.project == *project);
        Ok(newest_first(own.cloned().collect(), |r: &RestoreRun| {
            r.started
        }))
    }

    async fn record_temporary(&self, owner: &str, temporary: &Temporary) -> Result<()> {
        let mut held = self.lock();
        let mut all = held.temporaries.iter_mut();
        let known = all.find(|(by, known)| by == owner && known.marker == temporary.marker);
        match known {
            Some((_, known)) => *known = temporary.clone(),
            None => held.temporaries.push((owner.to_owned(), temporary.clone())),
        }
        Ok(())
    }

    async fn forget_temporary(&self, owner: &str, marker: &str) -> Result<()> {
        let mut held = self.lock();
        (held.temporaries).retain(|(by, known)| by != owner || known.marker != marker);
        Ok(())
    }

    async fn temporaries(&self, owner: Option<&str>) -> Result<Vec<(String, Temporary)>> {
        let held = self.lock();
        let all = held.temporaries.iter();
        let wanted = all.filter(|(by, _)| owner.is_none_or(|owner| by == owner));
        Ok(wanted.cloned().collect())
    }
}
