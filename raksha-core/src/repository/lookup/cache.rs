//! Index objects as local files, so that they need not be fetched again.
//!
//! A file is named by the index's hash and is believed only if its bytes hash to that: it is read once at opening anyway. So nothing
//! has to be durable, and a file that is damaged or cut off is fetched again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::repository::index::IndexObject;

const PREFIX: &str = "index-";

/// Where index files lie, if they are to be kept at all, and where others that have no name may lie.
pub(super) struct Cache {
    kept: Option<PathBuf>,
    scratch: PathBuf,
}

impl Cache {
    /// Keeps files in `folder`, which is made if it is not there. Without one, nothing is kept.
    pub(super) fn new(folder: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
        }
        Ok(Self {
            scratch: folder.clone().unwrap_or_else(std::env::temp_dir),
            kept: folder,
        })
    }

    /// The folder for files without a name.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The file of an index, if it is kept.
    pub(super) fn open(&self, hash: &ObjectHash) -> Result<Option<File>> {
        let Some(path) = self.path(hash) else {
            return Ok(None);
        };
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&path, e)),
        }
    }

    /// Keeps an index. Gives the file, unless it is kept already or nothing is.
    pub(super) fn keep(&self, object: &IndexObject) -> Result<Option<File>> {
        let (Some(folder), Some(path)) = (&self.kept, self.path(&object.hash)) else {
            return Ok(None);
        };
        if path.exists() {
            return Ok(None);
        }
        let (mut file, draft) = private_file(folder)?;
        file.write_all(&object.bytes)
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|e| {
                let _ = fs::remove_file(&draft);
                failed(&path, e)
            })?;
        Ok(Some(file))
    }

    /// Drops the file of an index.
    pub(super) fn drop_file(&self, hash: &ObjectHash) {
        if let Some(path) = self.path(hash) {
            let _ = fs::remove_file(path);
        }
    }

    /// Drops the files of all indexes but `wanted`.
    pub(super) fn drop_others(&self, wanted: &HashSet<ObjectHash>) -> Result<()> {
        let Some(folder) = &self.kept else {
            return Ok(());
        };
        for file in fs::read_dir(folder).map_err(|e| failed(folder, e))? {
            let path = file.map_err(|e| failed(folder, e))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let hash = name.and_then(|name| name.strip_prefix(PREFIX));
            let hash = hash.and_then(|hash| hash.parse::<ObjectHash>().ok());
            if hash.is_some_and(|hash| !wanted.contains(&hash)) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn path(&self, hash: &ObjectHash) -> Option<PathBuf> {
        let folder = self.kept.as_ref()?;
        Some(folder.join(format!("{PREFIX}{hash}")))
    }
}

/// A new file in `folder` that has no name any more: it is gone when closed, whatever becomes of this process.
pub(super) fn anonymous_file(folder: &Path) -> Result<File> {
    let (file, path) = private_file(folder)?;
    fs::remove_file(&path).map_err(|e| failed(&path, e))?;
    Ok(file)
}

/// A new file in `folder` that nobody else may read.
fn private_file(folder: &Path) -> Result<(File, PathBuf)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("raksha-{}-{number}.tmp", std::process::id()));
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match opened {
            Ok(file) => return Ok((file, path)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(&path, e)),
        }
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::io("use local cache", error).with("path", path.display())
}
