//! A run: one sorted index, local, with what makes searching it cheap.
//!
//! The entries lie in memory or in a file, exactly as in the index object. In memory beside them: the filter (10 bits a chunk), and
//! for every page of 93 entries (4 KiB) the head of its first id (0.7 bits a chunk). So a question for an absent chunk costs a cache line, and one for
//! a present chunk the reading of one page.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::filter::{Filter, Probe};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ObjectHash};
use crate::repository::index::{
    ENTRY, EntryCheck, HEADER, IndexEntry, IndexPack, PACK, decode_header, decode_packs,
};
use crate::repository::names::PackName;

/// Entries of a page: as many as fit into 4 KiB.
const PAGE: u64 = 93;

/// Entries to either side of where an id should lie that are looked at first: of its 93 neighbours, a standard deviation of 4.8 lies before it at most.
const NEAR: u64 = 12;

/// Entries that a scan reads at once: 64 pages from a file, and little from memory, where there may be many runs at once.
const SCAN_FILE: u64 = 64 * PAGE;
const SCAN_MEMORY: u64 = PAGE;

/// Where an index lies.
pub(super) enum Storage {
    Memory(Bytes),
    File(File),
}

impl Storage {
    fn length(&self) -> Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata().map_err(failed)?.len()),
        }
    }

    /// `length` bytes from `offset` on, in `buffer` if they have to be read.
    fn bytes<'a>(&'a self, offset: u64, length: u64, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let truncated = || Error::new(Kind::Corrupt, "read index", "it is truncated");
        let size = usize::try_from(length).map_err(|_| truncated())?;
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(|_| truncated())?;
                let end = start.checked_add(size).ok_or_else(truncated)?;
                bytes.get(start..end).ok_or_else(truncated)
            }
            Self::File(file) => {
                buffer.resize(size, 0);
                file.read_exact_at(buffer, offset).map_err(failed)?;
                Ok(buffer)
            }
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("read index from local cache", error)
}

/// One sorted index.
pub(super) struct Run {
    storage: Storage,
    packs: Vec<IndexPack>,
    /// Which packs are dead: of those, nothing is found.
    dead: Vec<AtomicBool>,
    entries: u64,
    filter: Filter,
    /// The first eight bytes of the first id of every page.
    fences: Vec<u64>,
}

impl Run {
    /// Reads the index in `storage` once, checking everything; with `name`, also that its bytes have this hash.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is not an index, or not this one.
    pub(super) fn read(storage: Storage, name: Option<&ObjectHash>) -> Result<Self> {
        let mut hasher = name.map(|_| blake3::Hasher::new());
        let mut feed = |bytes: &[u8]| {
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
        };
        let corrupt = |why| Error::new(Kind::Corrupt, "read index", why);
        let mut buffer = Vec::new();
        let length = storage.length()?;

        let header = storage.bytes(0, HEADER as u64, &mut buffer)?;
        feed(header);
        let size = decode_header(header)? as u64 * PACK as u64;
        let rest = length.checked_sub(HEADER as u64 + size);
        let rest = rest.ok_or_else(|| corrupt("it is truncated"))?;
        let packs = storage.bytes(HEADER as u64, size, &mut buffer)?;
        feed(packs);
        let packs = decode_packs(packs)?;
        if rest % ENTRY as u64 != 0 {
            return Err(corrupt("its last entry is cut off"));
        }

        let count = rest / ENTRY as u64;
        let mut builder = RunBuilder::new(packs, count);
        let mut at = 0;
        while at < count {
            let step = SCAN_FILE.min(count - at);
            let offset = builder.entries_begin() + at * ENTRY as u64;
            let block = storage.bytes(offset, step * ENTRY as u64, &mut buffer)?;
            feed(block);
            for entry in block.chunks_exact(ENTRY) {
                builder.push(&IndexEntry::decode(entry)?)?;
            }
            at += step;
        }
        if hasher.map(|h| ObjectHash::from_bytes(*h.finalize().as_bytes())) != name.copied() {
            return Err(corrupt("its bytes do not hash to its name"));
        }
        builder.finish(storage)
    }

    /// The same run, the bytes of which also lie there.
    pub(super) fn lies_in(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> u64 {
        self.entries
    }

    /// The bytes of memory that its entries take; 0 if they lie in a file.
    pub(super) fn resident(&self) -> u64 {
        match &self.storage {
            Storage::Memory(bytes) => bytes.len() as u64,
            Storage::File(_) => 0,
        }
    }

    /// The bytes of memory that it takes besides.
    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn overhead(&self) -> u64 {
        self.filter.size() + self.fences.len() as u64 * 8 + self.packs.len() as u64 * 64
    }

    /// The bytes of the whole index.
    pub(super) fn size(&self) -> u64 {
        entries_begin(&self.packs) + self.entries * ENTRY as u64
    }

    /// All of the index, if it lies in memory.
    pub(super) fn into_bytes(self) -> Option<Bytes> {
        match self.storage {
            Storage::Memory(bytes) => Some(bytes),
            Storage::File(_) => None,
        }
    }

    /// The packs that it lists, sorted by name.
    pub(super) fn packs(&self) -> &[IndexPack] {
        &self.packs
    }

    /// The pack of an entry.
    pub(super) fn pack(&self, entry: &IndexEntry) -> Option<&IndexPack> {
        self.packs.get(entry.pack as usize)
    }

    /// Whether it lists this pack.
    pub(super) fn lists(&self, name: &PackName) -> bool {
        self.packs.binary_search_by_key(name, |p| p.name).is_ok()
    }

    /// From now on nothing is found in this pack.
    pub(super) fn retire(&self, name: &PackName) {
        let place = self.packs.binary_search_by_key(name, |p| p.name).ok();
        if let Some(dead) = place.and_then(|at| self.dead.get(at)) {
            dead.store(true, Ordering::Release);
        }
    }

    /// Whether the pack of this number may be used.
    pub(super) fn alive(&self, pack: u32) -> bool {
        let dead = self.dead.get(pack as usize);
        dead.is_some_and(|dead| !dead.load(Ordering::Acquire))
    }

    /// Whether the chunk may be listed; surely not, if this says no.
    pub(super) fn may_hold(&self, probe: &Probe) -> bool {
        self.filter.may_hold(probe)
    }

    /// Appends the entries of chunk `id` in packs that are alive to `found`, with their numbers. Worth asking where the run [may hold](Self::may_hold) it.
    pub(super) fn find(
        &self,
        id: &ChunkId,
        buffer: &mut Vec<u8>,
        found: &mut Vec<(u32, IndexEntry)>,
    ) -> Result<()> {
        let head = head(id);
        // Entries of one id may begin at the end of the page before the first that begins with it.
        let mut page = self.fences.partition_point(|f| *f < head).saturating_sub(1);
        while self.fences.get(page).is_some_and(|f| *f <= head) {
            let whole = self.page(page);
            let mut end = self.find_in(&self.likely(page, head), &whole, id, buffer, found)?;
            if end == End::Unknown {
                end = self.find_in(&whole, &whole, id, buffer, found)?;
            }
            if end == End::Here {
                break;
            }
            page += 1;
        }
        Ok(())
    }

    /// The entries of a page.
    fn page(&self, page: usize) -> Range<u64> {
        let first = page as u64 * PAGE;
        first..self.entries.min(first + PAGE)
    }

    /// The entries of a page among which an id that begins like this is most likely to lie. Ids are uniform, so one lies in its page about where its value lies between
    /// the first and the next page's.
    fn likely(&self, page: usize, head: u64) -> Range<u64> {
        let whole = self.page(page);
        let first = self.fences.get(page).copied().unwrap_or(0);
        let next = self.fences.get(page + 1).copied().unwrap_or(u64::MAX);
        let (into, all) = (head.saturating_sub(first), next.saturating_sub(first));
        let share = u128::from(into) * u128::from(PAGE) / u128::from(all).max(1);
        let middle = whole.start + u64::try_from(share).unwrap_or(PAGE).min(PAGE);
        let start = middle.saturating_sub(NEAR).clamp(whole.start, whole.end);
        start..(middle + NEAR).min(whole.end).max(start)
    }

    /// Appends the entries of `id` in this range of a page, if it is certain that the page has no others.
    fn find_in(
        &self,
        range: &Range<u64>,
        page: &Range<u64>,
        id: &ChunkId,
        buffer: &mut Vec<u8>,
        found: &mut Vec<(u32, IndexEntry)>,
    ) -> Result<End> {
        let before = found.len();
        let entries = self.block(range.start, range.end - range.start, buffer)?;
        let mut at = lower_bound(entries, id);
        if at == 0 && range.start > page.start {
            return Ok(End::Unknown);
        }
        while let Some(bytes) = entries.get(at * ENTRY..(at + 1) * ENTRY) {
            let entry = IndexEntry::decode(bytes)?;
            if entry.id != *id {
                return Ok(End::Here);
            }
            if self.alive(entry.pack) {
                found.push((ordinal(range.start + at as u64), entry));
            }
            at += 1;
        }
        if range.end < page.end {
            found.truncate(before);
            return Ok(End::Unknown);
        }
        Ok(End::Later)
    }

    /// The bytes of `count` entries from number `first` on.
    fn block<'a>(&'a self, first: u64, count: u64, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let offset = entries_begin(&self.packs) + first * ENTRY as u64;
        self.storage.bytes(offset, count * ENTRY as u64, buffer)
    }
}

/// Where the entries of an id end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Here.
    Here,
    /// On this page or a later one.
    Later,
    /// Nobody knows: what was looked at was too little.
    Unknown,
}

/// The number of the first entry in `entries` whose id is not below `id`.
fn lower_bound(entries: &[u8], id: &ChunkId) -> usize {
    let (mut low, mut high) = (0, entries.len() / ENTRY);
    while low < high {
        let middle = usize::midpoint(low, high);
        let below = entries
            .get(middle * ENTRY..middle * ENTRY + 32)
            .is_some_and(|other| other < id.as_bytes().as_slice());
        if below {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Where the entries begin in an index of these packs.
fn entries_begin(packs: &[IndexPack]) -> u64 {
    HEADER as u64 + packs.len() as u64 * PACK as u64
}

/// The first eight bytes of an id, as a number that orders as ids do.
fn head(id: &ChunkId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The number of an entry; a run has at most as many as this can count.
fn ordinal(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Gathers what a run keeps in memory while its entries pass by.
pub(super) struct RunBuilder {
    packs: Vec<IndexPack>,
    entries: u64,
    check: EntryCheck,
    filter: Filter,
    fences: Vec<u64>,
}

impl RunBuilder {
    /// For an index of these packs with at most `entries` entries.
    pub(super) fn new(packs: Vec<IndexPack>, entries: u64) -> Self {
        Self {
            packs,
            entries: 0,
            check: EntryCheck::new(),
            filter: Filter::new(entries),
            fences: Vec::new(),
        }
    }

    fn entries_begin(&self) -> u64 {
        entries_begin(&self.packs)
    }

    /// Takes note of the next entry.
    pub(super) fn push(&mut self, entry: &IndexEntry) -> Result<()> {
        self.check.check(entry, &self.packs)?;
        self.filter.insert(&entry.id);
        if self.entries.is_multiple_of(PAGE) {
            self.fences.push(head(&entry.id));
        }
        self.entries += 1;
        Ok(())
    }

    /// The run, the entries of which lie in `storage`.
    pub(super) fn finish(self, storage: Storage) -> Result<Run> {
        if self.entries > u64::from(u32::MAX) {
            return Err(Error::new(
                Kind::Unsupported,
                "read index",
                "it has more entries than this version can count",
            ));
        }
        Ok(Run {
            storage,
            dead: self.packs.iter().map(|_| AtomicBool::new(false)).collect(),
            packs: self.packs,
            entries: self.entries,
            filter: self.filter,
            fences: self.fences,
        })
    }
}

/// Walks all entries of a run in order, those of dead packs too.
pub(super) struct Scan {
    run: Arc<Run>,
    next: u64,
    /// Entries read ahead, in reverse.
    ahead: Vec<(u32, IndexEntry)>,
    buffer: Vec<u8>,
}

impl Scan {
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self {
            run,
            next: 0,
            ahead: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// The next entry with its number.
    pub(super) fn next(&mut self) -> Result<Option<(u32, IndexEntry)>> {
        if self.ahead.is_empty() && self.next < self.run.len() {
            let step = match self.run.storage {
                Storage::Memory(_) => SCAN_MEMORY,
                Storage::File(_) => SCAN_FILE,
            };
            let count = step.min(self.run.len() - self.next);
            let block = self.run.block(self.next, count, &mut self.buffer)?;
            for (n, bytes) in (self.next..).zip(block.chunks_exact(ENTRY)) {
                self.ahead.push((ordinal(n), IndexEntry::decode(bytes)?));
            }
            self.ahead.reverse();
            self.next += count;
        }
        Ok(self.ahead.pop())
    }
}
