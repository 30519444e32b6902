//! Reading the disks of a snapshot set into a repository, several at once.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::backup::{Backup, Base};
use super::cancel::{Cancel, Stop};
use super::event::{Event, Warning};
use crate::cloud::{DiskId, SnapshotSet, SnapshottedDisk};
use crate::error::{Kind, Result};
use crate::image::{IngestOptions, Sampling, ingest};
use crate::point::PointDisk;
use crate::repository::Writer;

impl Backup<'_> {
    /// Reads all disks of `set`. The first that fails stops the others.
    pub(super) async fn read_disks(
        &self,
        writer: &Writer,
        set: &SnapshotSet,
        base: Option<&Base>,
        lies: &BTreeMap<DiskId, u32>,
    ) -> Result<Vec<PointDisk>> {
        let failed = Cancel::new();
        let stop = self.stop.or(&failed);
        let mut each: Vec<BoxFuture<'_, Result<PointDisk>>> = Vec::new();
        // Boxed, so that the compiler sees that a run can be sent to another thread.
        for disk in &set.disks {
            let (failed, stop) = (&failed, &stop);
            let read = async move {
                let lies = lies.get(&disk.disk).copied().unwrap_or(0);
                let read = self.read_disk(writer, set, disk, base, lies, stop).await;
                if read.is_err() {
                    failed.cancel();
                }
                read
            };
            each.push(read.boxed());
        }
        let disks = stream::iter(each).buffered(self.raksha.disks_at_once);
        all_or_first_error(disks.collect().await)
    }

    async fn read_disk(
        &self,
        writer: &Writer,
        set: &SnapshotSet,
        disk: &SnapshottedDisk,
        base: Option<&Base>,
        lies: u32,
        stop: &Stop,
    ) -> Result<PointDisk> {
        let before = base.and_then(|base| base.point.disk(&disk.disk).ok());
        let since = before.and_then(|before| before.anchor.as_ref());
        let provider = &self.raksha.cloud.snapshots;
        let opened = (stop)
            .gently(provider.open(set, &disk.disk, since, self.record))
            .await?;

        let repository = &self.raksha.repository;
        let size = opened.reader.size();
        let options = IngestOptions {
            chunking: repository.parameters().chunking,
            segment_size: repository.parameters().segment_size,
            base: before.map(|before| before.root),
            // Whether the anchor is the one that it was is for the provider to verify; whether the hint is true, for ingest.
            hint: opened.hint.filter(|_| since.is_some()),
            sampling: Sampling::after_lies(lies),
            budget: repository.budget().clone(),
            env: repository.env().clone(),
            meter: self.gauge.begin(&disk.disk, size),
            ..IngestOptions::default()
        };
        let ingested = stop.guard(ingest(&*opened.reader, writer, options)).await;
        let ingested = ingested.map_err(|error| error.with("disk", &disk.disk))?;
        if ingested.hint_lied {
            self.feed.warn(Warning::HintLied {
                disk: disk.disk.clone(),
            });
        }
        self.gauge.end(&disk.disk);
        self.feed.say(Event::DiskDone {
            disk: disk.disk.clone(),
            size,
            counts: ingested.counts,
        });
        Ok(PointDisk {
            disk: disk.disk.clone(),
            root: ingested.root,
            counts: ingested.counts,
            anchor: disk.anchor.clone(),
            hint_lies: lies.saturating_add(u32::from(ingested.hint_lied)),
        })
    }
}

/// All that succeeded, or the first error that is a cause: that something else was stopped because of it is none.
pub(super) fn all_or_first_error<T>(results: Vec<Result<T>>) -> Result<Vec<T>> {
    let mut done = Vec::new();
    let mut first = None;
    for result in results {
        match (result, &first) {
            (Ok(one), _) => done.push(one),
            (Err(error), None) => first = Some(error),
            (Err(error), Some(known)) if known.kind() == Kind::Cancelled => first = Some(error),
            (Err(_), Some(_)) => {}
        }
    }
    match first {
        Some(error) => Err(error),
        None => Ok(done),
    }
}
