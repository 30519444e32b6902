//! Names of objects as names of files, and errors of files as errors of objects.

use std::io;
use std::path::{Path as FilePath, PathBuf};

use object_store::path::Path;

/// Files under way lie here, in the root of the target: on the same file system as the objects, and outside their names.
pub(super) const STAGING: &str = ".raksha-staging";

/// What `mkfs` puts into the root of an ext file system; unreadable for most, and never ours.
const LOST_AND_FOUND: &str = "lost+found";

/// The directory of a target.
#[derive(Debug, Clone)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &FilePath {
        &self.0
    }

    /// The file of an object. Its name is the object's: segments of an object's name are never empty, `.` or `..`.
    pub(super) fn file(&self, location: &Path) -> object_store::Result<PathBuf> {
        let raw = location.as_ref();
        if raw.is_empty() || raw.split('/').next().is_some_and(is_reserved) {
            return Err(object_store::Error::NotSupported {
                source: format!("a directory cannot hold an object named '{raw}'").into(),
            });
        }
        Ok(self.directory(Some(location)))
    }

    /// The directory of a prefix.
    pub(super) fn directory(&self, prefix: Option<&Path>) -> PathBuf {
        let mut path = self.0.clone();
        if let Some(prefix) = prefix {
            path.extend(prefix.as_ref().split('/').filter(|s| !s.is_empty()));
        }
        path
    }
}

/// Whether a name in the root is not an object's or a prefix's.
pub(super) fn is_reserved(name: &str) -> bool {
    name == STAGING || name == LOST_AND_FOUND
}

/// What the operating system refused to do with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub(super) struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// `source`, met while trying to `action` the file at `path`, as an error on the object at `location`.
pub(super) fn refused(
    action: &'static str,
    path: &FilePath,
    location: &Path,
    source: io::Error,
) -> object_store::Error {
    use io::ErrorKind as E;
    use object_store::Error as O;
    let kind = source.kind();
    let path = path.to_path_buf();
    let source = Box::new(FileError {
        action,
        path,
        source,
    });
    let path = location.to_string();
    match kind {
        // `a/b` where `a` is a file: there is no such object.
        E::NotADirectory if action == "read" => O::NotFound { path, source },
        E::NotFound => O::NotFound { path, source },
        E::AlreadyExists => O::AlreadyExists { path, source },
        E::PermissionDenied | E::ReadOnlyFilesystem => O::PermissionDenied { path, source },
        _ => O::Generic {
            store: "directory",
            source,
        },
    }
}
