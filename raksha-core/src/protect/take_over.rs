//! Taking over the runs of workers that died.

use super::raksha::Raksha;
use crate::error::{Kind, Result};
use crate::id::{PointId, RunId};
use crate::store::{BackupRun, Lease, RunOutcome, RunState};

impl Raksha {
    /// Finds out what became of the runs that others began for the due run of `lease`, and sees to it that they can commit nothing any more. Gives them, the latest
    /// first, as they are recorded now; those that died are ended, as succeeded if they had committed.
    ///
    /// That nothing happens twice rests on the order: the lease is ours, so that no such run can begin, and none can open a session and go on with it.
    /// Sessions that were opened before are fenced off. What was committed before that is found after it.
    ///
    /// # Errors
    /// Those of the job store and the repository.
    pub async fn take_over(&self, lease: &Lease) -> Result<Vec<BackupRun>> {
        let mut earlier = Vec::new();
        let begun: Vec<RunId> = lease.earlier_runs().collect();
        for run in begun {
            match self.jobs.run(&self.project, run).await {
                Ok(record) => earlier.push(record),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let died = |record: &BackupRun| match &record.state {
            RunState::Running => true,
            RunState::Ended { outcome, .. } => outcome.is_interrupted(),
        };
        for record in &mut earlier {
            if !died(record) {
                continue;
            }
            self.fence_off(record.id).await?;
            let outcome = match self.committed(record.id).await? {
                Some(point) => RunOutcome::Succeeded { point },
                None => RunOutcome::interrupted(),
            };
            let running = record.state == RunState::Running;
            let at = self.env().now();
            record.state = RunState::Ended { at, outcome };
            if running {
                match self.jobs.update_run(record).await {
                    // It ended by itself meanwhile, or somebody cleaned up; what it committed is known by now.
                    Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
                    updated => updated?,
                }
            }
        }
        Ok(earlier)
    }

    /// Fences off the sessions of a run.
    async fn fence_off(&self, run: RunId) -> Result<()> {
        let who = session_of(run);
        for session in self.repository.sessions().await? {
            if session.by != who {
                continue;
            }
            match self
                .repository
                .fence(session.id, &format!("who took {who} over"))
                .await
            {
                // It was closed in this moment.
                Err(error) if error.kind() == Kind::NotFound => {}
                fenced => fenced?,
            }
        }
        Ok(())
    }

    /// The point that a run committed.
    async fn committed(&self, run: RunId) -> Result<Option<PointId>> {
        let points = self.points().await?;
        let committed = points.iter().find(|point| point.summary.run == Some(run));
        Ok(committed.map(|point| point.id))
    }
}

/// As whom a run opens its sessions.
pub(super) fn session_of(run: RunId) -> String {
    format!("run {run}")
}
