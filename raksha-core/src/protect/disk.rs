//! Single disks, without any cloud: backed up under a name, restored, compared.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::cancel::Cancel;
use super::session::{TRIES, commit, end_session, read_again};
use crate::cloud::{ChangeHint, DiskId, DiskReader, DiskWriter};
use crate::error::{Error, Kind, Result};
use crate::id::PointId;
use crate::image::{ExportOptions, IngestOptions, Meter, Sampling, compare, export, ingest};
use crate::point::{PointDisk, PointSummary, RecoveryPoint};
use crate::repository::{Repository, Writer};
use crate::store::{ChunkStore, RunCounts};

/// What a backup or restore of a single disk is watched and stopped by.
#[derive(Debug, Clone, Default)]
pub struct DiskOptions {
    /// Where progress is counted.
    pub meter: Arc<Meter>,
    /// What stops it.
    pub cancel: Cancel,
}

/// What may have changed in a disk since one of its points, as whoever keeps track of it says: a hypervisor's dirty bitmap, `rbd diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The point.
    pub since: PointId,
    /// Offset and length of each change, in any order.
    pub ranges: Vec<(u64, u64)>,
}

/// A disk that was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskBackup {
    /// Its recovery point.
    pub point: PointId,
    /// What it took.
    pub counts: RunCounts,
    /// Whether something had changed of which nothing was told: then all was read.
    pub hint_lied: bool,
}

/// Backs a disk up under `name`; what the newest point of that name has is neither stored again nor looked up.
///
/// # Errors
/// [`Kind::Invalid`] if the name is empty, [`Kind::Cancelled`] if it was cancelled, and the reader's and the repository's.
pub async fn backup(
    reader: &dyn DiskReader,
    name: &str,
    repository: &Repository,
    options: DiskOptions,
) -> Result<DiskBackup> {
    back_up(reader, name, None, repository, options).await
}

/// The same, of a disk of which is told what changed since its newest point: nothing else is read, but samples that may show that not all was told.
///
/// # Errors
/// As [`backup`]; [`Kind::Invalid`] also if a change cannot be, and [`Kind::Conflict`] if the newest whole point of the disk is another.
pub async fn backup_changed(
    reader: &dyn DiskReader,
    name: &str,
    changes: Changes,
    repository: &Repository,
    options: DiskOptions,
) -> Result<DiskBackup> {
    back_up(reader, name, Some(changes), repository, options).await
}

async fn back_up(
    reader: &dyn DiskReader,
    name: &str,
    changes: Option<Changes>,
    repository: &Repository,
    options: DiskOptions,
) -> Result<DiskBackup> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::new(
            Kind::Invalid,
            "back up disk",
            "give the disk a name without control characters",
        ));
    }
    let DiskOptions { meter, cancel } = options;
    let disk = DiskId::Named(name.to_owned());
    let newest = cancel.guard(newest(repository, name, &disk)).await?;
    let hint = match changes {
        Some(changes) => Some(hint(changes, newest.as_ref(), reader.size())?),
        None => None,
    };
    let mut base = newest.map(|(id, disk)| Base { id, disk, hint });
    let mut tries = 1;
    loop {
        let attempt = attempt(reader, &disk, repository, base.as_ref(), &meter, &cancel).await;
        match attempt {
            Err(error) if tries < TRIES && read_again(&error) => {
                tracing::warn!(%error, "reading the disk again");
                tries += 1;
                base = None;
            }
            done => return done.map_err(|error| error.with("disk", name)),
        }
    }
}

/// The newest point of this name, with the disk in it.
async fn newest(
    repository: &Repository,
    name: &str,
    disk: &DiskId,
) -> Result<Option<(PointId, PointDisk)>> {
    let points = repository.points().await?.into_iter();
    let named = points.filter(|p| p.summary.project.is_none() && p.summary.name == name);
    let Some(newest) = named.max_by_key(|point| point.summary.taken) else {
        return Ok(None);
    };
    if !repository.is_whole(newest.id).await? {
        tracing::warn!(point = %newest.id, "the newest point lost chunks to damage; all is read, and what is the same heals it");
        return Ok(None);
    }
    match repository.point(newest.id).await {
        Ok(point) => Ok(point.disk(disk).ok().map(|d| (newest.id, d.clone()))),
        // A point that cannot be read must not stand in the way of the next one.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {
            tracing::warn!(%error, "the newest point cannot be gone by");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What a backup goes by.
struct Base {
    id: PointId,
    disk: PointDisk,
    hint: Option<ChangeHint>,
}

fn hint(changes: Changes, newest: Option<&(PointId, PointDisk)>, size: u64) -> Result<ChangeHint> {
    let refused = |kind, message: &str| Error::new(kind, "back up disk", message);
    let Some((_, disk)) = newest.filter(|(id, _)| *id == changes.since) else {
        let message = "it was told what changed since another point than the newest whole one of the disk: tell what changed since that, or have all of it read";
        let error = refused(Kind::Conflict, message).with("since", changes.since);
        return Err(match newest {
            Some((id, _)) => error.with("newest", id),
            None => error,
        });
    };
    ChangeHint::of(changes.ranges, disk.root.size, size).ok_or_else(|| {
        let message = "a change ends beyond all numbers: give offsets and lengths in bytes";
        refused(Kind::Invalid, message)
    })
}

async fn attempt(
    reader: &dyn DiskReader,
    disk: &DiskId,
    repository: &Repository,
    base: Option<&Base>,
    meter: &Arc<Meter>,
    cancel: &Cancel,
) -> Result<DiskBackup> {
    let pins: Vec<PointId> = base.iter().map(|base| base.id).collect();
    let writer = match repository.write(&pins, "disk backup").await {
        Ok(writer) => writer,
        Err(error) if error.kind() == Kind::NotFound && base.is_some() => {
            // Forgotten in this moment: as if the repository had changed underneath.
            return Err(
                Error::new(Kind::Conflict, "back up disk", "the base is gone").caused_by(error),
            );
        }
        Err(error) => return Err(error),
    };
    let done = read_and_commit(reader, disk, repository, &writer, base, meter, cancel).await;
    if let Err(error) = end_session(Some(&writer), done.as_ref().err()).await {
        // The repository fences sessions that fall silent, so this one harms nobody.
        tracing::warn!(%error, "the session was not closed");
    }
    done
}

async fn read_and_commit(
    reader: &dyn DiskReader,
    disk: &DiskId,
    repository: &Repository,
    writer: &Writer,
    base: Option<&Base>,
    meter: &Arc<Meter>,
    cancel: &Cancel,
) -> Result<DiskBackup> {
    let taken = repository.env().now();
    let lies = base.map_or(0, |base| base.disk.hint_lies);
    let options = IngestOptions {
        chunking: repository.parameters().chunking,
        segment_size: repository.parameters().segment_size,
        base: base.map(|base| base.disk.root),
        hint: base.and_then(|base| base.hint.clone()),
        sampling: Sampling::after_lies(lies),
        budget: repository.budget().clone(),
        env: repository.env().clone(),
        meter: Arc::clone(meter),
        ..IngestOptions::default()
    };
    let ingested = cancel.guard(ingest(reader, writer, options)).await?;
    let name = match disk {
        DiskId::Named(name) => name.clone(),
        other => other.to_string(),
    };
    let point = RecoveryPoint {
        summary: PointSummary {
            name,
            taken,
            project: None,
            principal: None,
            job: None,
            run: None,
            servers: 0,
            counts: ingested.counts,
        },
        graph: crate::cloud::ResourceGraph::default(),
        disks: vec![PointDisk {
            disk: disk.clone(),
            root: ingested.root,
            counts: ingested.counts,
            anchor: None,
            hint_lies: lies.saturating_add(u32::from(ingested.hint_lied)),
        }],
        ledger: crate::cloud::ConsistencyLedger::default(),
    };
    // Uploading what is left can be stopped; a commit, once begun, is brought to its end, so that its outcome is known.
    cancel.guard(writer.flush()).await?;
    let point = commit(repository, writer, &point).await?;
    Ok(DiskBackup {
        point,
        counts: ingested.counts,
        hint_lied: ingested.hint_lied,
    })
}

/// Picks a disk of a point: the one asked for, or the only one.
///
/// # Errors
/// [`Kind::NotFound`] if the point does not hold it, [`Kind::Invalid`] if it holds several and none was asked for.
pub fn pick<'a>(point: &'a RecoveryPoint, disk: Option<&str>) -> Result<&'a PointDisk> {
    if let Some(wanted) = disk {
        let called = |d: &&PointDisk| match &d.disk {
            DiskId::Named(name) => name == wanted,
            DiskId::Volume(id) => id.as_str() == wanted,
            DiskId::Local { .. } => false,
        };
        let mut disks = point.disks.iter();
        return disks
            .find(|d| d.disk.to_string() == wanted || called(d))
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    "pick disk",
                    list(point, "the point has no such disk"),
                )
                .with("disk", wanted)
            });
    }
    match point.disks.as_slice() {
        [only] => Ok(only),
        _ => Err(Error::new(
            Kind::Invalid,
            "pick disk",
            list(point, "the point holds not exactly one disk: say which"),
        )),
    }
}

fn list(point: &RecoveryPoint, why: &str) -> String {
    let names: Vec<String> = point.disks.iter().map(|d| d.disk.to_string()).collect();
    format!("{why}; it has: {}", names.join(", "))
}

/// Writes a disk of a point, and checks while writing that it is what it was.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such point or disk, [`Kind::Corrupt`] if what is stored is damaged; what was written must not be
/// taken for the disk then.
pub async fn restore(
    repository: &Repository,
    point: PointId,
    disk: &DiskId,
    writer: &dyn DiskWriter,
    options: DiskOptions,
) -> Result<RunCounts> {
    let DiskOptions { meter, cancel } = options;
    let reader = repository.read(&[point], "disk restore").await?;
    let work = async {
        let root = repository.point(point).await?.disk(disk)?.root;
        let options = ExportOptions {
            budget: repository.budget().clone(),
            env: repository.env().clone(),
            meter,
            ..ExportOptions::default()
        };
        export(&root, &reader, writer, options).await
    };
    let exported = cancel.guard(work).await;
    if let Err(error) = reader.close().await {
        tracing::warn!(%error, "the session was not closed");
    }
    let exported = exported.map_err(|error| error.with("disk", disk).with("point", point))?;
    Ok(exported.counts)
}

/// What differs between a disk of one point and a disk of another: ranges in bytes, ascending, disjoint. Where one is longer, its
/// end differs.
///
/// # Errors
/// [`Kind::NotFound`] if a point or disk does not exist.
pub async fn diff(
    repository: &Repository,
    (a, disk_a): (PointId, &DiskId),
    (b, disk_b): (PointId, &DiskId),
) -> Result<Vec<Range<u64>>> {
    let reader = repository.read(&[a, b], "disk diff").await?;
    let work = async {
        let a = repository.point(a).await?.disk(disk_a)?.root;
        let b = repository.point(b).await?.disk(disk_b)?.root;
        compare(&a, &b, &reader).await
    };
    let changed = work.await;
    if let Err(error) = reader.close().await {
        tracing::warn!(%error, "the session was not closed");
    }
    changed
}
