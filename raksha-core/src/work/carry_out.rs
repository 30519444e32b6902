//! One run that was due, from its lease to its end.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::FutureExt;

use super::Worker;
use super::event::Happening;
use super::plan::assess;
use crate::authority::{Standing, lost};
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RunId};
use crate::protect::{Dead, Raksha};
use crate::repository::VerifyOptions;
use crate::retention::Point;
use crate::schedule::{Admission, MissReason};
use crate::store::{BackupJob, DueEnd, Lease, RunOutcome, RunState, VerifiedPoint};

/// How long a run that could not begin waits until it is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// What becomes of a due run.
enum Next {
    /// It is settled.
    End(DueEnd),
    /// It was given back.
    GivenBack,
}

impl Worker {
    /// Brings a due run to its end, renewing its lease meanwhile.
    pub(super) async fn carry_out(&self, lease: Lease) -> Result<()> {
        let work = async {
            match self.decide(&lease).await? {
                Next::End(end) => self.store.settle(&lease, &end).await,
                Next::GivenBack => Ok(()),
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            never = self.keep(&lease) => match never {},
        }
    }

    /// Renews the lease for ever. That it was taken over is not looked at here: a run finds out and stops by itself, after it has cleaned up.
    async fn keep(&self, lease: &Lease) -> Infallible {
        loop {
            tokio::time::sleep(self.options.lease / 3).await;
            if let Err(error) = self.store.renew(lease, self.options.lease).await {
                tracing::debug!(%error, "the lease was not renewed");
            }
        }
    }

    async fn decide(&self, lease: &Lease) -> Result<Next> {
        let missed = |reason| Ok(Next::End(DueEnd::Missed { reason }));
        let job = match self.store.job(&lease.project, lease.job).await {
            Ok(job) => job,
            Err(error) if error.kind() == Kind::NotFound => return missed(MissReason::JobDeleted),
            Err(error) => return Err(error),
        };
        let Some(schedule) = &job.schedule else {
            return missed(MissReason::Unscheduled);
        };
        match self.look_at_authority(&job).await {
            Ok(Some(Standing::Lost { reason, remedy })) => {
                return self
                    .not_begun(&job, lease, lost(&job, &reason, &remedy))
                    .await;
            }
            Ok(_) => {}
            Err(error) => return self.not_begun(&job, lease, error).await,
        }
        let raksha = match self.projects.open(&job).await {
            Ok(raksha) => raksha,
            Err(error) => return self.not_begun(&job, lease, error).await,
        };
        let earlier = match lease.token {
            0 | 1 => Vec::new(),
            _ => raksha.take_over(lease).await?,
        };
        if let Some(latest) = earlier.first() {
            self.say(
                &job,
                Happening::TakenOver {
                    due: lease.due,
                    run: latest.id,
                },
            );
        }
        for run in &earlier {
            if let RunState::Ended { outcome, .. } = &run.state
                && !outcome.is_interrupted()
            {
                return self
                    .ended(&raksha, &job, lease, run.id, outcome.clone())
                    .await;
            }
        }
        if let Some(latest) = earlier.first()
            && earlier.len() >= self.options.attempts.max(1)
        {
            let error = format!(
                "its worker died each of the {} times that it was begun",
                earlier.len()
            );
            return self
                .ended(
                    &raksha,
                    &job,
                    lease,
                    latest.id,
                    RunOutcome::Failed { error },
                )
                .await;
        }
        if !earlier.is_empty()
            && let Err(error) = raksha.reap(Dead::Ended).await
        {
            self.trouble(&job, "cleaning up after a worker that died", &error);
        }
        match schedule.admit(job.id, lease.due, self.store.now().await?) {
            Admission::Start => {}
            Admission::Wait(until) => {
                self.store.postpone(lease, until).await?;
                self.say(
                    &job,
                    Happening::Postponed {
                        due: lease.due,
                        until,
                        error: None,
                    },
                );
                return Ok(Next::GivenBack);
            }
            // One that was begun is brought to its end.
            Admission::Miss(_) if !earlier.is_empty() => {}
            Admission::Miss(reason) => {
                self.say(
                    &job,
                    Happening::Missed {
                        due: lease.due,
                        reason,
                    },
                );
                return missed(reason);
            }
        }
        self.run(&raksha, &job, lease).await
    }

    async fn run(&self, raksha: &Raksha, job: &BackupJob, lease: &Lease) -> Result<Next> {
        let handle = match raksha.run_due(lease, self.options.lease).await {
            Ok(handle) => handle,
            Err(error) if error.kind() == Kind::Fenced => return Err(error),
            Err(error) => return self.not_begun(job, lease, error).await,
        };
        let run = handle.id();
        self.say(
            job,
            Happening::Began {
                due: lease.due,
                run,
            },
        );
        // Boxed, since the compiler does not see through so many layers that it can be sent to another thread.
        let outcome = match handle.finish().boxed().await {
            Ok(report) => RunOutcome::Succeeded {
                point: report.point,
            },
            Err(error) => match error.kind() {
                // What is recorded is what others go by.
                Kind::Fenced | Kind::Conflict | Kind::Cancelled => {
                    match self.store.run(&lease.project, run).await?.state {
                        RunState::Ended { outcome, .. } => outcome,
                        RunState::Running => RunOutcome::Failed {
                            error: error.to_string(),
                        },
                    }
                }
                _ => RunOutcome::Failed {
                    error: error.to_string(),
                },
            },
        };
        if outcome.is_interrupted() {
            // Somebody took it for dead while it lived. It counts as one more that died, and is begun anew.
            self.store.postpone(lease, self.store.now().await?).await?;
            return Ok(Next::GivenBack);
        }
        self.ended(raksha, job, lease, run, outcome).await
    }

    /// What follows when a run has ended.
    async fn ended(
        &self,
        raksha: &Raksha,
        job: &BackupJob,
        lease: &Lease,
        run: RunId,
        outcome: RunOutcome,
    ) -> Result<Next> {
        // Nothing is told, and no point forgotten, by somebody whose run is another's.
        self.store.renew(lease, self.options.lease).await?;
        self.say(
            job,
            Happening::Ended {
                due: lease.due,
                run,
                outcome: outcome.clone(),
            },
        );
        if let RunOutcome::Succeeded { point } = outcome {
            self.follow_up(raksha, job, point).await;
        }
        Ok(Next::End(DueEnd::Ran { run, outcome }))
    }

    /// What follows on a new point of a job, also if somebody asked for the run: it is verified, the objective is brought up to date, and points of the job
    /// that expire are forgotten. What fails is told.
    pub async fn follow_up(&self, raksha: &Raksha, job: &BackupJob, point: PointId) {
        if let Err(error) = self.verify(raksha, job, point).await {
            self.trouble(job, "verifying the new point", &error);
        }
        if let Err(error) = self.expire(raksha, job).await {
            self.trouble(job, "forgetting points that expired", &error);
        }
    }

    /// A run that could not begin: tried again, if that can help.
    async fn not_begun(&self, job: &BackupJob, lease: &Lease, error: Error) -> Result<Next> {
        let text = error.to_string();
        if error.is_retryable() {
            let until = self.store.now().await?.after(RETRY);
            self.store.postpone(lease, until).await?;
            self.say(
                job,
                Happening::Postponed {
                    due: lease.due,
                    until,
                    error: Some(text),
                },
            );
            return Ok(Next::GivenBack);
        }
        self.say(
            job,
            Happening::Failed {
                due: lease.due,
                error: text.clone(),
            },
        );
        Ok(Next::End(DueEnd::Failed { error: text }))
    }

    /// Verifies a point, and brings the state of the objective up to date.
    async fn verify(&self, raksha: &Raksha, job: &BackupJob, point: PointId) -> Result<()> {
        let listed = raksha.points().await?;
        let Some(taken) = listed
            .iter()
            .find(|p| p.id == point)
            .map(|p| p.summary.taken)
        else {
            // Forgotten again already, as it may be at any time from here on.
            return Ok(());
        };
        let mut options = VerifyOptions::default();
        options.points = Some(vec![point]);
        options.sample = self.options.verify_sample;
        let found = raksha.repository().verify(&options).await;
        if !raksha.points().await?.iter().any(|p| p.id == point) {
            return Ok(());
        }
        let found = found?;
        let mut damage = found.damage.iter();
        if let Some(damage) =
            damage.find(|damage| damage.hurts.iter().any(|hurt| hurt.point == point))
        {
            let damage = damage.to_string();
            self.say(job, Happening::Damaged { point, damage });
            return Ok(());
        }
        self.say(job, Happening::Verified { point });
        loop {
            let now = self.store.now().await?;
            let mut tracking = match self.store.tracking(&job.project, job.id).await {
                Ok(tracking) => tracking,
                Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            // What happened before this is known comes first.
            let (mut transitions, _) = assess(&mut tracking, now);
            let known = tracking.protection.verified;
            // Clouds may tell the time by the second: of two points of one second, the one that was verified later counts.
            if known.is_none_or(|known| known.taken <= taken) {
                let verified = VerifiedPoint {
                    point,
                    taken,
                    verified: now,
                };
                tracking.protection.verified = Some(verified);
            }
            let (more, change) = assess(&mut tracking, now);
            transitions.extend(more);
            tracking.look_at = [tracking.look_at, change].into_iter().flatten().min();
            if self.store.update_tracking(&tracking).await? {
                self.say_transitions(&tracking, transitions);
                return Ok(());
            }
        }
    }

    /// Forgets the points of the job that expired.
    async fn expire(&self, raksha: &Raksha, job: &BackupJob) -> Result<()> {
        let mut refused = Vec::new();
        loop {
            let expired = self.expired(raksha, job).await?;
            if expired.is_empty() {
                return Ok(());
            }
            match raksha.forget(&expired).await {
                Ok(()) => {
                    self.say(job, Happening::Expired { points: expired });
                    return Ok(());
                }
                // Another worker forgot some of them meanwhile, or somebody holds one now: what remains is decided anew.
                Err(error)
                    if matches!(error.kind(), Kind::NotFound | Kind::Denied)
                        && expired != refused =>
                {
                    refused = expired;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The points of the job that have expired, by the rule that it has now: since the run began, somebody may have asked for more of them to be kept.
    async fn expired(&self, raksha: &Raksha, job: &BackupJob) -> Result<Vec<PointId>> {
        let retention = match self.store.job(&job.project, job.id).await {
            Ok(job) => job.retention,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if retention.keeps_everything() {
            return Ok(Vec::new());
        }
        let verified = self
            .store
            .tracking(&job.project, job.id)
            .await?
            .protection
            .verified;
        let points = raksha.points().await?;
        let of_job = points
            .iter()
            .filter(|point| point.summary.job == Some(job.id));
        let of_job: Vec<Point<PointId>> = of_job
            .map(|point| Point {
                id: point.id,
                taken: point.summary.taken,
                held: point.held,
                verified: verified.is_some_and(|verified| verified.point == point.id),
            })
            .collect();
        let decisions = retention.decide(&of_job, self.store.now().await?);
        Ok(decisions.expired().collect())
    }
}
