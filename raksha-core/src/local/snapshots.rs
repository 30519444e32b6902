//! Snapshots: copies of all disks of a set, taken while nobody who keeps to the lock can write.
//!
//! Each disk of a set becomes a folder of its own under `snapshots/`, which is a temporary of its own.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::description::DiskFormat;
use super::directory::{Directory, Hold, SNAPSHOTS, sync_directory};
use super::hints::comparable;
use super::layers::{self, Layer};
use super::snapshot_folder::{self, CopiedLayer, Record};
use super::sparse::{self, CopiedBy, Stop, Stopped};
use super::{LocalCloud, add};
use crate::cloud::{
    Anchor, Consistency, ConsistencyLedger, DiskConsistency, DiskId, HintSupport, OpenedDisk, Raw,
    Recorder, ResourceGraph, SnapshotCapabilities, SnapshotProvider, SnapshotRequest, SnapshotSet,
    SnapshottedDisk, Temporary,
};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// What temporaries of this provider are called.
const KIND: &str = "disk snapshot";
/// File systems tell times in ticks of the kernel's clock, which are no longer than 10 ms (`CONFIG_HZ_100`); this is two.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// A snapshot that was just taken.
struct Taken {
    record: Record,
    name: String,
    began: Timestamp,
    ended: Timestamp,
    by: CopiedBy,
}

#[async_trait]
impl SnapshotProvider for LocalCloud {
    async fn capabilities(&self, graph: &ResourceGraph) -> Result<SnapshotCapabilities> {
        let disks: Vec<DiskId> = graph.disks()?.into_iter().map(|(disk, _)| disk).collect();
        let directory = self.directory.clone();
        let look = move || -> Result<bool> {
            let description = directory.read()?;
            let mut all_raw = true;
            for disk in &disks {
                let entry = description.disk(disk)?;
                add::check_size(&description, &directory, entry)?;
                all_raw &= entry.format == DiskFormat::Raw;
            }
            Ok(all_raw)
        };
        let hints = match self.env.compute(look).await?? {
            true => HintSupport::AllDisks,
            false => HintSupport::SomeDisks,
        };
        Ok(SnapshotCapabilities::new(
            Consistency::CrashAcrossDisks,
            hints,
        ))
    }

    async fn snapshot(
        &self,
        request: SnapshotRequest<'_>,
        recorder: &dyn Recorder,
    ) -> Result<SnapshotSet> {
        let SnapshotRequest {
            graph: _,
            disks,
            consistency: _,
            marker,
            keep_anchor,
        } = request;
        let mut wanted: Vec<(DiskId, String, String)> = Vec::new();
        for (i, disk) in disks.iter().enumerate() {
            if wanted.iter().any(|(known, ..)| known == disk) {
                let message = "a disk is asked for twice: ask once";
                return Err(Error::new(Kind::Invalid, TAKE, message).with("disk", disk));
            }
            let name = format!("{marker}-{i}");
            let identity = self.new_id()?;
            wanted.push((disk.clone(), name, identity));
        }
        for (_, name, _) in &wanted {
            recorder.record(&temporary(name)).await?;
        }

        let env = self.env.clone();
        let stop = Stop::default();
        let stopped = stop.watch();
        let take = move |directory: &Directory, _: &_| {
            let taking = Taking {
                directory,
                env: &env,
                stopped: &stopped,
                durable: keep_anchor,
            };
            taking.take(wanted)
        };
        let taken = self.locked(Hold::Exclusive, take).await?;
        Ok(snapshot_set(taken, keep_anchor))
    }

    async fn open(
        &self,
        set: &SnapshotSet,
        disk: &DiskId,
        since: Option<&Anchor>,
        _recorder: &dyn Recorder,
    ) -> Result<OpenedDisk> {
        let of_set = set.disks.iter().find(|d| d.disk == *disk);
        let name = of_set.and_then(|d| d.detail.get("snapshot")?.as_str());
        let name = name.ok_or_else(|| {
            let message = "the snapshot set does not hold this disk";
            Error::new(Kind::NotFound, OPEN, message).with("disk", disk)
        })?;
        let name = name.to_owned();
        let (directory, env, disk) = (self.directory.clone(), self.env.clone(), disk.clone());
        let anchor = since.cloned();
        let open = move || -> Result<_> {
            let (record, layers) = snapshot_folder::find(&directory, &name)?;
            if record.disk != disk {
                let message = "the snapshot is of another disk";
                return Err(Error::new(Kind::Corrupt, OPEN, message).with("snapshot", &name));
            }
            let reader = layers::open(&layers, record.size, &env)?;
            let pair = anchor.and_then(|anchor| comparable(&directory, &anchor, &record, &layers));
            Ok((reader, pair))
        };
        let (reader, pair) = self.env.compute(open).await??;
        let hint = match pair {
            Some(pair) => Some(pair.compare(&self.env).await?),
            None => None,
        };
        Ok(OpenedDisk { reader, hint })
    }

    async fn release(&self, temporary: &Temporary) -> Result<()> {
        if temporary.kind != KIND {
            let message = format!(
                "this is a {}, not a {KIND} of a local cloud",
                temporary.kind
            );
            return Err(
                Error::new(Kind::Invalid, RELEASE, message).with("marker", &temporary.marker)
            );
        }
        let name = temporary
            .id
            .clone()
            .unwrap_or_else(|| temporary.marker.clone());
        // Exclusively, so that a run that was given up while it was copying has stopped.
        let remove = move |directory: &Directory, _: &_| {
            let folder = snapshot_folder::path(directory, &name);
            snapshot_folder::remove(&folder)
                .map_err(|e| Error::io(RELEASE, e).with("snapshot", folder.display()))
        };
        self.locked(Hold::Exclusive, remove).await
    }
}

const TAKE: &str = "take snapshot";
const OPEN: &str = "open snapshot";
const RELEASE: &str = "release snapshot";

fn temporary(name: &str) -> Temporary {
    Temporary {
        marker: name.to_owned(),
        kind: KIND.to_owned(),
        id: Some(name.to_owned()),
        detail: Raw::Null,
    }
}

fn snapshot_set(taken: Vec<Taken>, keep_anchor: bool) -> SnapshotSet {
    let began = taken.iter().map(|t| t.began).min();
    let ended = taken.iter().map(|t| t.ended).max();
    let skew = began
        .zip(ended)
        .map_or(Duration::ZERO, |(began, ended)| ended.since(began));
    let mut set = SnapshotSet {
        disks: Vec::new(),
        ledger: ConsistencyLedger {
            disks: Vec::new(),
            skew,
        },
        detail: Raw::Null,
    };
    for one in taken {
        let raw = matches!(one.record.layers.as_slice(), [only] if only.format == DiskFormat::Raw);
        set.ledger.disks.push(DiskConsistency {
            disk: one.record.disk.clone(),
            level: Consistency::CrashAcrossDisks,
            means: match one.by {
                CopiedBy::Cloning => "clone under the cloud's lock".to_owned(),
                CopiedBy::Reading => "copy under the cloud's lock".to_owned(),
            },
            taken: one.began,
            freeze: None,
        });
        set.disks.push(SnapshottedDisk {
            disk: one.record.disk,
            size: one.record.size,
            anchor: (keep_anchor && raw).then(|| Anchor {
                id: one.name.clone(),
                identity: one.record.identity,
                temporary: temporary(&one.name),
            }),
            detail: serde_json::json!({ "snapshot": one.name }),
        });
    }
    set
}

/// What is to be copied: a disk as it was found.
struct Wanted {
    disk: DiskId,
    name: String,
    identity: String,
    size: u64,
    layers: Vec<Layer>,
}

/// Copies disks. The caller holds the lock.
struct Taking<'a> {
    directory: &'a Directory,
    env: &'a Env,
    stopped: &'a Stopped,
    /// Whether the copies must survive a crash: only anchors must.
    durable: bool,
}

impl Taking<'_> {
    fn take(&self, wanted: Vec<(DiskId, String, String)>) -> Result<Vec<Taken>> {
        let description = self.directory.read()?;
        let snapshots = self.directory.make_folder(SNAPSHOTS)?;
        let mut found = Vec::new();
        for (disk, name, identity) in wanted {
            let entry = description.disk(&disk)?;
            let size = add::check_size(&description, self.directory, entry)?;
            let (layers, _) = layers::find(self.directory, entry)?;
            found.push(Wanted {
                disk,
                name,
                identity,
                size,
                layers,
            });
        }
        let files: Vec<PathBuf> = found
            .iter()
            .flat_map(|w| &w.layers)
            .flat_map(|layer| [Some(layer.path.clone()), layer.data.clone()])
            .flatten()
            .collect();
        let before = stamps(&files)?;
        // From here on a write gives a file another time than it has.
        std::thread::sleep(CLOCK_TICK);
        let taken: Result<Vec<Taken>> = found.into_iter().map(|one| self.take_one(one)).collect();
        let taken = taken?;
        let after = stamps(&files)?;
        let mut all = files.iter().zip(before.iter().zip(&after));
        if let Some((file, _)) = all.find(|(_, (before, after))| before != after) {
            return Err(Error::new(
                Kind::Conflict,
                TAKE,
                "a disk was written while the set was copied, by somebody who does not hold the cloud's lock: stop the server, or try again",
            )
            .with("file", file.display()));
        }
        if self.durable {
            sync_directory(&snapshots).map_err(|e| Error::io(TAKE, e))?;
        }
        Ok(taken)
    }

    /// Copies one disk into a folder of its own.
    fn take_one(&self, wanted: Wanted) -> Result<Taken> {
        let Wanted {
            disk,
            name,
            identity,
            size,
            layers: found,
        } = wanted;
        let folder = snapshot_folder::path(self.directory, &name);
        fs::create_dir(&folder)
            .map_err(|e| Error::io(TAKE, e).with("snapshot", folder.display()))?;
        let began = self.env.now();
        let mut by = CopiedBy::Cloning;
        let mut layers = Vec::new();
        let mut copy = |from: &Path, name: String| -> Result<String> {
            let how = self.copy(from, &folder.join(&name));
            if how.map_err(|e| e.with("disk", &disk).with("file", from.display()))?
                == CopiedBy::Reading
            {
                by = CopiedBy::Reading;
            }
            Ok(name)
        };
        for (i, layer) in found.iter().enumerate() {
            let data = layer.data.as_deref();
            layers.push(CopiedLayer {
                file: copy(&layer.path, format!("{i}"))?,
                format: layer.format,
                data: data
                    .map(|path| copy(path, format!("{i}.data")))
                    .transpose()?,
            });
        }
        let ended = self.env.now();
        let record = Record {
            disk,
            size,
            identity,
            layers,
        };
        snapshot_folder::write_record(&folder, &record, self.durable)
            .map_err(|e| Error::io(TAKE, e).with("snapshot", &name))?;
        Ok(Taken {
            record,
            name,
            began,
            ended,
            by,
        })
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<CopiedBy> {
        let copy = || {
            let to = File::create_new(to)?;
            let how = sparse::copy(&File::open(from)?, &to, self.stopped)?;
            if self.durable {
                to.sync_all()?;
            }
            Ok(how)
        };
        copy().map_err(|e: std::io::Error| match e.kind() {
            std::io::ErrorKind::Interrupted => {
                let message = "nobody waits for the snapshot any more";
                Error::new(Kind::Cancelled, TAKE, message)
            }
            _ => Error::io(TAKE, e),
        })
    }
}

/// What changes when a file is written: its length and times.
fn stamps(files: &[PathBuf]) -> Result<Vec<[i64; 5]>> {
    let stamp = |file: &PathBuf| {
        let about =
            fs::metadata(file).map_err(|e| Error::io(TAKE, e).with("file", file.display()))?;
        Ok([
            about.size().cast_signed(),
            about.mtime(),
            about.mtime_nsec(),
            about.ctime(),
            about.ctime_nsec(),
        ])
    };
    files.iter().map(stamp).collect()
}
