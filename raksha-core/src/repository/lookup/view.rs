//! What a lookup knew at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::filter::Probe;
use super::run::{Run, Scan};
use crate::error::Result;
use crate::id::ChunkId;
use crate::repository::index::{IndexEntry, IndexPack};
use crate::repository::names::PackName;
use crate::store::Role;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// In which pack.
    pub(crate) pack: PackName,
    /// Where in the pack, in bytes.
    pub(crate) offset: u32,
    /// How long it is, in bytes.
    pub(crate) length: u32,
    /// What the pack's chunks are for.
    pub(crate) role: Role,
}

/// Where a chunk was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// Its record.
    pub(crate) place: Place,
    /// The entry that says so; good for the [`View`] that found it.
    pub(crate) entry: EntryRef,
}

/// An entry of a [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryRef {
    run: u32,
    number: u32,
}

/// What a lookup knew at one moment. It stays as it is, except that packs that are retired later may vanish from it.
#[derive(Default)]
pub(crate) struct View {
    pub(super) runs: Vec<Arc<Run>>,
}

impl View {
    /// A place of this chunk.
    ///
    /// # Errors
    /// If the local cache cannot be read.
    pub(crate) fn locate(&self, id: &ChunkId) -> Result<Option<Location>> {
        let mut search = Search::default();
        for (number, run) in self.suspects(id) {
            let found = search.of_run(number, run, id)?.next();
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A place of each of these chunks, in order. The more at once, the less each costs: run by run, the questions to its filter do not wait for one another, and
    /// its pages are read in order.
    pub(crate) fn locate_many(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>> {
        let mut located = vec![None; ids.len()];
        let questions = ids.iter().zip(&mut located);
        let mut open: Vec<Question<'_>> = questions.map(Question::new).collect();
        open.sort_unstable_by_key(|question| question.id);
        let mut search = Search::default();
        for (number, run) in (0u32..).zip(&self.runs) {
            let mut suspects: Vec<_> = (open.iter_mut())
                .filter(|question| run.may_hold(&question.probe))
                .collect();
            for question in &mut suspects {
                *question.answer = search.of_run(number, run, question.id)?.next();
            }
            if suspects.iter().any(|question| question.answer.is_some()) {
                open.retain(|question| question.answer.is_none());
            }
        }
        drop(open);
        Ok(located)
    }

    /// Every place of this chunk.
    pub(crate) fn locate_all(&self, id: &ChunkId) -> Result<Vec<Location>> {
        let (mut search, mut located) = (Search::default(), Vec::new());
        for (number, run) in self.suspects(id) {
            located.extend(search.of_run(number, run, id)?);
        }
        Ok(located)
    }

    /// The runs that may list this chunk, with their numbers.
    fn suspects(&self, id: &ChunkId) -> impl Iterator<Item = (u32, &Run)> {
        let probe = Probe::of(id);
        let runs = (0u32..).zip(self.runs.iter().map(Arc::as_ref));
        runs.filter(move |(_, run)| run.may_hold(&probe))
    }

    /// How many entries there are, those of retired packs too.
    pub(crate) fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// All packs that are not retired.
    pub(crate) fn packs(&self) -> impl Iterator<Item = &IndexPack> {
        self.runs.iter().flat_map(|run| {
            let alive = (0u32..).zip(run.packs()).filter(|(n, _)| run.alive(*n));
            alive.map(|(_, pack)| pack)
        })
    }

    /// Calls `visit` for every chunk in a pack that is not retired, in no particular order.
    pub(crate) fn for_each(
        &self,
        mut visit: impl FnMut(ChunkId, Location) -> Result<()>,
    ) -> Result<()> {
        for (number, run) in (0u32..).zip(&self.runs) {
            let mut scan = Scan::new(Arc::clone(run));
            while let Some((entry, found)) = scan.next()? {
                if run.alive(found.pack)
                    && let Some(place) = place(run, &found)
                {
                    let entry = EntryRef {
                        run: number,
                        number: entry,
                    };
                    visit(found.id, Location { place, entry })?;
                }
            }
        }
        Ok(())
    }

    /// A mark for each entry, none set: one bit of memory each.
    pub(crate) fn marks(&self) -> Marks {
        let zeroes = |run: &Arc<Run>| {
            let words = run.len().div_ceil(64);
            (0..words).map(|_| AtomicU64::new(0)).collect()
        };
        Marks(self.runs.iter().map(zeroes).collect())
    }

    /// How much of each pack that is not retired is marked.
    pub(crate) fn usage(&self, marks: &Marks) -> Result<Vec<PackUsage>> {
        let mut usages = Vec::new();
        for (number, run) in (0u32..).zip(&self.runs) {
            let mut of_run: Vec<_> = run.packs().iter().map(PackUsage::none).collect();
            let mut scan = Scan::new(Arc::clone(run));
            while let Some((entry, found)) = scan.next()? {
                let marked = marks.is_marked(EntryRef {
                    run: number,
                    number: entry,
                });
                if let Some(usage) = of_run.get_mut(found.pack as usize) {
                    usage.add(found.length, marked);
                }
            }
            let alive = (0u32..).zip(of_run).filter(|(n, _)| run.alive(*n));
            usages.extend(alive.map(|(_, usage)| usage));
        }
        Ok(usages)
    }
}

fn place(run: &Run, entry: &IndexEntry) -> Option<Place> {
    let pack = run.pack(entry)?;
    Some(Place {
        pack: pack.name,
        offset: entry.offset,
        length: entry.length,
        role: pack.role,
    })
}

/// Where one of many chunks is.
struct Question<'a> {
    id: &'a ChunkId,
    probe: Probe,
    answer: &'a mut Option<Location>,
}

impl<'a> Question<'a> {
    fn new((id, answer): (&'a ChunkId, &'a mut Option<Location>)) -> Self {
        Self {
            id,
            probe: Probe::of(id),
            answer,
        }
    }
}

/// Room that is used again from search to search.
#[derive(Default)]
struct Search {
    buffer: Vec<u8>,
    found: Vec<(u32, IndexEntry)>,
}

impl Search {
    /// Every place that this run, which has this number, lists for a chunk.
    fn of_run<'a>(
        &'a mut self,
        number: u32,
        run: &'a Run,
        id: &ChunkId,
    ) -> Result<impl Iterator<Item = Location> + use<'a>> {
        self.found.clear();
        run.find(id, &mut self.buffer, &mut self.found)?;
        let found = self.found.iter();
        Ok(found.filter_map(move |(entry, found)| {
            let place = place(run, found)?;
            let entry = EntryRef {
                run: number,
                number: *entry,
            };
            Some(Location { place, entry })
        }))
    }
}

/// A bit for each entry of a [`View`]. Any number of threads may mark at once.
pub(crate) struct Marks(Vec<Vec<AtomicU64>>);

impl Marks {
    /// Marks an entry and says whether it was marked before.
    pub(crate) fn mark(&self, entry: EntryRef) -> bool {
        let bit = 1 << (entry.number % 64);
        let word = self.word(entry);
        word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit != 0)
    }

    /// Whether an entry is marked.
    pub(crate) fn is_marked(&self, entry: EntryRef) -> bool {
        let bit = 1 << (entry.number % 64);
        let word = self.word(entry);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn word(&self, entry: EntryRef) -> Option<&AtomicU64> {
        let run = self.0.get(entry.run as usize)?;
        run.get(entry.number as usize / 64)
    }
}

/// How much of a pack is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackUsage {
    /// The pack.
    pub(crate) pack: IndexPack,
    /// Its marked records, and the bytes they take.
    pub(crate) live_records: u64,
    pub(crate) live_bytes: u64,
    /// All its records, and the bytes they take.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl PackUsage {
    fn none(pack: &IndexPack) -> Self {
        Self {
            pack: *pack,
            live_records: 0,
            live_bytes: 0,
            records: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, length: u32, marked: bool) {
        self.records += 1;
        self.bytes += u64::from(length);
        if marked {
            self.live_records += 1;
            self.live_bytes += u64::from(length);
        }
    }
}
