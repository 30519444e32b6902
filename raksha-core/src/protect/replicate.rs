//! Copies of points in a second repository, and what they are good for: with another key, other parameters, another target.
//!
//! A copy has the same summary as its original, which is how it is known again: instant, name and run together are nobody else's. Its disks have other
//! roots, since chunks are named by the repository's key; what it holds is compared by reading it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::cancel::Cancel;
use super::session::end_session;
use crate::cloud::{ChangeHint, DiskReader, DiskWriter};
use crate::error::{Error, Kind, Result};
use crate::id::PointId;
use crate::image::{ExportOptions, ImageReader, IngestOptions, compare, export, ingest};
use crate::point::{ListedPoint, PointDisk, RecoveryPoint};
use crate::repository::{PointReader, Repository, Writer};
use crate::store::RunCounts;

/// A point that was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replicated {
    /// The original.
    pub from: PointId,
    /// Its copy.
    pub to: PointId,
    /// What it took.
    pub counts: RunCounts,
}

/// Copies those points of `from` into `to` that it does not have yet, the oldest first; each is read back from there before it counts. Of a disk
/// that the point before has too, only what differs is read.
///
/// # Errors
/// The first that comes up; points that were copied before it stay.
pub async fn replicate(
    from: &Repository,
    to: &Repository,
    cancel: &Cancel,
) -> Result<Vec<Replicated>> {
    if from.id() == to.id() {
        return Err(Error::new(
            Kind::Invalid,
            "replicate",
            "source and destination are the same repository",
        ));
    }
    let mut done = Vec::new();
    let mut before: Option<(ListedPoint, PointId)> = None;
    for point in from.points().await? {
        let copy = match copy_of(to, &point).await? {
            Some(copy) => copy,
            None => {
                let near = before
                    .as_ref()
                    .filter(|(p, _)| p.summary.name == point.summary.name);
                let copied = cancel.guard(copy_point(from, to, &point, near)).await?;
                let to = copied.to;
                done.push(copied);
                to
            }
        };
        before = Some((point, copy));
    }
    Ok(done)
}

/// The copy of a point, if the repository has it.
async fn copy_of(repository: &Repository, point: &ListedPoint) -> Result<Option<PointId>> {
    let points = repository.points().await?.into_iter();
    let mut same = points.filter(|copy| copy.summary == point.summary);
    Ok(same.next().map(|copy| copy.id))
}

async fn copy_point(
    from: &Repository,
    to: &Repository,
    point: &ListedPoint,
    before: Option<&(ListedPoint, PointId)>,
) -> Result<Replicated> {
    let mut pins = vec![point.id];
    pins.extend(before.map(|(before, _)| before.id));
    let reader = Arc::new(from.read(&pins, "replicate").await?);
    let bases: Vec<PointId> = before.iter().map(|(_, copy)| *copy).collect();
    let copied = match to.write(&bases, "replicate").await {
        Ok(writer) => {
            let copied = fill(from, to, point, before, &reader, &writer).await;
            if let Err(error) = end_session(Some(&writer), copied.as_ref().err()).await {
                tracing::warn!(%error, "the session was not closed");
            }
            copied
        }
        Err(error) => Err(error),
    };
    if let Err(error) = reader.close().await {
        tracing::warn!(%error, "the session was not closed");
    }
    copied.map_err(|error| error.with("point", point.id))
}

async fn fill(
    from: &Repository,
    to: &Repository,
    listed: &ListedPoint,
    before: Option<&(ListedPoint, PointId)>,
    reader: &Arc<PointReader>,
    writer: &Writer,
) -> Result<Replicated> {
    let point = from.point(listed.id).await?;
    let older = match before {
        Some((before, copy)) if to.is_whole(*copy).await? => {
            Some((from.point(before.id).await?, to.point(*copy).await?))
        }
        _ => None,
    };
    let (mut disks, mut counts) = (Vec::new(), RunCounts::default());
    for disk in &point.disks {
        let image = ImageReader::open(&disk.root, Arc::clone(reader) as _).await?;
        let mut options = IngestOptions {
            chunking: to.parameters().chunking,
            segment_size: to.parameters().segment_size,
            budget: to.budget().clone(),
            env: to.env().clone(),
            ..IngestOptions::default()
        };
        if let Some((original, copy)) = &older
            && let (Ok(was), Ok(base)) = (original.disk(&disk.disk), copy.disk(&disk.disk))
        {
            let changed = compare(&was.root, &disk.root, &**reader).await?;
            options.base = Some(base.root);
            options.hint = Some(ChangeHint { changed });
        }
        let ingested = ingest(&image, writer, options).await?;
        counts += ingested.counts;
        disks.push(PointDisk {
            root: ingested.root,
            // Anchors belong to the run that made them, and to the cloud.
            anchor: None,
            ..disk.clone()
        });
    }
    let copy = RecoveryPoint { disks, ..point };
    let id = writer.commit(&copy).await?;
    read_back(to, id, &copy).await?;
    Ok(Replicated {
        from: listed.id,
        to: id,
        counts,
    })
}

/// Reads every disk of a point to its end; its root is recomputed on the way.
async fn read_back(repository: &Repository, id: PointId, point: &RecoveryPoint) -> Result<()> {
    let reader = repository.read(&[id], "replicate").await?;
    let work = async {
        for disk in &point.disks {
            let options = ExportOptions {
                budget: repository.budget().clone(),
                env: repository.env().clone(),
                ..ExportOptions::default()
            };
            export(&disk.root, &reader, &Nowhere, options).await?;
        }
        Ok(())
    };
    let read = work.await;
    if let Err(error) = reader.close().await {
        tracing::warn!(%error, "the session was not closed");
    }
    read
}

/// Where a disk goes that is only read to see that it can be.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl DiskWriter for Nowhere {
    async fn write_at(&self, _: u64, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn write_zeroes(&self, _: Range<u64>) -> Result<()> {
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// Offers the bytes of a disk to a repository without making a point of them: chunks that are missing, and are still the same on this disk, are stored
/// again under their old names. Publishes them; what no point needs will be collected.
///
/// # Errors
/// The reader's and the repository's.
pub async fn heal(reader: &dyn DiskReader, repository: &Repository) -> Result<RunCounts> {
    let writer = repository.write(&[], "repair").await?;
    let options = IngestOptions {
        chunking: repository.parameters().chunking,
        segment_size: repository.parameters().segment_size,
        budget: repository.budget().clone(),
        env: repository.env().clone(),
        ..IngestOptions::default()
    };
    let ingested = ingest(reader, &writer, options).await;
    let closed = writer.close().await;
    let ingested = ingested?;
    closed?;
    Ok(ingested.counts)
}

/// Heals what `points` of `damaged` lack from their copies in `replica`. Gives the points that have none there.
///
/// # Errors
/// Those of either repository.
pub async fn heal_from_replica(
    damaged: &Repository,
    points: &[PointId],
    replica: &Repository,
) -> Result<Vec<PointId>> {
    let mut without = Vec::new();
    for listed in damaged.points().await? {
        if !points.contains(&listed.id) {
            continue;
        }
        let Some(copy) = copy_of(replica, &listed).await? else {
            without.push(listed.id);
            continue;
        };
        let reader = Arc::new(replica.read(&[copy], "repair").await?);
        let work = async {
            for disk in replica.point(copy).await?.disks {
                let image = ImageReader::open(&disk.root, Arc::clone(&reader) as _).await?;
                heal(&image, damaged).await?;
            }
            Ok::<_, Error>(())
        };
        let healed = work.await;
        if let Err(error) = reader.close().await {
            tracing::warn!(%error, "the session was not closed");
        }
        healed?;
    }
    Ok(without)
}
