//! Cleaning up after runs and restores that died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::raksha::Raksha;
use super::temporaries::Left;
use crate::error::Result;
use crate::id::{PointId, RestoreId, RunId};
use crate::store::{BackupRun, RestoreOutcome, RestoreRun, RestoreState, RunOutcome, RunState};
use crate::time::Timestamp;

/// Which runs and restores are dead. Those that live in this process never are, and those that have ended always.
///
/// Declaring dead what lives costs the work that it did, and nothing else: it finds out and stops.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dead {
    /// None but those that have ended.
    Ended,
    /// Those that gave no sign of life for so long. They give one every five seconds, so a few minutes are plenty unless clocks
    /// disagree.
    SilentFor(Duration),
    /// All: nothing else works on the project's behalf.
    All,
}

/// What was cleaned up.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reaped {
    /// Runs that were found dead, as they are recorded now.
    pub runs: Vec<BackupRun>,
    /// Restores that were found dead, as they are recorded now.
    pub restores: Vec<RestoreRun>,
    /// How many things in the cloud were removed.
    pub released: usize,
    /// What could not be removed, and stays recorded.
    pub left: Vec<Left>,
}

impl Raksha {
    /// Ends the records of runs and restores that died, and removes what they, or others that could not clean up after themselves,
    /// left in the cloud. A run that died after its commit counts as succeeded.
    ///
    /// # Errors
    /// Those of the job store and the repository. What cannot be removed from the cloud is not an error but
    /// [left](Reaped::left).
    pub async fn reap(&self, dead: Dead) -> Result<Reaped> {
        let mut reaped = Reaped::default();
        self.bury_runs(&dead, &mut reaped).await?;
        self.bury_restores(&dead, &mut reaped).await?;

        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for (owner, _) in self.jobs.temporaries(None).await? {
            *owners.entry(owner).or_default() += 1;
        }
        let ended = |run: &BackupRun| run.state != RunState::Running;
        let runs = self.runs(None).await?;
        let with_rest: Vec<&BackupRun> = (runs.iter())
            .filter(|run| ended(run) && owners.contains_key(&run.id.to_string()))
            .collect();
        if !with_rest.is_empty() {
            let anchors = self.anchors().await?;
            for run in with_rest {
                let record = self.record_of(run.id, run.place.as_deref());
                let keep = |marker: &str| anchors.contains(&(run.id, marker.to_owned()));
                let released = record.release(self, |t| keep(&t.marker)).await;
                reaped.released += released.gone.len();
                reaped.left.extend(released.left);
            }
        }
        for restore in self.jobs.restores(&self.project).await? {
            let recorded = owners.contains_key(&restore.id.to_string());
            let unfinished = match &restore.state {
                RestoreState::Running => false,
                RestoreState::Ended { outcome, .. } => *outcome != RestoreOutcome::Succeeded,
            };
            if unfinished && (recorded || !restore.created.is_empty()) {
                let undone = self.undo_recorded(restore).await;
                reaped.released += undone.gone;
                reaped.left.extend(undone.left);
            }
        }
        Ok(reaped)
    }

    async fn bury_runs(&self, dead: &Dead, reaped: &mut Reaped) -> Result<()> {
        let now = self.env().now();
        let running = self.runs(None).await?.into_iter();
        let running = running.filter(|run| run.state == RunState::Running);
        let mut found: Vec<BackupRun> = running
            .filter(|run| is_dead(dead, run.seen, now) && !self.alive.contains(run.id))
            .collect();
        if found.is_empty() {
            return Ok(());
        }
        let committed: BTreeMap<RunId, PointId> = (self.points().await?.into_iter())
            .filter_map(|point| Some((point.summary.run?, point.id)))
            .collect();
        for run in &mut found {
            let outcome = match committed.get(&run.id) {
                Some(point) => RunOutcome::Succeeded { point: *point },
                None => RunOutcome::interrupted(),
            };
            run.state = RunState::Ended { at: now, outcome };
            self.jobs.update_run(run).await?;
        }
        reaped.runs = found;
        Ok(())
    }

    async fn bury_restores(&self, dead: &Dead, reaped: &mut Reaped) -> Result<()> {
        let now = self.env().now();
        for mut restore in self.jobs.restores(&self.project).await? {
            let running = restore.state == RestoreState::Running;
            if running && is_dead(dead, restore.seen, now) && !self.alive.contains(restore.id) {
                let outcome = RestoreOutcome::Failed {
                    error: "interrupted".to_owned(),
                };
                restore.state = RestoreState::Ended { at: now, outcome };
                self.jobs.update_restore(&restore).await?;
                reaped.restores.push(restore);
            }
        }
        Ok(())
    }

    /// The anchors that the next run of some job may count from, by run and marker.
    async fn anchors(&self) -> Result<BTreeSet<(RunId, String)>> {
        let points = self.points().await?;
        let mut anchors = BTreeSet::new();
        for job in self.jobs().await? {
            let of_job = points
                .iter()
                .filter(|point| point.summary.job == Some(job.id));
            let Some(newest) = of_job.max_by_key(|point| point.summary.taken) else {
                continue;
            };
            let Some(run) = newest.summary.run else {
                continue;
            };
            for disk in self.repository.point(newest.id).await?.disks {
                if let Some(anchor) = disk.anchor {
                    anchors.insert((run, anchor.temporary.marker));
                }
            }
        }
        Ok(anchors)
    }

    /// A restore by its id.
    pub async fn restore_record(&self, id: RestoreId) -> Result<RestoreRun> {
        self.jobs.restore(&self.project, id).await
    }

    /// All restores of the project, the newest first.
    pub async fn restores(&self) -> Result<Vec<RestoreRun>> {
        self.jobs.restores(&self.project).await
    }
}

fn is_dead(dead: &Dead, seen: Timestamp, now: Timestamp) -> bool {
    match dead {
        Dead::Ended => false,
        Dead::SilentFor(silence) => now.since(seen) >= *silence,
        Dead::All => true,
    }
}
