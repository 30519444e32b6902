//! A backup run from outside: begun, watched, cancelled, brought to its end and recorded.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use tracing::Instrument;

use super::alive::AliveGuard;
use super::backup::{Backup, Made};
use super::cancel::{Cancel, Stop};
use super::event::{Events, Feed, Phase, Warning};
use super::gauge::{Gauge, sum};
use super::raksha::Raksha;
use super::session::end_session;
use super::temporaries::{Left, Record};
use crate::cloud::ConsistencyLedger;
use crate::error::{Error, Kind, Result};
use crate::id::{JobId, PointId, RunId};
use crate::store::{
    BackupJob, BackupRun, DiskProgress, JobStore, Lease, RunCounts, RunOutcome, RunState,
};
use crate::time::Timestamp;

/// How often a run or restore gives a sign of life.
pub(super) const BEAT: Duration = Duration::from_secs(5);

/// A run's record has so many of its warnings.
const WARNINGS: usize = 100;

/// A run that was recorded and has begun, and goes on while [`finish`](Self::finish) is awaited.
///
/// Dropping it, or the future of `finish`, is an interruption like a crash: what the run has in the cloud stays there
/// until [`Raksha::reap`] releases it. To stop properly, use [`cancel`](Self::cancel).
#[derive(Debug)]
pub struct RunHandle {
    raksha: Raksha,
    job: BackupJob,
    run: BackupRun,
    cancel: Cancel,
    feed: Feed,
    leased: Option<Leased>,
    options: RunOptions,
    _alive: AliveGuard,
}

/// How a run that somebody asks for is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOptions {
    /// Whether all is read, whatever the cloud says has not changed since the point before.
    pub in_full: bool,
}

impl RunOptions {
    /// Reads all.
    pub fn in_full() -> Self {
        Self { in_full: true }
    }
}

/// The lease by which a run that was due is under way.
#[derive(Debug, Clone)]
pub(super) struct Leased {
    lease: Lease,
    /// How long it lasts each time that it is renewed.
    duration: Duration,
}

impl Leased {
    /// Renews the lease.
    ///
    /// # Errors
    /// [`Kind::Fenced`] if somebody has taken the run over.
    pub(super) async fn renew(&self, jobs: &dyn JobStore) -> Result<()> {
        jobs.renew(&self.lease, self.duration).await.map(drop)
    }
}

/// A run that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// What it made.
    pub point: PointId,
    /// Bytes, over all disks.
    pub counts: RunCounts,
    /// The same for each disk.
    pub disks: Vec<DiskProgress>,
    /// The consistency reached.
    pub ledger: ConsistencyLedger,
    /// What its owner should know.
    pub warnings: Vec<Warning>,
}

impl Raksha {
    /// Begins a run of a job: it is recorded when this returns, and goes on while [`RunHandle::finish`] is awaited.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has no such job, [`Kind::Full`] if one of its [quotas](super::Quotas) is used up.
    pub async fn run(&self, job: JobId) -> Result<RunHandle> {
        self.run_with(job, RunOptions::default()).await
    }

    /// The same, done so.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_with(&self, job: JobId, options: RunOptions) -> Result<RunHandle> {
        let job = self.job(job).await?;
        self.within_quotas().await?;
        let run = self.new_run(&job, RunId::random(self.env())?, None);
        let mut handle = self.handle(job, run, None);
        handle.options = options;
        self.jobs.create_run(&handle.run).await?;
        Ok(handle)
    }

    /// Begins the run that `lease` is for, and renews the lease for `duration` as long as the run is under way. It is stopped when somebody else takes it
    /// over, and whatever it does after that has no effect.
    ///
    /// # Errors
    /// [`Kind::Fenced`] if somebody has taken the due run over, [`Kind::NotFound`] if the project has no such job, [`Kind::Full`] if one of its
    /// [quotas](super::Quotas) is used up.
    pub async fn run_due(&self, lease: &Lease, duration: Duration) -> Result<RunHandle> {
        let job = self.job(lease.job).await?;
        self.within_quotas().await?;
        let run = self.new_run(&job, lease.run_id(), Some(lease.due));
        let leased = Leased {
            lease: lease.clone(),
            duration,
        };
        let handle = self.handle(job, run, Some(leased));
        self.jobs.start_run(lease, &handle.run).await?;
        Ok(handle)
    }

    fn new_run(&self, job: &BackupJob, id: RunId, due: Option<Timestamp>) -> BackupRun {
        let now = self.env().now();
        BackupRun {
            id,
            job: job.id,
            project: self.project.clone(),
            place: Some(self.cloud.discovery.place()),
            due,
            started: now,
            seen: now,
            state: RunState::Running,
            phase: None,
            counts: RunCounts::default(),
            disks: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn handle(&self, job: BackupJob, run: BackupRun, leased: Option<Leased>) -> RunHandle {
        let (cancel, feed) = (Cancel::new(), Feed::new(run.id, &self.alive));
        let alive = self.alive.enter(run.id, &cancel, &feed);
        RunHandle {
            raksha: self.clone(),
            job,
            run,
            cancel,
            feed,
            leased,
            options: RunOptions::default(),
            _alive: alive,
        }
    }
}

impl RunHandle {
    /// The run's id.
    pub fn id(&self) -> RunId {
        self.run.id
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.feed.listen()
    }

    /// What stops the run when it is cancelled: at any time, leaving nothing behind.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Brings the run to its end and records how it ended.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] if it was cancelled; otherwise whatever failed first. There is no recovery point then, and what the
    /// run had in the cloud is released or, if that failed too, recorded for [`Raksha::reap`].
    pub async fn finish(self) -> Result<RunReport> {
        let gauge = Gauge::default();
        let lost = Cancel::new();
        let (run, job) = (self.run.id, &self.job);
        let span = tracing::info_span!("run", %run, job = %job.id, project = %job.project);
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

    async fn work(&self, gauge: &Gauge, lost: &Cancel) -> Result<RunReport> {
        let record = self
            .raksha
            .record_of(self.run.id, self.run.place.as_deref());
        let mut session = None;
        let backup = Backup {
            raksha: &self.raksha,
            job: &self.job,
            run: self.run.id,
            record: &record,
            gauge,
            feed: &self.feed,
            stop: Stop::on(&self.cancel).or(lost),
            leased: self.leased.as_ref(),
            in_full: self.options.in_full,
        };
        let made = backup.make(&mut session).await;
        self.feed.phase(Phase::Releasing);
        let ended = end_session(session.as_ref(), made.as_ref().err()).await;
        if let Err(error) = ended {
            self.feed.warn(Warning::SessionLeftOpen {
                reason: error.to_string(),
            });
        }
        self.clean_up(&record, made.as_ref().ok()).await;
        let recorded = self.record_end(gauge, &made, lost).await;
        match (made, recorded) {
            (Ok(made), _) => Ok(RunReport {
                run: self.run.id,
                point: made.point,
                counts: sum(&gauge.disks()),
                disks: gauge.disks(),
                ledger: made.ledger,
                warnings: self.feed.warnings(),
            }),
            (Err(error), Recorded::EndedAlready) => Err(Error::new(
                Kind::Conflict,
                "run job",
                "the run was declared dead while it lived, and its snapshots are released: run the job again",
            )
            .with("run", self.run.id)
            .caused_by(error)),
            (Err(error), Recorded::Done) => Err(error),
        }
    }

    /// Releases what the run has in the cloud. Of a run that succeeded the anchors stay for the next one, and those of earlier runs
    /// go. Nothing here can make the run fail.
    async fn clean_up(&self, record: &Record, made: Option<&Made>) {
        let anchors = made.map(|made| &made.anchors);
        let keep = |marker: &str| anchors.is_some_and(|anchors| anchors.contains(marker));
        let released = record.release(&self.raksha, |t| keep(&t.marker)).await;
        let mut left = released.left;
        if made.is_some() {
            match self.release_earlier().await {
                Ok(more) => left.extend(more),
                Err(error) => left.push(record.left("what earlier runs kept for this one", error)),
            }
        }
        for one in &left {
            one.warn(&self.feed);
        }
    }

    /// Releases what earlier runs of the job kept as anchors.
    async fn release_earlier(&self) -> Result<Vec<Left>> {
        let recorded = self.raksha.jobs.temporaries(None).await?;
        let owners: BTreeSet<String> = recorded.into_iter().map(|(owner, _)| owner).collect();
        let mut left = Vec::new();
        for run in self.raksha.runs(Some(self.job.id)).await? {
            let ended = run.state != RunState::Running && run.id != self.run.id;
            if ended && owners.contains(&run.id.to_string()) {
                let record = self.raksha.record_of(run.id, run.place.as_deref());
                let released = record.release(&self.raksha, |_| false).await;
                left.extend(released.left);
            }
        }
        Ok(left)
    }

    async fn record_end(&self, gauge: &Gauge, made: &Result<Made>, lost: &Cancel) -> Recorded {
        let outcome = self.outcome(made, lost);
        let at = self.raksha.env().now();
        let record = self.as_of_now(gauge, RunState::Ended { at, outcome });
        let Err(error) = self.raksha.jobs.update_run(&record).await else {
            return Recorded::Done;
        };
        self.feed.warn(Warning::Unrecorded {
            reason: error.to_string(),
        });
        match error.kind() {
            Kind::Conflict | Kind::NotFound => Recorded::EndedAlready,
            _ => Recorded::Done,
        }
    }

    /// How it ended, as it is recorded.
    fn outcome(&self, made: &Result<Made>, lost: &Cancel) -> RunOutcome {
        let error = match made {
            Ok(made) => return RunOutcome::Succeeded { point: made.point },
            Err(error) => error,
        };
        // Nobody asked to stop: others go on.
        let fenced = error.kind() == Kind::Fenced && self.leased.is_some();
        match error.kind() {
            _ if lost.is_cancelled() || fenced => RunOutcome::interrupted(),
            Kind::Cancelled => RunOutcome::Cancelled,
            _ => RunOutcome::Failed {
                error: error.to_string(),
            },
        }
    }

    fn as_of_now(&self, gauge: &Gauge, state: RunState) -> BackupRun {
        let disks = gauge.disks();
        let warnings = self.feed.warnings();
        BackupRun {
            seen: self.raksha.env().now(),
            state,
            phase: self.feed.current(),
            counts: sum(&disks),
            disks,
            warnings: (warnings.iter().take(WARNINGS))
                .map(ToString::to_string)
                .collect(),
            ..self.run.clone()
        }
    }

    /// Gives a sign of life, for ever. Cancels `lost` if the record says that the run has ended, or is gone.
    async fn beat(&self, gauge: &Gauge, lost: &Cancel) -> Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            if let Some(leased) = &self.leased {
                match leased.renew(&*self.raksha.jobs).await {
                    Err(error) if error.kind() == Kind::Fenced => lost.cancel(),
                    Err(error) => tracing::debug!(%error, "the lease was not renewed"),
                    Ok(()) => {}
                }
            }
            let record = self.as_of_now(gauge, RunState::Running);
            if let Err(error) = self.raksha.jobs.update_run(&record).await {
                match error.kind() {
                    Kind::Conflict | Kind::NotFound => lost.cancel(),
                    // The next one may get through.
                    _ => tracing::debug!(%error, "no sign of life was recorded"),
                }
            }
        }
    }
}

/// What became of recording the end.
enum Recorded {
    /// It is recorded, or could not be for a moment.
    Done,
    /// Somebody else had recorded an end, taking the run for dead.
    EndedAlready,
}
