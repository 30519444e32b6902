//! Where chunks lie, in bounded memory.
//!
//! Index objects become local *runs*: sorted, searched in place, each with a small filter in memory. As in a log-structured merge tree
//! (O'Neil et al. 1996), small runs are merged into larger ones so that each is more than twice as large as all smaller ones
//! together, up to a size at which index objects in the target are not merged any further either: to merge all of a large repository whenever it is opened would cost
//! far more than the questions that one process asks. So there are a handful of small runs, and of large ones about one for 1.5 million chunks; a chunk that is nowhere
//! costs a cache line for each. The entries lie in memory as long as all of them together stay below a limit; beyond that, runs go to files. What grows with the repository is 11 bits
//! of memory a chunk and 64 bytes a pack.
//!
//! Readers never wait: they work on a [`View`], which a change replaces.

mod cache;
mod filter;
mod merge;
mod run;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cache::Cache;
pub(crate) use merge::merge_indexes;
use merge::{Destination, merge};
use run::{Run, Storage};
pub(crate) use view::{Location, Marks, PackUsage, Place, View};

use super::index::IndexObject;
use super::names::PackName;
#[cfg(any(test, feature = "testkit"))]
use super::pretend::IndexFootprint;
use crate::error::{Kind, Result};
use crate::id::{ChunkId, ObjectHash};

/// A run is at least this many times as large as all smaller ones together.
const GROWTH: u64 = 2;

/// A run of so many bytes is large: it stays as it is. Index objects of this size are not merged with others either.
const LARGE: u64 = super::merging::SMALL;

/// Of more runs than this, the smaller half is merged, although they are large.
const MANY: usize = 128;

/// Finds chunks. Everything here may read and write local files: not for threads that drive input and output.
pub(crate) struct Lookup {
    memory: u64,
    cache: Cache,
    view: RwLock<Arc<View>>,
    known: Mutex<Known>,
}

/// What was told so far. Locked while the lookup changes.
#[derive(Default)]
struct Known {
    indexes: HashSet<ObjectHash>,
    dead: HashSet<PackName>,
}

impl Lookup {
    /// An empty one, which keeps up to `memory` bytes of entries in memory. With a `cache`, a folder, index objects stay there for the next
    /// time; without one, files have no name and go with the lookup.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub(crate) fn new(memory: u64, cache: Option<PathBuf>) -> Result<Self> {
        Ok(Self {
            memory,
            cache: Cache::new(cache)?,
            view: RwLock::default(),
            known: Mutex::default(),
        })
    }

    /// What it knows at this moment.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place of this chunk.
    pub(crate) fn locate(&self, id: &ChunkId) -> Result<Option<Location>> {
        self.view().locate(id)
    }

    /// A place of each of these chunks, in order.
    pub(crate) fn locate_many(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>> {
        self.view().locate_many(ids)
    }

    /// Whether an index was added.
    #[cfg(test)]
    pub(crate) fn has(&self, index: &ObjectHash) -> bool {
        self.known().indexes.contains(index)
    }

    /// What it takes in memory.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn footprint(&self) -> IndexFootprint {
        let runs = &self.view().runs;
        IndexFootprint {
            chunks: runs.iter().map(|run| run.len()).sum(),
            packs: runs.iter().map(|run| run.packs().len() as u64).sum(),
            runs: runs.len() as u64,
            entries: runs.iter().map(|run| run.resident()).sum(),
            beside: runs.iter().map(|run| run.overhead()).sum(),
        }
    }

    /// Adds those of these indexes that the local cache has, and returns the others: fetch and [`add`](Self::add) them.
    pub(crate) fn add_cached(&self, indexes: &[ObjectHash]) -> Result<Vec<ObjectHash>> {
        let mut change = self.change();
        let mut missing = Vec::new();
        for hash in indexes {
            if change.known.indexes.contains(hash) {
                continue;
            }
            let Some(file) = self.cache.open(hash)? else {
                missing.push(*hash);
                continue;
            };
            match Run::read(Storage::File(file), Some(hash)) {
                Ok(run) => change.admit(*hash, run)?,
                Err(e) if e.kind() == Kind::Corrupt => {
                    self.cache.drop_file(hash);
                    missing.push(*hash);
                }
                Err(e) => return Err(e),
            }
        }
        change.finish()?;
        Ok(missing)
    }

    /// Adds indexes, all at once if possible: that is cheaper. One that was added before changes nothing, nor does
    /// a pack that another index listed before.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if an object is no index; then none was added. Otherwise if the local cache cannot be written.
    pub(crate) fn add(&self, objects: Vec<IndexObject>) -> Result<()> {
        let mut change = self.change();
        for object in objects {
            if change.known.indexes.contains(&object.hash) {
                continue;
            }
            let run = Run::read(Storage::Memory(object.bytes.clone()), None)
                .map_err(|e| e.with("index", object.hash))?;
            let kept = self.cache.keep(&object)?;
            let run = match kept {
                Some(file) if !change.has_room(run.size()) => run.lies_in(Storage::File(file)),
                _ => run,
            };
            change.admit(object.hash, run)?;
        }
        change.finish()
    }

    /// From now on finds nothing in these packs.
    pub(crate) fn retire(&self, packs: &[PackName]) {
        let mut known = self.known();
        known.dead.extend(packs);
        for run in &self.view().runs {
            packs.iter().for_each(|pack| run.retire(pack));
        }
    }

    /// Drops files of indexes that are not among `wanted` from the local cache.
    pub(crate) fn tidy_cache(&self, wanted: &HashSet<ObjectHash>) -> Result<()> {
        self.cache.drop_others(wanted)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> Change<'_> {
        let known = self.known();
        let runs = self.view().runs.clone();
        Change {
            lookup: self,
            known,
            runs,
            added: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

/// How many of these runs are to be merged: given the entries and the bytes of each, the smallest first.
fn to_merge(runs: impl ExactSizeIterator<Item = (u64, u64)>) -> usize {
    let count = runs.len();
    let (mut sum, mut small) = (0, 0);
    for (n, (entries, _)) in (1..).zip(runs.take_while(|(_, bytes)| *bytes < LARGE)) {
        if entries < GROWTH * sum {
            small = n;
        }
        sum += entries;
    }
    match small {
        0 if count > MANY => count / 2,
        small => small,
    }
}

/// A change in the making. If it is given up, the lookup is as it was.
struct Change<'a> {
    lookup: &'a Lookup,
    known: MutexGuard<'a, Known>,
    runs: Vec<Arc<Run>>,
    added: Vec<ObjectHash>,
}

impl Change<'_> {
    /// Adds a run of what is new in `run`.
    fn admit(&mut self, hash: ObjectHash, run: Run) -> Result<()> {
        let run = Arc::new(run);
        let new = |name: &PackName| {
            !self.known.dead.contains(name) && !self.runs.iter().any(|other| other.lists(name))
        };
        let packs = run.packs().len();
        let fresh = run.packs().iter().filter(|pack| new(&pack.name)).count();
        let (inside, fits) = (run.resident() > 0, self.has_room(run.size()));
        let run = match fresh {
            0 => None,
            n if n == packs && inside == fits => Some(run),
            _ => Some(Arc::new(merge(&[run], &new, &self.destination(fits))?)),
        };
        self.runs.extend(run.filter(|run| run.len() > 0));
        self.added.push(hash);
        // So that no great number of files is open at once.
        if self.runs.len() > MANY {
            self.settle()?;
        }
        Ok(())
    }

    /// Merges runs until each is large enough beside the smaller ones.
    fn settle(&mut self) -> Result<()> {
        loop {
            self.runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
            let sizes = self.runs.iter().rev().map(|run| (run.len(), run.size()));
            let small = to_merge(sizes);
            if small == 0 {
                return Ok(());
            }
            let inputs = self.runs.split_off(self.runs.len() - small);
            let fits = self.has_room(inputs.iter().map(|run| run.size()).sum());
            let keep = |name: &PackName| !self.known.dead.contains(name);
            let merged = merge(&inputs, &keep, &self.destination(fits))?;
            if merged.len() > 0 {
                self.runs.push(Arc::new(merged));
            }
        }
    }

    /// Lets the lookup have the changed runs.
    fn finish(mut self) -> Result<()> {
        self.settle()?;
        self.known.indexes.extend(self.added);
        let view = Arc::new(View { runs: self.runs });
        let current = &self.lookup.view;
        *current.write().unwrap_or_else(PoisonError::into_inner) = view;
        Ok(())
    }

    /// Whether there is room in memory for `bytes` of entries more.
    fn has_room(&self, bytes: u64) -> bool {
        let resident: u64 = self.runs.iter().map(|run| run.resident()).sum();
        resident + bytes <= self.lookup.memory
    }

    fn destination(&self, memory: bool) -> Destination<'_> {
        if memory {
            Destination::Memory
        } else {
            Destination::FileIn(self.lookup.cache.scratch())
        }
    }
}
