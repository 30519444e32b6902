//! A restore: planned, begun, watched, cancelled, brought to its end and recorded.

use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::Mutex;
use tracing::Instrument;

use super::alive::AliveGuard;
use super::cancel::{Cancel, Stop};
use super::event::{Events, Feed, Phase, Warning};
use super::gauge::Gauge;
use super::plan::RestorePlan;
use super::raksha::Raksha;
use super::rebuild::Rebuild;
use super::run::BEAT;
use super::scope::RestoreOptions;
use crate::cloud::{Created, RestoreRequest};
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RestoreId, RunId};
use crate::point::RecoveryPoint;
use crate::store::{DiskProgress, RestoreOutcome, RestoreRun, RestoreState, RunOutcome, RunState};

/// What to restore: a recovery point, or what a run made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreFrom {
    /// A point.
    Point(PointId),
    /// The point of a run.
    Run(RunId),
}

impl From<PointId> for RestoreFrom {
    fn from(point: PointId) -> Self {
        Self::Point(point)
    }
}

impl From<RunId> for RestoreFrom {
    fn from(run: RunId) -> Self {
        Self::Run(run)
    }
}

/// A restore that was recorded and has begun, and goes on while [`finish`](Self::finish) is awaited.
///
/// Dropping it, or the future of `finish`, is an interruption like a crash: what was created stays there until
/// [`Raksha::undo_restore`] or [`Raksha::reap`] removes it. To stop properly, use [`cancel`](Self::cancel).
#[derive(Debug)]
pub struct RestoreHandle {
    raksha: Raksha,
    plan: RestorePlan,
    point: RecoveryPoint,
    request: RestoreRequest,
    cancel: Cancel,
    feed: Feed,
    id: RestoreId,
    journal: Journal,
    _alive: AliveGuard,
}

/// A restore that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The restore.
    pub restore: RestoreId,
    /// What was restored.
    pub point: PointId,
    /// What was created, in order.
    pub created: Vec<Created>,
    /// What its owner should know.
    pub warnings: Vec<Warning>,
}

/// The record of a restore: changed by one at a time, written before the next step begins.
#[derive(Debug)]
pub(super) struct Journal {
    raksha: Raksha,
    run: Mutex<RestoreRun>,
}

impl Journal {
    /// Changes the record, in the store first.
    pub(super) async fn change(&self, change: impl FnOnce(&mut RestoreRun)) -> Result<()> {
        let mut held = self.run.lock().await;
        let mut next = held.clone();
        next.seen = self.raksha.env().now();
        change(&mut next);
        self.raksha.jobs.update_restore(&next).await?;
        *held = next;
        Ok(())
    }
}

impl Raksha {
    /// The point that `from` means.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, saying how the run ended if that is why.
    pub async fn resolve(&self, from: impl Into<RestoreFrom>) -> Result<PointId> {
        let run = match from.into() {
            RestoreFrom::Point(point) => return Ok(point),
            RestoreFrom::Run(run) => run,
        };
        let points = self.points().await?;
        if let Some(point) = points.into_iter().find(|p| p.summary.run == Some(run)) {
            return Ok(point.id);
        }
        let why = match self.run_record(run).await?.state {
            RunState::Running => "the run has not ended yet".to_owned(),
            RunState::Ended { outcome, .. } => match outcome {
                RunOutcome::Succeeded { .. } => "its recovery point was forgotten".to_owned(),
                RunOutcome::Failed { error } => format!("the run failed: {error}"),
                RunOutcome::Cancelled => "the run was cancelled".to_owned(),
            },
        };
        Err(Error::new(Kind::NotFound, "find the run's recovery point", why).with("run", run))
    }

    /// Compares a point, or what a run made, with the live cloud and says what restoring it would do. Nothing changes.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has no such point or run, or the point no such server. What the cloud has against it is in the
    /// plan: see [`RestorePlan::check`].
    pub async fn plan_restore(
        &self,
        from: impl Into<RestoreFrom>,
        options: RestoreOptions,
    ) -> Result<RestorePlan> {
        let id = self.resolve(from).await?;
        let point = self.point(id).await?;
        self.survey(id, &point, &options)
            .await
            .map(|(plan, _)| plan)
    }

    async fn survey(
        &self,
        id: PointId,
        point: &RecoveryPoint,
        options: &RestoreOptions,
    ) -> Result<(RestorePlan, RestoreRequest)> {
        let request = RestorePlan::request(point, options)?;
        let survey = self.cloud.restorer.survey(&request).await?;
        Ok((RestorePlan::new(id, point, &survey, options)?, request))
    }

    /// Begins to carry out a plan: the restore is recorded when this returns, and goes on while [`RestoreHandle::finish`] is awaited.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] or [`Kind::Invalid`] if something [stands in the way](RestorePlan::check), [`Kind::Conflict`] if the
    /// live cloud changed since the plan was made.
    pub async fn restore(&self, plan: RestorePlan) -> Result<RestoreHandle> {
        plan.check()?;
        let point = self.point(plan.point).await?;
        let (now, request) = self.survey(plan.point, &point, &plan.options).await?;
        if now != plan {
            return Err(Error::new(
                Kind::Conflict,
                "restore",
                "the cloud changed since the plan was made: make a new plan and look at it again",
            )
            .with("point", plan.point)
            .retryable(false));
        }
        let started = self.env().now();
        let run = RestoreRun {
            id: RestoreId::random(self.env())?,
            project: self.project.clone(),
            place: Some(self.cloud.discovery.place()),
            point: plan.point,
            started,
            seen: started,
            state: RestoreState::Running,
            phase: None,
            disks: Vec::new(),
            created: Vec::new(),
        };
        let (cancel, feed) = (Cancel::new(), Feed::new(run.id, &self.alive));
        let alive = self.alive.enter(run.id, &cancel, &feed);
        self.jobs.create_restore(&run).await?;
        Ok(RestoreHandle {
            raksha: self.clone(),
            plan,
            point,
            request,
            cancel,
            feed,
            id: run.id,
            journal: Journal {
                raksha: self.clone(),
                run: Mutex::new(run),
            },
            _alive: alive,
        })
    }
}

impl RestoreHandle {
    /// The restore's id.
    pub fn id(&self) -> RestoreId {
        self.id
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.feed.listen()
    }

    /// What stops the restore when it is cancelled: at any time, removing what it created.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Brings the restore to its end and records how it ended.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] if it was cancelled; otherwise whatever failed first. Everything that was created is removed
    /// again then or, if that failed too, recorded for [`Raksha::reap`].
    pub async fn finish(self) -> Result<RestoreReport> {
        let gauge = Gauge::default();
        let lost = Cancel::new();
        let (restore, point) = (self.id, self.plan.point);
        let span = tracing::info_span!("restore", %restore, %point, project = %self.raksha.project);
        let finished = async {
            tokio::select! {
                biased;
                report = self.work(&gauge, &lost) => report,
                never = gauge.tell(&self.feed) => match never {},
                never = self.beat(&gauge, &lost) => match never {},
            }
        };
        finished.instrument(span).await
    }

    async fn work(&self, gauge: &Gauge, lost: &Cancel) -> Result<RestoreReport> {
        let id = self.id;
        let record = self.raksha.record_of(id, None);
        let rebuild = Rebuild {
            raksha: &self.raksha,
            plan: &self.plan,
            point: &self.point,
            request: &self.request,
            journal: &self.journal,
            record: &record,
            gauge,
            feed: &self.feed,
            stop: Stop::on(&self.cancel).or(lost),
        };
        let who = format!("restore {id}");
        let done = match self.raksha.repository.read(&[self.plan.point], &who).await {
            Ok(reader) => {
                let done = rebuild.carry_out(&reader).await;
                if let Err(error) = reader.close().await {
                    self.feed.warn(Warning::SessionLeftOpen {
                        reason: error.to_string(),
                    });
                }
                done
            }
            Err(error) => Err(error),
        };
        if lost.is_cancelled() {
            // Whoever declared it dead may not have seen what was created a moment ago.
            if let Ok(run) = self.raksha.restore_record(id).await {
                for left in self.raksha.undo_recorded(run).await.left {
                    left.warn(&self.feed);
                }
            }
            return Err(Error::new(
                Kind::Conflict,
                "restore",
                "the restore was declared dead while it lived, and what it created is removed: restore again",
            )
            .with("restore", id));
        }
        self.end(gauge, done.as_ref().err()).await;
        done?;
        let run = self.journal.run.lock().await;
        Ok(RestoreReport {
            restore: id,
            point: self.plan.point,
            created: run.created.clone(),
            warnings: self.feed.warnings(),
        })
    }

    /// Records the end. After an error everything that was created is removed first.
    async fn end(&self, gauge: &Gauge, error: Option<&Error>) {
        let outcome = match error {
            None => RestoreOutcome::Succeeded,
            Some(error) if error.kind() == Kind::Cancelled => RestoreOutcome::Cancelled,
            Some(error) => RestoreOutcome::Failed {
                error: error.to_string(),
            },
        };
        let undo = error.is_some();
        if undo {
            self.feed.phase(Phase::Undoing);
            let run = self.journal.run.lock().await.clone();
            let undone = self.raksha.undo_recorded(run).await;
            for left in &undone.left {
                left.warn(&self.feed);
            }
            self.journal.run.lock().await.created = undone.created;
        }
        let at = self.raksha.env().now();
        let progress = self.progress(gauge);
        let ended = self.journal.change(|run| {
            (run.phase, run.disks) = progress;
            run.state = RestoreState::Ended { at, outcome };
        });
        let kept = async {
            ended.await?;
            match undo {
                true => Ok(()),
                false => self.keep().await,
            }
        };
        if let Err(error) = kept.await {
            self.feed.warn(Warning::Unrecorded {
                reason: error.to_string(),
            });
        }
    }

    /// How far it is, for the record.
    fn progress(&self, gauge: &Gauge) -> (Option<Phase>, Vec<DiskProgress>) {
        (self.feed.current(), gauge.disks())
    }

    /// What was created is no temporary any more.
    async fn keep(&self) -> Result<()> {
        let owner = self.id.to_string();
        for (_, temporary) in self.raksha.jobs.temporaries(Some(&owner)).await? {
            let forgotten = self.raksha.jobs.forget_temporary(&owner, &temporary.marker);
            forgotten.await?;
        }
        Ok(())
    }

    /// Gives a sign of life, for ever. Cancels `lost` if the record says that the restore has ended, or is gone.
    async fn beat(&self, gauge: &Gauge, lost: &Cancel) -> Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            let progress = self.progress(gauge);
            let change = |run: &mut RestoreRun| (run.phase, run.disks) = progress;
            if let Err(error) = self.journal.change(change).await {
                match error.kind() {
                    Kind::Conflict | Kind::NotFound => lost.cancel(),
                    _ => tracing::debug!(%error, "no sign of life was recorded"),
                }
            }
        }
    }
}
