//! Directories whose entries survive a loss of power.
//!
//! A name is durable when the directory that holds it was synced after the name was given, and so on up to the root. Syncing is
//! what costs, so writers who finish at the same time in one directory share a sync: each waits for one that *began* after
//! its name was given.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The directories of a target that this process has written to.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    gates: Mutex<HashMap<PathBuf, Arc<Gate>>>,
}

/// The syncs of one directory. Wishes are numbered; a sync fulfils all that were made before it began.
#[derive(Debug, Default)]
struct Gate {
    /// Whether the directory's own name is known to be durable.
    named: AtomicBool,
    turn: Mutex<()>,
    wishes: Mutex<Wishes>,
}

#[derive(Debug, Default)]
struct Wishes {
    made: u64,
    /// All wishes up to this number have their outcome ...
    settled: u64,
    /// ... which for those up to this one is failure. The kernel tells an error once, and asking again would wrongly
    /// succeed: so it is passed on to all who waited, at worst to one whom an earlier sync had fulfilled.
    failed: Option<(u64, io::ErrorKind)>,
}

impl Directories {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            gates: Mutex::default(),
        }
    }

    /// Makes sure that `directory`, which lies in the root, exists and that its own name is durable. The root is never made: if
    /// it has gone, it was unmounted or moved away.
    pub(super) fn ensure(&self, directory: &FilePath) -> io::Result<()> {
        if directory == self.root || self.gate(directory).named.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(parent) = directory.parent() else {
            return Ok(());
        };
        self.ensure(parent)?;
        match std::fs::create_dir(directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            // Whoever made it may have crashed before its name was durable.
            _ => self.sync(parent)?,
        }
        self.gate(directory).named.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits for a sync of `directory` that began after this call. A directory that has gone took its names with it.
    pub(super) fn sync(&self, directory: &FilePath) -> io::Result<()> {
        match self.gate(directory).sync(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.forget(directory);
                Ok(())
            }
            done => done,
        }
    }

    /// Removes `directory` and those above it, as long as they are empty and not the root.
    pub(super) fn remove_empty(&self, directory: &FilePath) {
        let mut at = directory;
        while at != self.root && std::fs::remove_dir(at).is_ok() {
            self.forget(at);
            match at.parent() {
                Some(parent) => at = parent,
                None => return,
            }
        }
    }

    /// Forgets what was known about `directory` and those above it: somebody removed one of them.
    pub(super) fn forget(&self, directory: &FilePath) {
        let mut gates = self.gates();
        for at in directory.ancestors() {
            gates.remove(at);
        }
    }

    fn gate(&self, directory: &FilePath) -> Arc<Gate> {
        let mut gates = self.gates();
        if let Some(gate) = gates.get(directory) {
            return Arc::clone(gate);
        }
        let gate = Arc::<Gate>::default();
        gates.insert(directory.to_path_buf(), Arc::clone(&gate));
        gate
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn sync(&self, directory: &FilePath) -> io::Result<()> {
        let mine = {
            let mut wishes = self.wishes();
            wishes.made += 1;
            wishes.made
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let covered = {
            let wishes = self.wishes();
            if wishes.settled >= mine {
                return match wishes.failed {
                    Some((last, kind)) if mine <= last => Err(kind.into()),
                    _ => Ok(()),
                };
            }
            wishes.made
        };
        let done = File::open(directory).and_then(|d| sync_directory(&d));
        let mut wishes = self.wishes();
        wishes.settled = covered;
        if let Err(e) = &done {
            wishes.failed = Some((covered, e.kind()));
        }
        done
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some file systems cannot sync a directory, because their names are durable anyway.
fn sync_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}
