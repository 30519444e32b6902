//! Merging sorted runs into one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{BufWriter, Write};
use std::sync::Arc;

use super::cache::anonymous_file;
use super::run::{Run, RunBuilder, Scan, Storage};
use crate::error::{Error, Kind, Result};
use crate::repository::index::{IndexEntry, IndexObject, IndexPack, encode_head};
use crate::repository::names::PackName;

/// Where the result of a merge goes.
pub(super) enum Destination<'a> {
    Memory,
    /// A file that has no name any more, in this folder.
    FileIn(&'a std::path::Path),
}

/// One index of all that `runs` hold in packs for which `keep` says so. An entry that several runs have is there once.
pub(super) fn merge(
    runs: &[Arc<Run>],
    keep: &dyn Fn(&PackName) -> bool,
    into: &Destination<'_>,
) -> Result<Run> {
    match into {
        Destination::Memory => {
            let size = runs.iter().map(|run| run.size()).sum::<u64>();
            let out = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            let (builder, mut out) = merge_to(runs, keep, out)?;
            out.shrink_to_fit();
            builder.finish(Storage::Memory(out.into()))
        }
        Destination::FileIn(folder) => {
            let out = BufWriter::with_capacity(1 << 20, anonymous_file(folder)?);
            let (builder, out) = merge_to(runs, keep, out)?;
            let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
            builder.finish(Storage::File(file))
        }
    }
}

/// The same for index objects, as an index object: for those who tidy up a repository.
pub(crate) fn merge_indexes(
    objects: Vec<IndexObject>,
    keep: &dyn Fn(&PackName) -> bool,
) -> Result<IndexObject> {
    let runs = objects
        .into_iter()
        .map(|object| Run::read(Storage::Memory(object.bytes), None).map(Arc::new))
        .collect::<Result<Vec<_>>>()?;
    let bytes = merge(&runs, keep, &Destination::Memory)?.into_bytes();
    Ok(IndexObject::new(bytes.unwrap_or_default()))
}

fn merge_to<W: Write>(
    runs: &[Arc<Run>],
    keep: &dyn Fn(&PackName) -> bool,
    mut out: W,
) -> Result<(RunBuilder, W)> {
    let Numbered { packs, numbers } = merge_packs(runs, keep)?;
    out.write_all(&encode_head(&packs)?).map_err(failed)?;
    let mut builder = RunBuilder::new(packs, runs.iter().map(|run| run.len()).sum());

    let mut sources = Vec::new();
    let mut heap = BinaryHeap::new();
    for (run, numbers) in runs.iter().zip(numbers) {
        let mut source = Source {
            scan: Scan::new(Arc::clone(run)),
            numbers,
        };
        if let Some(entry) = source.next()? {
            heap.push(Reverse((entry, sources.len())));
        }
        sources.push(source);
    }
    let mut bytes = Vec::new();
    let mut last = None;
    while let Some(Reverse((entry, from))) = heap.pop() {
        if let Some(source) = sources.get_mut(from)
            && let Some(next) = source.next()?
        {
            heap.push(Reverse((next, from)));
        }
        if last.replace(entry) == Some(entry) {
            continue;
        }
        builder.push(&entry)?;
        bytes.clear();
        entry.encode(&mut bytes);
        out.write_all(&bytes).map_err(failed)?;
    }
    Ok((builder, out))
}

/// The packs of all runs that are kept, sorted by name.
struct Numbered {
    packs: Vec<IndexPack>,
    /// For every run, which number each of its packs has among them.
    numbers: Vec<Vec<Option<u32>>>,
}

fn merge_packs(runs: &[Arc<Run>], keep: &dyn Fn(&PackName) -> bool) -> Result<Numbered> {
    let mut numbered = BTreeMap::new();
    for pack in runs.iter().flat_map(|run| run.packs()) {
        if !keep(&pack.name) {
            continue;
        }
        let (seen, _) = numbered.entry(pack.name).or_insert((*pack, 0));
        if seen != pack {
            return Err(
                Error::new(Kind::Corrupt, "merge indexes", "they disagree about a pack")
                    .with("pack", pack.name),
            );
        }
    }
    for (n, (_, number)) in (0u32..).zip(numbered.values_mut()) {
        *number = n;
    }
    let numbers = runs.iter().map(|run| {
        let number = |pack: &IndexPack| numbered.get(&pack.name).map(|(_, n)| *n);
        run.packs().iter().map(number).collect()
    });
    Ok(Numbered {
        numbers: numbers.collect(),
        packs: numbered.into_values().map(|(pack, _)| pack).collect(),
    })
}

/// The entries of a run that are kept, with the numbers that packs have in the result.
struct Source {
    scan: Scan,
    numbers: Vec<Option<u32>>,
}

impl Source {
    fn next(&mut self) -> Result<Option<IndexEntry>> {
        while let Some((_, entry)) = self.scan.next()? {
            // Numbers are given in the order of names, so entries stay in order.
            if let Some(Some(pack)) = self.numbers.get(entry.pack as usize) {
                return Ok(Some(IndexEntry {
                    pack: *pack,
                    ..entry
                }));
            }
        }
        Ok(None)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("write index to local cache", error)
}
