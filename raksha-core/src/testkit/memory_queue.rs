//! The queue of due runs in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::memory_jobs::{Held, MemoryJobs, not_found};
use crate::error::{Error, Kind, Result};
use crate::id::{JobId, ProjectId};
use crate::store::{
    BackupJob, BackupRun, DueEnd, DueRun, DueState, Lease, Limits, Placement, Protection, RunQueue,
    Tracking,
};
use crate::time::Timestamp;

/// What is known of a job beside itself.
#[derive(Debug)]
pub(super) struct Tracked {
    planned: Timestamp,
    look_at: Option<Timestamp>,
    protection: Protection,
    revision: u64,
}

impl Tracked {
    pub(super) fn new(job: &BackupJob) -> Self {
        Self {
            planned: job.created,
            look_at: job.is_tracked().then_some(job.created),
            protection: Protection::default(),
            revision: 0,
        }
    }

    /// What `tracking` says, counted up.
    pub(super) fn after(tracking: &Tracking) -> Self {
        Self {
            planned: tracking.planned,
            look_at: tracking.look_at,
            protection: tracking.protection.clone(),
            revision: tracking.revision + 1,
        }
    }

    fn of(&self, job: &BackupJob) -> Tracking {
        Tracking {
            job: job.clone(),
            planned: self.planned,
            look_at: self.look_at,
            protection: self.protection.clone(),
            revision: self.revision,
        }
    }
}

fn fenced(lease: &Lease) -> Error {
    let message = "somebody else has taken this run over, or it has ended: leave it to them";
    Error::new(Kind::Fenced, "use lease", message)
        .with("job", lease.job)
        .with("due", lease.due)
}

impl Held {
    /// The due run of a lease that is still good.
    fn leased(&mut self, lease: &Lease) -> Result<&mut DueRun> {
        let due = self.due.get_mut(&(lease.job, lease.due));
        let due = due
            .filter(|due| due.token == lease.token && matches!(due.state, DueState::Leased { .. }));
        due.ok_or_else(|| fenced(lease))
    }

    pub(super) fn tracked(&self, job: &BackupJob) -> Result<Tracking> {
        let tracked = self
            .tracked
            .get(&job.id)
            .ok_or_else(|| not_found("job", job.id))?;
        Ok(tracked.of(job))
    }
}

/// What is leased at an instant.
#[derive(Default)]
struct Busy<'a> {
    projects: BTreeMap<&'a ProjectId, u32>,
    clouds: BTreeMap<&'a str, u32>,
    targets: BTreeMap<&'a str, u32>,
    jobs: BTreeMap<JobId, u32>,
}

impl<'a> Busy<'a> {
    fn at(now: Timestamp, due: impl Iterator<Item = &'a DueRun>) -> Self {
        let mut busy = Self::default();
        for one in
            due.filter(|one| matches!(one.state, DueState::Leased { until, .. } if until > now))
        {
            let Placement { cloud, target } = &one.placement;
            *busy.projects.entry(&one.project).or_default() += 1;
            *busy.clouds.entry(cloud).or_default() += 1;
            *busy.targets.entry(target).or_default() += 1;
            *busy.jobs.entry(one.job).or_default() += 1;
        }
        busy
    }

    fn of_project(&self, project: &ProjectId) -> u32 {
        self.projects.get(project).copied().unwrap_or(0)
    }

    fn admits(&self, one: &DueRun, limits: &Limits) -> bool {
        let below = |busy: Option<&u32>, limit: Option<u32>| {
            limit.is_none_or(|limit| busy.copied().unwrap_or(0) < limit)
        };
        below(self.projects.get(&one.project), limits.per_project)
            && below(
                self.clouds.get(one.placement.cloud.as_str()),
                limits.per_cloud,
            )
            && below(
                self.targets.get(one.placement.target.as_str()),
                limits.per_target,
            )
            && below(self.jobs.get(&one.job), Some(one.max_parallel))
    }
}

#[async_trait]
impl RunQueue for MemoryJobs {
    async fn now(&self) -> Result<Timestamp> {
        Ok(self.env.now())
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Tracking>> {
        let now = self.env.now();
        let held = self.lock();
        let overdue = held
            .tracked
            .iter()
            .filter(|(_, tracked)| tracked.look_at.is_some_and(|at| at <= now));
        let mut overdue: Vec<Tracking> = overdue
            .filter_map(|(id, tracked)| Some(tracked.of(held.jobs.get(id)?)))
            .collect();
        overdue.sort_by_key(|tracking| (tracking.look_at, tracking.job.id));
        overdue.truncate(limit);
        Ok(overdue)
    }

    async fn tracking(&self, project: &ProjectId, job: JobId) -> Result<Tracking> {
        let held = self.lock();
        held.tracked(held.job(project, job)?)
    }

    async fn update_tracking(&self, tracking: &Tracking) -> Result<bool> {
        let mut held = self.lock();
        let tracked = held.tracked.get_mut(&tracking.job.id);
        let Some(tracked) = tracked.filter(|tracked| tracked.revision == tracking.revision) else {
            return Ok(false);
        };
        *tracked = Tracked::after(tracking);
        Ok(true)
    }

    async fn queue(&self, due: &[DueRun]) -> Result<()> {
        let mut held = self.lock();
        for one in due {
            held.due
                .entry((one.job, one.due))
                .or_insert_with(|| one.clone());
        }
        Ok(())
    }

    async fn take(&self, worker: &str, lease: Duration, limits: &Limits) -> Result<Option<Lease>> {
        let now = self.env.now();
        let mut held = self.lock();
        let busy = Busy::at(now, held.due.values());
        let free = held.due.values().filter(|one| match &one.state {
            DueState::Waiting => one.ready <= now,
            DueState::Leased { until, .. } => *until <= now,
            DueState::Ended { .. } => false,
        });
        let next = free
            .filter(|one| busy.admits(one, limits))
            .min_by_key(|one| {
                let served = held.served.get(&one.project);
                (
                    busy.of_project(&one.project),
                    served,
                    one.ready,
                    one.due,
                    one.job,
                )
            });
        let Some(key) = next.map(|one| (one.job, one.due)) else {
            return Ok(None);
        };
        let turn = held.served.values().max().map_or(1, |turn| turn + 1);
        let until = now.after(lease);
        let Some(one) = held.due.get_mut(&key) else {
            return Ok(None);
        };
        one.token += 1;
        one.state = DueState::Leased {
            worker: worker.to_owned(),
            until,
        };
        let taken = Lease {
            job: one.job,
            project: one.project.clone(),
            due: one.due,
            token: one.token,
            until,
        };
        held.served.insert(taken.project.clone(), turn);
        Ok(Some(taken))
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Lease> {
        let renewed = self.env.now().after(duration);
        let mut held = self.lock();
        if let DueState::Leased { until, .. } = &mut held.leased(lease)?.state {
            *until = renewed;
        }
        Ok(Lease {
            until: renewed,
            ..lease.clone()
        })
    }

    async fn start_run(&self, lease: &Lease, run: &BackupRun) -> Result<()> {
        let mut held = self.lock();
        held.leased(lease)?;
        held.create_run(run)
    }

    async fn postpone(&self, lease: &Lease, ready: Timestamp) -> Result<()> {
        let mut held = self.lock();
        let one = held.leased(lease)?;
        one.ready = ready;
        one.state = DueState::Waiting;
        Ok(())
    }

    async fn settle(&self, lease: &Lease, end: &DueEnd) -> Result<()> {
        let at = self.env.now();
        let mut held = self.lock();
        let one = held
            .due
            .get(&(lease.job, lease.due))
            .filter(|one| one.token == lease.token);
        if matches!(one.map(|one| &one.state), Some(DueState::Ended { end: known, .. }) if known == end)
        {
            return Ok(());
        }
        held.leased(lease)?.state = DueState::Ended {
            at,
            end: end.clone(),
        };
        Ok(())
    }

    async fn due_runs(
        &self,
        project: &ProjectId,
        job: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<DueRun>> {
        let held = self.lock();
        let wanted = held
            .due
            .values()
            .filter(|one| one.project == *project && job.is_none_or(|job| one.job == job));
        let mut wanted: Vec<DueRun> = wanted.cloned().collect();
        wanted.sort_by_key(|one| Reverse((one.due, one.job)));
        wanted.truncate(limit);
        Ok(wanted)
    }
}
