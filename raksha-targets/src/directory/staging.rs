//! Files on their way to become objects.
//!
//! An object is written under a random name in the staging directory and published whole: moved to its name, or linked there if
//! nothing may be there yet. Whoever writes holds a lock on the file, which the operating system drops with the process:
//! so what a crashed writer left behind is told from what a living one is writing without asking any clock.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path as FilePath, PathBuf};

use raksha_core::direct::DirectFile;
use raksha_core::env::Env;

use super::files::STAGING;

/// From this many bytes on it pays to open the file a second time.
const DIRECT: usize = 1 << 20;

/// The staging directory of a target.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    env: Env,
}

/// A file under way; removed when dropped.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    file: File,
    moved: bool,
}

/// Whether something may be at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// It is replaced.
    Overwrite,
    /// It wins: [`io::ErrorKind::AlreadyExists`].
    Create,
}

impl Staging {
    pub(super) fn new(root: &FilePath, env: Env) -> Self {
        Self {
            directory: root.join(STAGING),
            env,
        }
    }

    /// A new, empty file. The directory itself is made when it is first needed, so that reading writes nothing.
    pub(super) fn create(&self) -> io::Result<Staged> {
        loop {
            let name = u128::from_be_bytes(self.env.random::<16>().map_err(io::Error::other)?);
            let path = self.directory.join(format!("{name:032x}"));
            let mut options = OpenOptions::new();
            let file = match options.read(true).write(true).create_new(true).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    match std::fs::create_dir(&self.directory) {
                        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                        _ => continue,
                    }
                }
                opened => opened?,
            };
            // Where locks are not supported, nobody takes this file for abandoned either.
            if file.lock().is_err() || path.try_exists()? {
                return Ok(Staged {
                    path,
                    file,
                    moved: false,
                });
            }
            // Somebody swept the file away between its creation and the lock: again.
        }
    }

    /// Removes what crashed writers left behind and says how many files that were.
    pub(super) fn sweep(&self) -> io::Result<usize> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut swept = 0;
        for entry in entries {
            let path = entry?.path();
            // Locks over a network file system want a file opened for writing.
            let Ok(file) = OpenOptions::new().write(true).open(&path) else {
                continue;
            };
            if file.try_lock().is_ok() {
                std::fs::remove_file(&path)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Staged {
    pub(super) fn path(&self) -> &FilePath {
        &self.path
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Appends `bytes`; past the page cache if they are many.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if bytes.len() >= DIRECT {
            let at = self.file.stream_position()?;
            let done = DirectFile::open(&self.path).write_at(bytes, at)?;
            self.file.seek(SeekFrom::Start(at + done as u64))?;
            rest = bytes.get(done..).unwrap_or_default();
        }
        self.file.write_all(rest)
    }

    /// Gives the file the name `to`. Its bytes must have been synced before; the directory must be synced afterwards.
    pub(super) fn publish(&mut self, to: &FilePath, how: Publish) -> io::Result<()> {
        match how {
            Publish::Overwrite => {
                std::fs::rename(&self.path, to)?;
                self.moved = true;
                Ok(())
            }
            Publish::Create => match std::fs::hard_link(&self.path, to) {
                // Over a network file system, a request whose answer was lost is sent again and finds its own link.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && self.is_at(to) => Ok(()),
                linked => linked,
            },
        }
    }

    #[cfg(unix)]
    fn is_at(&self, path: &FilePath) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(mine), Ok(there)) => mine.dev() == there.dev() && mine.ino() == there.ino(),
            _ => false,
        }
    }

    #[cfg(not(unix))]
    fn is_at(&self, _path: &FilePath) -> bool {
        false
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed now is swept when the target is opened next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
