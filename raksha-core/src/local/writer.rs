//! Writing the first content of a restored disk.
//!
//! What is written goes to a file beside the disk's own and takes its place when it is whole and durable. The description says
//! until then that the disk is partial. A restore that died leaves the file; the next one begins it anew.

use std::fs::{self, File, TryLockError};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::LocalCloud;
use super::description::Description;
use super::directory::{DISKS, Directory, sync_directory};
use crate::cloud::{DiskId, DiskWriter};
use crate::disk_range::{check_range, span};
use crate::error::{Error, Kind, Result};

/// What is added to the name of a disk's file while it is being written.
pub(super) const PARTIAL: &str = ".partial";

/// Writes one disk.
#[derive(Debug)]
pub(super) struct RestoreWriter {
    cloud: LocalCloud,
    disk: DiskId,
    /// Locked, so that nobody else begins it anew meanwhile.
    file: Arc<File>,
    partial: PathBuf,
    size: u64,
    /// How many bytes are covered by what was written so far.
    covered: AtomicU64,
    finished: AtomicBool,
}

impl RestoreWriter {
    /// Begins to write `disk`, which a restore has created with this size.
    pub(super) async fn open(cloud: LocalCloud, disk: DiskId, size: u64) -> Result<Self> {
        let of = disk.clone();
        let (file, partial) = cloud
            .change(move |description, directory| begin(description, directory, &of, size))
            .await?;
        Ok(Self {
            cloud,
            disk,
            file: Arc::new(file),
            partial,
            size,
            covered: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        })
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        if self.finished.load(Ordering::Acquire) {
            let message = "the disk is finished already";
            return Err(Error::new(Kind::Invalid, WRITE, message).with("disk", &self.disk));
        }
        check_range(range, self.size)
    }

    fn cover(&self, bytes: u64) {
        self.covered.fetch_add(bytes, Ordering::AcqRel);
    }
}

const OPEN: &str = "open disk for restore";
const WRITE: &str = "write restored disk";
const FINISH: &str = "finish restored disk";

#[async_trait]
impl DiskWriter for RestoreWriter {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        self.check(&span(offset, data.len()))?;
        let file = Arc::clone(&self.file);
        let length = data.len() as u64;
        let write = move || file.write_all_at(&data, offset);
        let written = self.cloud.env.compute(write).await?;
        written.map_err(|e| {
            Error::io(WRITE, e)
                .with("disk", &self.disk)
                .with("offset", offset)
        })?;
        self.cover(length);
        Ok(())
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.check(&range)?;
        // The file was made empty and sparse, and nothing is written twice.
        self.cover(range.end - range.start);
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        if self.finished.load(Ordering::Acquire) {
            return Ok(());
        }
        let covered = self.covered.load(Ordering::Acquire);
        if covered != self.size {
            let message = format!(
                "{covered} bytes were written, but the disk has {}",
                self.size
            );
            return Err(Error::new(Kind::Invalid, FINISH, message).with("disk", &self.disk));
        }
        let file = Arc::clone(&self.file);
        let synced = self.cloud.env.compute(move || file.sync_all()).await?;
        synced.map_err(|e| Error::io(FINISH, e).with("disk", &self.disk))?;
        let (disk, partial) = (self.disk.clone(), self.partial.clone());
        self.cloud
            .change(move |description, directory| complete(description, directory, &disk, &partial))
            .await?;
        self.finished.store(true, Ordering::Release);
        Ok(())
    }
}

/// Makes an empty partial file for `disk`, and says so in the description.
fn begin(
    description: &mut Description,
    directory: &Directory,
    disk: &DiskId,
    size: u64,
) -> Result<(File, PathBuf)> {
    if let Some(described) = description.size_of(disk)
        && described != size
    {
        let message = format!("the disk has {described} bytes here, not {size}");
        return Err(Error::new(Kind::Invalid, OPEN, message).with("disk", disk));
    }
    description.disk(disk)?;
    let entry = description.disks.iter_mut().find(|d| d.disk == *disk);
    let Some((entry, restoring)) = entry.and_then(|e| e.restoring.clone().map(|r| (e, r))) else {
        let message = "the disk is in use here already, and nothing existing is overwritten";
        return Err(Error::new(Kind::AlreadyExists, OPEN, message).with("disk", disk));
    };
    directory.make_folder(DISKS)?;
    let partial = directory.place(&format!("{}{PARTIAL}", entry.file));
    let failed = |e| Error::io(OPEN, e).with("file", partial.display());
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    let file = options.open(&partial).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = "another restore is writing this disk";
            return Err(Error::new(Kind::Conflict, OPEN, message).with("disk", disk));
        }
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    // Whatever an earlier attempt wrote goes: all of it must read as zeroes.
    file.set_len(0)
        .and_then(|()| file.set_len(size))
        .map_err(failed)?;
    entry.restoring = Some(super::description::Restoring {
        written: false,
        ..restoring
    });
    Ok((file, partial))
}

/// Puts the file of a whole disk in its place.
fn complete(
    description: &mut Description,
    directory: &Directory,
    disk: &DiskId,
    partial: &std::path::Path,
) -> Result<()> {
    description.disk(disk)?;
    let entry = description.disks.iter_mut().find(|d| d.disk == *disk);
    if let Some(entry) = entry
        && let Some(restoring) = &mut entry.restoring
    {
        let whole = directory.place(&entry.file);
        let put =
            fs::rename(partial, &whole).and_then(|()| sync_directory(&directory.place(DISKS)));
        put.map_err(|e| Error::io(FINISH, e).with("file", whole.display()))?;
        restoring.written = true;
        return Ok(());
    }
    let message = "the disk is not being restored any more";
    Err(Error::new(Kind::Conflict, FINISH, message)
        .with("disk", disk)
        .retryable(false))
}
