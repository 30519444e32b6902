//! A backup run from inside: discover, check, snapshot, read, commit.

use std::collections::{BTreeMap, BTreeSet};

use super::cancel::Stop;
use super::event::{Event, Feed, Phase, Warning};
use super::gauge::Gauge;
use super::raksha::Raksha;
use super::run::Leased;
use super::session::{TRIES, commit, read_again};
use super::take_over::session_of;
use super::temporaries::Record;
use crate::cloud::{
    Consistency, ConsistencyLedger, DiskId, HintSupport, ResourceGraph, SnapshotRequest,
    SnapshotSet,
};
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RunId};
use crate::point::{PointDisk, PointSummary, RecoveryPoint};
use crate::repository::Writer;
use crate::store::{BackupJob, ChunkStore, IfNotReached, RunCounts};
use crate::time::Timestamp;

/// One run at work.
#[derive(Debug)]
pub(super) struct Backup<'a> {
    pub(super) raksha: &'a Raksha,
    pub(super) job: &'a BackupJob,
    pub(super) run: RunId,
    pub(super) record: &'a Record,
    pub(super) gauge: &'a Gauge,
    pub(super) feed: &'a Feed,
    pub(super) stop: Stop,
    pub(super) leased: Option<&'a Leased>,
    /// Whether the point before is not gone by.
    pub(super) in_full: bool,
}

/// What a run made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) point: PointId,
    pub(super) ledger: ConsistencyLedger,
    /// The markers of the temporaries that the next run counts changes from.
    pub(super) anchors: BTreeSet<String>,
}

/// What a run knows once all disks are taken.
struct Taken {
    graph: ResourceGraph,
    set: SnapshotSet,
    at: Timestamp,
    /// How many hints of each disk lied before.
    lies: BTreeMap<DiskId, u32>,
}

/// The point before.
#[derive(Debug)]
pub(super) struct Base {
    id: PointId,
    pub(super) point: RecoveryPoint,
}

impl Backup<'_> {
    /// Makes a recovery point. The session is left in `session` for the caller to close, however this ends.
    pub(super) async fn make(&self, session: &mut Option<Writer>) -> Result<Made> {
        self.feed.phase(Phase::Discovering);
        let discovery = &self.raksha.cloud.discovery;
        let graph = (self.stop)
            .guard(discovery.discover(&self.job.servers))
            .await?;

        self.feed.phase(Phase::Checking);
        let (disks, keep_anchor) = self.stop.guard(self.check(&graph)).await?;
        let mut base = self.stop.guard(self.base()).await?;

        self.feed.phase(Phase::Snapshotting);
        let mut taken = self.snapshot(graph, &disks, keep_anchor).await?;
        // Kept even if the base is not gone by in the end.
        let known = base.iter().flat_map(|base| &base.point.disks);
        taken.lies = known.map(|d| (d.disk.clone(), d.hint_lies)).collect();
        if self.in_full {
            base = None;
        }

        let mut tries = 1;
        loop {
            let error = match self.store(&taken, base.as_ref(), session).await {
                Ok(point) => return Ok(self.made(point, taken)),
                Err(error) => error,
            };
            // A session that was fenced off can be opened anew, a lease cannot.
            if error.kind() == Kind::Fenced
                && let Some(leased) = self.leased
            {
                leased.renew(&*self.raksha.jobs).await?;
            }
            if tries == TRIES || !read_again(&error) {
                return Err(error);
            }
            tries += 1;
            self.feed.warn(Warning::Again {
                reason: error.to_string(),
            });
            base = None;
            if error.kind() == Kind::Fenced {
                *session = None;
            }
        }
    }

    /// Refuses what cannot succeed, before anything is touched. Gives the disks, and whether anchors are of use.
    async fn check(&self, graph: &ResourceGraph) -> Result<(Vec<DiskId>, bool)> {
        let job = self.job;
        if graph.servers.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "run job",
                "no server is selected at present: correct the job or tag a server",
            )
            .with("job", &job.name));
        }
        for omission in &graph.omissions {
            self.feed.warn(Warning::Omitted {
                what: omission.what.clone(),
                reason: omission.reason.clone(),
            });
        }
        let disks = graph.disks()?.into_iter().map(|(disk, _)| disk).collect();
        let can = self.raksha.cloud.snapshots.capabilities(graph).await?;
        let best = can.best.max(self.promised());
        if best < job.consistency && job.if_not_reached == IfNotReached::Refuse {
            return Err(self.less_consistent("the cloud can reach", best));
        }
        Ok((disks, can.hints != HintSupport::None))
    }

    fn less_consistent(&self, says: &str, reached: Consistency) -> Error {
        let demanded = self.job.consistency;
        Error::new(
            Kind::Unsupported,
            "run job",
            format!("the job demands the consistency `{demanded}`, {says} `{reached}`: demand less, or let the job mark such points"),
        )
        .with("job", &self.job.name)
    }

    /// The newest point of the same job.
    async fn base(&self) -> Result<Option<Base>> {
        let points = self.raksha.points().await?;
        let of_job = points
            .into_iter()
            .filter(|p| p.summary.job == Some(self.job.id));
        let Some(newest) = of_job.max_by_key(|point| point.summary.taken) else {
            return Ok(None);
        };
        let repository = &self.raksha.repository;
        if !repository.is_whole(newest.id).await? {
            let reason = "it lost chunks to damage; all is read, and what is the same heals it";
            self.feed.warn(Warning::BaseUnusable {
                reason: reason.to_owned(),
            });
            return Ok(None);
        }
        match repository.point(newest.id).await {
            Ok(point) => Ok(Some(Base {
                id: newest.id,
                point,
            })),
            // A point that cannot be read must not stand in the way of the next one.
            Err(error) if unusable(&error) => {
                self.feed.warn(Warning::BaseUnusable {
                    reason: error.to_string(),
                });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn snapshot(
        &self,
        graph: ResourceGraph,
        disks: &[DiskId],
        keep_anchor: bool,
    ) -> Result<Taken> {
        let marker = format!("raksha-{}", self.run);
        let before = self.raksha.env().now();
        let provider = &self.raksha.cloud.snapshots;
        let mut held = None;
        let set = async {
            let holds = self.stop.gently(self.call_before(&graph)).await?;
            // What is held already need not be brought about again: a guest that stands still cannot be frozen.
            let consistency = match held.insert(holds).level() {
                level if level >= self.job.consistency => Consistency::Crash,
                _ => self.job.consistency,
            };
            let request = SnapshotRequest {
                graph: &graph,
                disks,
                consistency,
                marker: &marker,
                keep_anchor,
            };
            self.stop
                .gently(provider.snapshot(request, self.record))
                .await
        };
        let set = set.await;
        self.call_after(held.as_mut()).await;
        let mut set = set?;
        if let Some(held) = held {
            held.enter(&mut set.ledger, self.raksha.env().now());
        }
        if let Some(missing) = disks
            .iter()
            .find(|d| !set.disks.iter().any(|s| s.disk == **d))
        {
            return Err(Error::new(
                Kind::Internal,
                "take snapshots",
                "the cloud's implementation left out a disk that was asked for",
            )
            .with("disk", missing));
        }
        self.feed.say(Event::Snapshotted {
            ledger: set.ledger.clone(),
        });
        let reached = set.ledger.reached();
        if !disks.is_empty() && reached < self.job.consistency {
            let error = self.less_consistent("and it reached", reached);
            match self.job.if_not_reached {
                IfNotReached::Refuse => return Err(error),
                IfNotReached::Mark => self.feed.warn(Warning::LessConsistent {
                    reason: error.to_string(),
                }),
            }
        }
        let at = set.ledger.disks.iter().map(|disk| disk.taken).min();
        Ok(Taken {
            graph,
            set,
            at: at.unwrap_or(before),
            lies: BTreeMap::new(),
        })
    }

    /// Reads all disks into the repository and commits the point.
    async fn store(
        &self,
        taken: &Taken,
        base: Option<&Base>,
        session: &mut Option<Writer>,
    ) -> Result<PointId> {
        self.feed.phase(Phase::Reading);
        let (writer, base) = match session.take() {
            Some(writer) => (session.insert(writer), base),
            None => {
                let (writer, base) = self.open_session(base).await?;
                (session.insert(writer), base)
            }
        };
        // Whoever takes the run over fences off the sessions that it has, after having taken the lease: one that was opened later is found out here.
        if let Some(leased) = self.leased {
            leased.renew(&*self.raksha.jobs).await?;
        }
        let disks = self
            .read_disks(writer, &taken.set, base, &taken.lies)
            .await?;

        self.feed.phase(Phase::Committing);
        let point = self.point(taken, disks)?;
        // Uploading what is left can be stopped; a commit, once begun, is brought to its end, so that its outcome is known.
        self.stop.guard(writer.flush()).await?;
        let id = commit(&self.raksha.repository, writer, &point).await?;
        self.feed.say(Event::Committed { point: id });
        Ok(id)
    }

    /// A session that pins the base, or one without a base if that was forgotten in this moment.
    async fn open_session<'b>(&self, base: Option<&'b Base>) -> Result<(Writer, Option<&'b Base>)> {
        let who = session_of(self.run);
        let repository = &self.raksha.repository;
        if let Some(base) = base {
            match repository.write(&[base.id], &who).await {
                Ok(writer) => return Ok((writer, Some(base))),
                Err(error) if unusable(&error) || error.kind() == Kind::Conflict => {
                    self.feed.warn(Warning::BaseUnusable {
                        reason: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok((repository.write(&[], &who).await?, None))
    }

    fn point(&self, taken: &Taken, disks: Vec<PointDisk>) -> Result<RecoveryPoint> {
        let mut counts = RunCounts::default();
        for disk in &disks {
            counts += disk.counts;
        }
        let servers = u32::try_from(taken.graph.servers.len()).map_err(|e| {
            Error::new(Kind::Invalid, "run job", "too many servers in one job").caused_by(e)
        })?;
        Ok(RecoveryPoint {
            summary: PointSummary {
                name: self.job.name.clone(),
                taken: taken.at,
                project: Some(self.raksha.project.clone()),
                principal: self.raksha.principal.clone(),
                job: Some(self.job.id),
                run: Some(self.run),
                servers,
                counts,
            },
            graph: taken.graph.clone(),
            disks,
            ledger: taken.set.ledger.clone(),
        })
    }

    fn made(&self, point: PointId, taken: Taken) -> Made {
        let anchors = taken.set.disks.into_iter().filter_map(|disk| disk.anchor);
        Made {
            point,
            ledger: taken.set.ledger,
            anchors: anchors.map(|anchor| anchor.temporary.marker).collect(),
        }
    }
}

/// Whether `error` says that a point is gone or beyond reading, which no further try would change.
fn unusable(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::NotFound | Kind::Corrupt | Kind::Unsupported
    )
}
