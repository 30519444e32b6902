//! Taking the disks of servers at one instant, as well as the cloud lets it, and opening what was taken.
//!
//! By what means, and what they prove, is in the table of `plan.rs`; which roads lead to the bytes, in [`crate::roads`].
//!
//! # What stays behind
//!
//! A snapshot of each volume, if the caller wants anchors and the volume lies where changes can be told ([`RoadKind::Rbd`](crate::roads::RoadKind)). As long as it is there
//! Cinder does not delete the volume, and says so.

mod frozen;
mod group;
pub(crate) mod grouped;
mod options;
pub(crate) mod pause;
mod plan;
mod subject;
mod taker;

use futures_util::future::join_all;
use raksha_core::cloud::{
    Anchor, Consistency, DiskId, HintSupport, OpenedDisk, Recorder, ResourceGraph,
    SnapshotCapabilities, SnapshotRequest, SnapshotSet, SnapshottedDisk, Temporary,
};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::Client;
use crate::cloud::CephAccess;
use crate::roads::rbd::{Place, Rbd};
use crate::roads::{Held, RoadKind, RoadOptions, Roads, Survey, cinder_snapshot, volume_image};
use group::{Group, Taken};
pub use options::SnapshotOptions;
use subject::{Now, subjects};
use taker::{Taker, all};

const TAKE: &str = "take snapshots";
const OPEN: &str = "open snapshot";

/// Takes and opens snapshots in one cloud.
#[derive(Debug)]
pub(crate) struct Snapshots {
    roads: Roads,
    options: SnapshotOptions,
}

/// What is kept of a disk to open it.
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    /// With what the names begin of what has to be made to read it.
    marker: String,
    held: Held,
    roads: Survey,
}

impl Snapshots {
    pub(crate) fn new(
        client: Client,
        options: SnapshotOptions,
        roads: RoadOptions,
        operator: Option<CephAccess>,
        env: Env,
    ) -> Self {
        Self {
            roads: Roads::new(client, roads, operator, env),
            options,
        }
    }

    /// The roads to the bytes of disks.
    pub(crate) fn roads(&self) -> &Roads {
        &self.roads
    }

    /// What could be reached now for these servers.
    pub(crate) async fn capabilities(&self, graph: &ResourceGraph) -> Result<SnapshotCapabilities> {
        let disks: Vec<DiskId> = graph.disks()?.into_iter().map(|(disk, _)| disk).collect();
        let request = SnapshotRequest {
            graph,
            disks: &disks,
            consistency: Consistency::Application,
            marker: "",
            keep_anchor: false,
        };
        let subjects = subjects(&request)?;
        let levels = all(subjects.iter().map(|subject| async {
            let now = match subject.id() {
                Some(server) => Some(Now::of(&self.roads.client, server).await?),
                None => None,
            };
            let (demanded, options) = (request.consistency, &self.options);
            let grouped =
                grouped::one_instant(&self.roads.client, options, subject, demanded).await?;
            let plans = subject.plans(now.as_ref(), demanded, options.pause, grouped);
            Ok(plans.first().map(|plan| plan.level).unwrap_or_default())
        }));
        let best = levels.await?.into_iter().min().unwrap_or_default();
        Ok(SnapshotCapabilities::new(best, self.hints(&disks).await))
    }

    /// For which of these disks it can be told what changed.
    async fn hints(&self, disks: &[DiskId]) -> HintSupport {
        let Some(rbd) = self.roads.rbd().filter(|_| self.options.hints) else {
            return HintSupport::None;
        };
        let lies_there = |disk: &DiskId| {
            let image = match disk {
                DiskId::Volume(volume) => volume_image(volume.as_str()),
                DiskId::Local { server, .. } => format!("{server}_disk"),
                other => other.to_string(),
            };
            async move { matches!(rbd.find(&image).await, Ok(Some(_))) }
        };
        let found = join_all(disks.iter().map(lies_there)).await;
        match found.iter().filter(|there| **there).count() {
            0 => HintSupport::None,
            there if there == disks.len() => HintSupport::AllDisks,
            _ => HintSupport::SomeDisks,
        }
    }

    /// Takes all disks asked for; all servers are begun together.
    pub(crate) async fn take(
        &self,
        request: SnapshotRequest<'_>,
        recorder: &dyn Recorder,
    ) -> Result<SnapshotSet> {
        let subjects = subjects(&request)?;
        let taker = Taker {
            roads: &self.roads,
            options: &self.options,
            marker: request.marker,
            recorder,
        };
        let each = subjects.iter().map(|s| taker.take(s, request.consistency));
        let groups: Vec<Group> = all(each).await?;
        let ledger = group::ledger(&groups);
        let detail = json!({ "servers": groups.iter().map(told).collect::<Vec<_>>() });
        let taken: Vec<Taken> = groups.into_iter().flat_map(|group| group.disks).collect();
        let keep = request.keep_anchor && self.options.hints;
        let disks = taken
            .into_iter()
            .map(|one| self.finish(one, keep, recorder));
        let mut disks = all(disks).await?;
        // In the order in which they were asked for.
        let place = |disk: &DiskId| request.disks.iter().position(|wanted| wanted == disk);
        disks.sort_by_key(|one| place(&one.disk));
        Ok(SnapshotSet {
            disks,
            ledger,
            detail,
        })
    }

    /// Finds the roads to a disk that was taken, and makes an anchor of its snapshot if that is of use.
    async fn finish(
        &self,
        taken: Taken,
        keep: bool,
        recorder: &dyn Recorder,
    ) -> Result<SnapshottedDisk> {
        let survey = self.roads.survey(&taken.held).await;
        for closed in &survey.closed {
            tracing::debug!(disk = %taken.wanted.disk, road = %closed.road, why = closed.why, "closed");
        }
        let place = survey.open.iter().find_map(|road| road.place.clone());
        let anchor = match (self.roads.rbd().filter(|_| keep), place) {
            (Some(rbd), Some(place)) => Some(self.anchor(rbd, &place, &taken, recorder).await?),
            _ => None,
        };
        let detail = Detail {
            marker: taken.wanted.marker.clone(),
            held: taken.held,
            roads: survey,
        };
        let detail = serde_json::to_value(detail).map_err(|e| {
            Error::new(
                Kind::Internal,
                TAKE,
                "what was taken cannot be written down",
            )
            .caused_by(e)
        })?;
        Ok(SnapshottedDisk {
            disk: taken.wanted.disk,
            size: taken.wanted.size,
            anchor,
            detail,
        })
    }

    async fn anchor(
        &self,
        rbd: &Rbd,
        place: &Place,
        taken: &Taken,
        recorder: &dyn Recorder,
    ) -> Result<Anchor> {
        let (id, name) = match &taken.held {
            Held::VolumeSnapshot { id, .. } => (id.clone(), cinder_snapshot(id)),
            Held::RbdSnapshot { name, .. } => (name.clone(), name.clone()),
            Held::Image { .. } => {
                return Err(Error::new(Kind::Internal, TAKE, "an image is no anchor"));
            }
        };
        let snapshot = rbd.snapshot(place, &name).await?;
        let identity = rbd.identity(place, &snapshot, taken.at).await?;
        let mut temporary = taken.temporary.clone();
        if let Some(detail) = temporary.detail.as_object_mut() {
            detail.insert("rbd_snapshot".to_owned(), json!(name));
            detail.insert("created".to_owned(), json!(taken.at));
        }
        recorder.record(&temporary).await?;
        Ok(Anchor {
            id,
            identity,
            temporary,
        })
    }

    /// Opens a disk of the set.
    pub(crate) async fn open(
        &self,
        set: &SnapshotSet,
        disk: &DiskId,
        since: Option<&Anchor>,
        recorder: &dyn Recorder,
    ) -> Result<OpenedDisk> {
        let of_set = set.disks.iter().find(|one| one.disk == *disk);
        let of_set = of_set.ok_or_else(|| {
            let message = "the snapshot set does not hold this disk";
            Error::new(Kind::NotFound, OPEN, message).with("disk", disk)
        })?;
        let detail: Detail = serde_json::from_value(of_set.detail.clone()).map_err(|e| {
            let message = "the snapshot set was made by another release of Raksha, or damaged";
            let error = Error::new(Kind::Corrupt, OPEN, message).with("disk", disk);
            error.caused_by(e)
        })?;
        let reached = self
            .roads
            .open(&detail.held, &detail.roads, &detail.marker, recorder)
            .await
            .map_err(|error| error.with("disk", disk))?;
        let hint = match (since, self.roads.rbd(), &reached.road.place) {
            (Some(anchor), Some(rbd), Some(place))
                if self.options.hints && reached.road.road == RoadKind::Rbd =>
            {
                let name = match &detail.held {
                    Held::VolumeSnapshot { id, .. } => cinder_snapshot(id),
                    Held::RbdSnapshot { name, .. } => name.clone(),
                    Held::Image { .. } => String::new(),
                };
                match rbd.snapshot(place, &name).await {
                    Ok(snapshot) => rbd.hint(place, anchor, &snapshot).await,
                    Err(error) => {
                        tracing::warn!(%error, "there is no hint of what changed: all is read");
                        None
                    }
                }
            }
            _ => None,
        };
        Ok(OpenedDisk {
            reader: reached.reader,
            hint,
        })
    }

    /// Removes a temporary and waits until it is gone.
    pub(crate) async fn release(&self, temporary: &Temporary) -> Result<()> {
        self.roads.releaser().release(temporary).await
    }
}

/// What the set says of a server, for those who look into it.
fn told(group: &Group) -> serde_json::Value {
    json!({
        "server": group.server,
        "level": group.level,
        "means": group.means,
        "begin": group.begin,
        "end": group.end,
        "freeze_ms": group.freeze.map(|freeze| freeze.as_millis()),
    })
}
