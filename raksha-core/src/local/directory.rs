//! The directory of a local cloud: its description, its lock, and files that lie in it and nowhere else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::description::Description;
use crate::error::{Error, Kind, Result};

/// The file that describes the cloud.
const DESCRIPTION: &str = "cloud.json";
/// The next description, until it takes the place of the one before.
const NEXT_DESCRIPTION: &str = "cloud.json.next";
/// The file whose lock is the cloud's. It has no content and is never removed.
const LOCK: &str = "lock";
/// Where disks go that the library makes.
pub(super) const DISKS: &str = "disks";
/// Where snapshots go.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// No description is longer than this: it would be tens of thousands of servers.
const LONGEST_DESCRIPTION: u64 = 256 << 20;

/// The directory of a local cloud. Everything here blocks; callers are off the async threads.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    /// Free of symbolic links.
    root: Arc<Path>,
}

/// How the cloud's lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// By those who write disks, as guests do.
    Shared,
    /// By whoever takes snapshots or changes the description.
    Exclusive,
}

/// The cloud's lock, held until dropped.
#[derive(Debug)]
pub(super) struct Held {
    _file: File,
}

impl Directory {
    /// The directory at `path`, which exists.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let root = fs::canonicalize(path)
            .map_err(|e| Error::io("open local cloud", e).with("directory", path.display()))?;
        Ok(Self { root: root.into() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Reads the description. It is replaced as a whole, so that reading needs no lock.
    pub(super) fn read(&self) -> Result<Description> {
        let path = self.root.join(DESCRIPTION);
        let failed = |e| Error::io("read the cloud's description", e).with("file", path.display());
        let file = File::open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::new(
                Kind::NotFound,
                "open local cloud",
                "there is no cloud in this directory: write its cloud.json, or create a cloud here",
            )
            .with("file", path.display()),
            _ => failed(e),
        })?;
        let mut text = String::new();
        let read = file.take(LONGEST_DESCRIPTION + 1).read_to_string(&mut text);
        if read.map_err(failed)? as u64 > LONGEST_DESCRIPTION {
            let message = format!("the file is longer than {LONGEST_DESCRIPTION} bytes");
            return Err(
                Error::new(Kind::Invalid, "read the cloud's description", message)
                    .with("file", path.display()),
            );
        }
        Description::parse(&text, &path)
    }

    /// Replaces the description: whoever reads sees the old one or the new one, also after a crash. The caller holds the lock.
    pub(super) fn replace(&self, description: &Description, _held: &Held) -> Result<()> {
        description.check()?;
        let text = description.render()?;
        let next = self.root.join(NEXT_DESCRIPTION);
        let write = || {
            remove_if_there(&next)?;
            let mut file = File::create_new(&next)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&next, self.root.join(DESCRIPTION))?;
            sync_directory(&self.root)
        };
        write()
            .map_err(|e| Error::io("write the cloud's description", e).with("file", next.display()))
    }

    /// Writes the first description.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] if there is a cloud here.
    pub(super) fn create(&self, held: &Held) -> Result<()> {
        if self.root.join(DESCRIPTION).exists() {
            return Err(Error::new(
                Kind::AlreadyExists,
                "create local cloud",
                "there is a cloud in this directory already: open it, or choose another directory",
            )
            .with("directory", self.root.display()));
        }
        self.replace(&Description::empty(), held)
    }

    /// Takes the lock if nobody is in the way.
    pub(super) fn try_lock(&self, hold: Hold) -> Result<Option<Held>> {
        let path = self.root.join(LOCK);
        let failed = |e| Error::io("lock local cloud", e).with("file", path.display());
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(failed)?;
        let locked = match hold {
            Hold::Shared => file.try_lock_shared(),
            Hold::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(Some(Held { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    /// The path of an existing regular file that `name` leads to, symbolic links followed.
    ///
    /// # Errors
    /// [`Kind::Denied`] if it is not in the directory, [`Kind::NotFound`], [`Kind::Invalid`] if it is no regular file.
    pub(super) fn find(&self, name: &str) -> Result<PathBuf> {
        self.find_from(&self.root, name)
    }

    /// The same for a name as qcow2 images have it: relative to the directory `base`, or absolute.
    pub(super) fn find_from(&self, base: &Path, name: &str) -> Result<PathBuf> {
        let path = base.join(name);
        let found = fs::canonicalize(&path)
            .map_err(|e| Error::io("find disk file", e).with("file", path.display()))?;
        if !found.starts_with(&self.root) {
            return Err(Error::new(
                Kind::Denied,
                "find disk file",
                "the file is not in the cloud's directory: move it there",
            )
            .with("file", path.display()));
        }
        let about = fs::metadata(&found)
            .map_err(|e| Error::io("find disk file", e).with("file", path.display()))?;
        if !about.is_file() {
            let message = "this is not a regular file";
            return Err(
                Error::new(Kind::Invalid, "find disk file", message).with("file", path.display())
            );
        }
        Ok(found)
    }

    /// Where a file of the library's own is or will be; `name` was made by the library.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the folder `name` of the library's own if it is not there.
    pub(super) fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        let make = || {
            match fs::create_dir(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            if fs::symlink_metadata(&path)?.is_dir() {
                sync_directory(&self.root)
            } else {
                Err(std::io::ErrorKind::NotADirectory.into())
            }
        };
        make().map_err(|e| Error::io("make folder", e).with("folder", path.display()))?;
        Ok(path)
    }
}

/// Checks that `name` leads downwards only, whatever is there.
///
/// # Errors
/// [`Kind::Invalid`], saying how to write it.
pub(super) fn check_relative(name: &str) -> Result<()> {
    let mut parts = Path::new(name).components().peekable();
    let downwards = parts.peek().is_some() && parts.all(|p| matches!(p, Component::Normal(_)));
    if downwards && !name.contains('\0') {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        "check the cloud's description",
        "write the file's path relative to the cloud's directory, without `..`",
    )
    .with("file", name))
}

/// Makes entries of the directory at `path` durable.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes the file at `path`.
pub(super) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A file name for something with an arbitrary name: letters, digits, `-`, `_` and `.` stand for themselves but for a `.` that
/// would hide the file, all else is written as `%` and two digits; what would grow too long is named by its hash.
pub(super) fn file_name(parts: &[&str]) -> String {
    let mut name = String::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            name.push('+');
        }
        for byte in part.bytes() {
            match byte {
                b'.' if name.is_empty() => name.push_str("%2e"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    name.push(char::from(byte));
                }
                _ => name.push_str(&format!("%{byte:02x}")),
            }
        }
    }
    match name.len() {
        0 => "%".to_owned(),
        1..=150 => name,
        _ => format!("%{}", blake3::hash(name.as_bytes()).to_hex()),
    }
}
