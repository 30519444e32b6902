//! The embedded cloud: a directory of servers that a file describes.
//!
//! It offers everything that a cloud offers ([`ResourceDiscovery`](crate::cloud::ResourceDiscovery),
//! [`SnapshotProvider`](crate::cloud::SnapshotProvider), [`ResourceRestorer`](crate::cloud::ResourceRestorer)) on any
//! laptop, without a network: for trying things out, for tests, and for disks that lie in files anyway.
//!
//! # The directory
//!
//! | name | what |
//! | --- | --- |
//! | `cloud.json` | the description: servers, volumes, networks ... and where the bytes of each disk are |
//! | `lock` | an empty file whose advisory lock is the cloud's |
//! | `disks/` | disks that this library made; yours may lie anywhere in the directory |
//! | `snapshots/` | one folder per snapshot of a disk |
//!
//! # The description
//!
//! `graph` is a [`ResourceGraph`]; every field of its types can be written, and those that may be absent there may be absent
//! here. `disks` says for each volume and for each disk of a server's own in which file its bytes are. Files are named
//! relative to the directory and never lead out of it, be it by `..` or by symbolic links.
//!
//! ```json
#![doc = include_str!("example.json")]
//! ```
//!
//! A disk in format `raw` is its file, byte for byte, whatever the bytes look like; its size must be the one described. A disk
//! in format `qcow2` (feature `qcow2`) is read only. An image that names a backing file or an external data file is refused
//! unless the disk says `"backing": true` or `"data_file": true`, and then these files must lie in the directory as well:
//! a guest that could choose which file its disk shows would read the files of everybody else. Images that
//! are encrypted, compressed other than by zlib, or not closed cleanly are refused with the command that helps.
//!
//! A field that nobody knows is an error, not a comment; what is yours goes under a resource's `raw`, where it is kept. The
//! description is replaced as a whole, so that any number of processes can read it at any time.
//!
//! # The lock
//!
//! Whoever writes a disk of the cloud holds the lock shared; taking snapshots and changing the description hold it
//! exclusively. So the disks of a set are of one instant, for those who keep to it: [`LocalCloud::write_disk`] does. For a guest
//! that does not, a snapshot is refused if a disk was seen to change while it was being copied.
//!
//! # Restoring
//!
//! Resources keep the ids of the point where these are free. Disks come back as sparse raw files, whatever they
//! were. Networks that lead outside are created like all others: here is no operator who would have to.

mod add;
mod check;
mod description;
mod directory;
mod discovery;
mod hints;
mod layers;
mod new_server;
mod restorer;
mod snapshot_folder;
mod snapshots;
mod sparse;
mod survey;
#[cfg(test)]
mod test_files;
#[cfg(test)]
mod tests;
mod translate;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use description::{DiskFile, DiskFormat};
pub use new_server::NewServer;

use crate::cloud::{DiskId, ResourceGraph};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use description::Description;
use directory::{Directory, Held, Hold};

/// How long to wait for the lock, and how often to look.
const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// A cloud in a directory. Cheap to clone; any number of them, in any number of processes, can use one directory.
#[derive(Debug, Clone)]
pub struct LocalCloud {
    directory: Directory,
    env: Env,
}

impl LocalCloud {
    /// Opens the cloud in `directory`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Invalid`] if its description is wrong, saying where and what to do.
    pub async fn open(directory: impl Into<PathBuf>, env: Env) -> Result<Self> {
        let path = directory.into();
        let open = move || {
            let directory = Directory::at(&path)?;
            directory.read().map(|_| directory)
        };
        let directory = env.compute(open).await??;
        Ok(Self { directory, env })
    }

    /// Creates a cloud with nothing in it in `directory`, which is created too if it is not there.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] if there is a cloud.
    pub async fn create(directory: impl Into<PathBuf>, env: Env) -> Result<Self> {
        let path = directory.into();
        let make = move || {
            std::fs::create_dir_all(&path).map_err(|e| {
                Error::io("create local cloud", e).with("directory", path.display())
            })?;
            Directory::at(&path)
        };
        let directory = env.compute(make).await??;
        let cloud = Self { directory, env };
        cloud
            .locked(Hold::Exclusive, |directory, held| directory.create(held))
            .await?;
        Ok(cloud)
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        self.directory.root()
    }

    /// Everything that the description holds.
    pub async fn graph(&self) -> Result<ResourceGraph> {
        Ok(self.describe().await?.graph)
    }

    /// The file that holds a disk's bytes.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such disk, or its file is missing.
    pub async fn disk_path(&self, disk: &DiskId) -> Result<PathBuf> {
        let description = self.describe().await?;
        self.directory.find(&description.disk(disk)?.file)
    }

    /// The description as it is now.
    async fn describe(&self) -> Result<Description> {
        let directory = self.directory.clone();
        self.env.compute(move || directory.read()).await?
    }

    /// Changes the description, or leaves it as it is if `change` fails.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Description, &Directory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.locked(Hold::Exclusive, |directory, held| {
            let mut description = directory.read()?;
            let done = change(&mut description, directory)?;
            directory.replace(&description, held)?;
            Ok(done)
        })
        .await
    }

    /// Does `work` while holding the lock, off the async threads. Once begun it goes on to its end.
    async fn locked<T: Send + 'static>(
        &self,
        hold: Hold,
        work: impl FnOnce(&Directory, &Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let held = self.lock(hold).await?;
        let directory = self.directory.clone();
        self.env.compute(move || work(&directory, &held)).await?
    }

    async fn lock(&self, hold: Hold) -> Result<Held> {
        let looks = LOCK_WAIT.as_millis() / LOCK_LOOK.as_millis();
        for _ in 0..looks {
            let directory = self.directory.clone();
            if let Some(held) = self.env.compute(move || directory.try_lock(hold)).await?? {
                return Ok(held);
            }
            tokio::time::sleep(LOCK_LOOK).await;
        }
        let message = format!(
            "another process has held the cloud's lock for {} s",
            LOCK_WAIT.as_secs()
        );
        Err(Error::new(Kind::Timeout, "lock local cloud", message)
            .with("directory", self.path().display()))
    }

    /// An id that nobody has.
    fn new_id(&self) -> Result<String> {
        let hex = crate::id::RunId::from_bytes(self.env.random()?).to_string();
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
        let parts: Vec<&str> = parts.into_iter().filter_map(|part| hex.get(part)).collect();
        Ok(parts.join("-"))
    }
}
