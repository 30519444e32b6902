//! Directories and files of our own in the work directory, which nobody else may look into and which do not outlive their use.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};

/// What the name of a Unix socket may have at most (`sun_path` holds 108 with the zero at its end).
const LONGEST_SOCKET_NAME: usize = 107;

/// A directory that only this user can enter, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in `work`, which is made too if it is not there.
    pub(crate) fn new(work: &Path, env: &Env) -> Result<Self> {
        let failed = |e| Error::io(MAKE, e).with("work directory", work.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(work)
            .map_err(failed)?;
        let path = work.join(format!("raksha-{}", name(env)?));
        // Fails if it is there, so nobody can have prepared it.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(failed)?;
        Ok(Self(path))
    }

    /// The name of a socket in it.
    pub(crate) fn socket(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        if path.as_os_str().as_bytes().len() > LONGEST_SOCKET_NAME {
            let message = format!(
                "names of sockets have at most {LONGEST_SOCKET_NAME} bytes: choose a work directory with a shorter name"
            );
            return Err(Error::new(Kind::Invalid, MAKE, message).with("socket", path.display()));
        }
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "a directory of our own stays behind");
        }
    }
}

/// A file in `work` that has no name any more: when it is closed, also by a crash, its space is free.
pub(crate) fn nameless_file(work: &Path, env: &Env) -> Result<File> {
    let failed = |e| Error::io(MAKE_FILE, e).with("work directory", work.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(work)
        .map_err(failed)?;
    let path = work.join(format!("raksha-{}", name(env)?));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

const MAKE: &str = "make directory";
const MAKE_FILE: &str = "make file";

fn name(env: &Env) -> Result<String> {
    let bytes: [u8; 6] = env.random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
