//! Carrying out a restore plan, step by step.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::cancel::{Cancel, Stop};
use super::event::{Event, Feed, Phase};
use super::gauge::Gauge;
use super::plan::{RestorePlan, Step};
use super::raksha::Raksha;
use super::read_disks::all_or_first_error;
use super::restore::Journal;
use super::temporaries::Record;
use crate::cloud::{Created, DiskId, IdMap, ResourceKey, ResourceRef, RestoreRequest};
use crate::error::{Error, Kind, Result};
use crate::image::{ExportOptions, export};
use crate::point::RecoveryPoint;
use crate::repository::PointReader;
use crate::store::RestoreRun;

/// One restore at work.
#[derive(Debug)]
pub(super) struct Rebuild<'a> {
    pub(super) raksha: &'a Raksha,
    pub(super) plan: &'a RestorePlan,
    pub(super) point: &'a RecoveryPoint,
    pub(super) request: &'a RestoreRequest,
    pub(super) journal: &'a Journal,
    pub(super) record: &'a Record,
    pub(super) gauge: &'a Gauge,
    pub(super) feed: &'a Feed,
    pub(super) stop: Stop,
}

impl Rebuild<'_> {
    /// Does all steps: what servers stand on, then the disks, then the servers, and only then are these started. So a server never
    /// exists with a disk that was not found to be what it was.
    pub(super) async fn carry_out(&self, reader: &PointReader) -> Result<()> {
        let mut ids = IdMap::default();
        self.feed.phase(Phase::Creating);
        for step in &self.plan.steps {
            match step {
                Step::Reuse { key, id, .. } | Step::Map { key, id, .. } => {
                    ids.insert(key.clone(), id.as_str());
                }
                Step::Create { key, name } => self.create(key, name, &mut ids).await?,
                Step::WriteDisk { .. } | Step::CreateServer { .. } | Step::Start { .. } => {}
            }
        }
        self.feed.phase(Phase::Writing);
        for created in self.write_disks(reader, &ids).await? {
            ids.insert(created.key, created.id);
        }
        self.feed.phase(Phase::CreatingServers);
        for step in &self.plan.steps {
            if let Step::CreateServer { key, name } = step {
                self.create(key, name, &mut ids).await?;
            }
        }
        self.feed.phase(Phase::Starting);
        for step in &self.plan.steps {
            if let Step::Start { key, .. } = step
                && let ResourceRef::Server(server) = self.find(key)?
            {
                let restorer = &self.raksha.cloud.restorer;
                self.stop.gently(restorer.start(server, &ids)).await?;
            }
        }
        Ok(())
    }

    fn find(&self, key: &ResourceKey) -> Result<ResourceRef<'_>> {
        self.request.graph.find(key).ok_or_else(|| {
            Error::new(
                Kind::Internal,
                "restore",
                "the plan has a step for a resource that is not in its graph",
            )
            .with("resource", key)
        })
    }

    async fn create(&self, key: &ResourceKey, name: &str, ids: &mut IdMap) -> Result<()> {
        let resource = self.find(key)?;
        let restorer = &self.raksha.cloud.restorer;
        let create = restorer.create(resource, self.request, ids, self.record);
        let created = self.stop.gently(create).await?;
        ids.insert(key.clone(), created.id.as_str());
        self.feed.say(Event::Created {
            key: key.clone(),
            name: name.to_owned(),
            id: created.id.clone(),
        });
        self.journal.change(|run| run.created.push(created)).await
    }

    /// Writes all disks; gives back what took the place of what was created for them.
    async fn write_disks(&self, reader: &PointReader, ids: &IdMap) -> Result<Vec<Created>> {
        let failed = Cancel::new();
        let stop = self.stop.or(&failed);
        let disks = self.plan.steps.iter().filter_map(|step| match step {
            Step::WriteDisk { disk, size, .. } => Some((disk, *size)),
            _ => None,
        });
        let (failed, stop) = (&failed, &stop);
        let mut each: Vec<BoxFuture<'_, Result<Option<Created>>>> = Vec::new();
        // Boxed, so that the compiler sees that a restore can be sent to another thread.
        for (disk, size) in disks {
            let write = async move {
                let written = self.write_disk(reader, ids, disk, size, stop).await;
                if written.is_err() {
                    failed.cancel();
                }
                written.map_err(|error| error.with("disk", disk))
            };
            each.push(write.boxed());
        }
        let all = stream::iter(each).buffered(self.raksha.disks_at_once);
        let settled = all_or_first_error(all.collect().await)?;
        Ok(settled.into_iter().flatten().collect())
    }

    async fn write_disk(
        &self,
        reader: &PointReader,
        ids: &IdMap,
        disk: &DiskId,
        size: u64,
        stop: &Stop,
    ) -> Result<Option<Created>> {
        let root = self.point.disk(disk)?.root;
        if root.size != size {
            return Err(Error::new(
                Kind::Corrupt,
                "restore disk",
                "the point's graph and its content disagree on the size",
            )
            .with("described", size)
            .with("content", root.size));
        }
        let restorer = &self.raksha.cloud.restorer;
        let open = restorer.open_disk(disk, size, self.request, ids, self.record);
        let writer = stop.gently(open).await?;
        let repository = &self.raksha.repository;
        let options = ExportOptions {
            budget: repository.budget().clone(),
            env: repository.env().clone(),
            meter: self.gauge.begin(disk, size),
            ..ExportOptions::default()
        };
        let exported = stop.guard(export(&root, reader, &*writer, options)).await?;
        let settle = restorer.settle_disk(disk, self.request, ids, self.record);
        let settled = stop.gently(settle).await?;
        if let Some(created) = settled.clone() {
            let replace = |run: &mut RestoreRun| {
                run.created.retain(|known| known.key != created.key);
                run.created.push(created);
            };
            self.journal.change(replace).await?;
        }
        self.gauge.end(disk);
        self.feed.say(Event::DiskDone {
            disk: disk.clone(),
            size,
            counts: exported.counts,
        });
        Ok(settled)
    }
}
