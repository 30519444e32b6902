//! A disk on its way out: fetched, checked, written.
//!
//! # Why hashing once is enough
//!
//! "Restored" means that the root was recomputed from what was written. Recomputing it bottom-up would hash every chunk, then
//! every node. Going down from the root does the same hashing, in another order: each node's bytes are hashed and must have
//! the name that the node above them (or the root) gives, and each chunk is hashed *in the buffer that is handed to
//! the writer* and must have the name and the length that its segment gives. A node has exactly one encoding, so if all these names are
//! right, a tree built anew from the written bytes would have the same nodes, up to the same root. What is hashed is what is
//! written, not what the source said; so nothing is gained if the source hashes chunks too, and one that is read only by exports may
//! leave it out.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::items::OldSegment;
use super::meter::{Meter, Tally};
use super::tree::{Tree, WIDTH, nodes_at, segments_below};
use crate::budget::Budget;
use crate::cloud::DiskWriter;
use crate::env::{Env, processors};
use crate::error::{Error, Kind, Result};
use crate::format::tree::{FANOUT, Item, Root};
use crate::id::ChunkId;
use crate::recycle::Buffers;
use crate::store::{ChunkNamer, ChunkSource, RunCounts};

/// Bytes that are fetched and written at once, unless a single chunk is larger.
const BATCH: usize = 2 << 20;

/// Batches of a segment under way at once: one is fetched while the other is written.
const BATCHES_AT_ONCE: usize = 2;

/// How a disk is exported.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The memory for what is fetched and not written yet. At least twice the largest chunk and 4 MiB; below that, one batch
    /// at a time is worked on in more memory than the budget has.
    pub budget: Budget,
    /// The outside world.
    pub env: Env,
    /// Segments worked on at the same time.
    pub workers: usize,
    /// Where progress is counted.
    pub meter: Arc<Meter>,
}

impl Default for ExportOptions {
    /// A worker for each processor.
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            env: Env::default(),
            workers: processors(),
            meter: Arc::default(),
        }
    }
}

/// A disk that was exported: it is whole, and its root was recomputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The disk's size, and the bytes that were fetched and written.
    pub counts: RunCounts,
}

/// Writes the disk that `root` names, about in the order of the disk, and finishes the writer once everything was found
/// to be what the root stands for.
///
/// # Errors
/// [`Kind::Corrupt`] for a chunk or node that is damaged or missing, with its name and the offset on the disk; [`Kind::Invalid`] for
/// no worker; whatever the source and the writer say. The writer is not finished then.
///
/// # Cancellation
/// Leaves an unfinished disk.
pub async fn export(
    root: &Root,
    source: &dyn ChunkSource,
    writer: &dyn DiskWriter,
    options: ExportOptions,
) -> Result<Exported> {
    let ExportOptions {
        budget,
        env,
        workers,
        meter,
    } = options;
    let tally = Tally::new(meter);
    let tree = Tree::open(source, root)
        .await
        .map_err(|e| damaged(e, 0, Some(&root.node)))?;
    let job = Job {
        source,
        writer,
        budget: &budget,
        buffers: Buffers::new(BATCH),
        env: &env,
        tally: &tally,
    };
    let job = &job;
    Stretches::new(tree)
        .stream()
        .map_ok(|stretch| job.write(stretch))
        .try_buffer_unordered(workers.max(1))
        .try_for_each(|()| std::future::ready(Ok(())))
        .await?;
    writer.finish().await?;
    Ok(Exported {
        counts: tally.counts(),
    })
}

/// A stretch of the disk, in order.
enum Stretch {
    Hole(Range<u64>),
    Segment(Range<u64>, OldSegment),
}

/// Walks a tree from left to right, fetching segments in batches.
struct Stretches<'a> {
    tree: Tree<'a>,
    /// Nodes still to be looked at, the next one last.
    pending: Vec<(u32, u64)>,
    ready: VecDeque<Stretch>,
}

impl<'a> Stretches<'a> {
    fn new(tree: Tree<'a>) -> Self {
        let height = tree.height();
        let top = nodes_at(tree.segments(), height);
        Self {
            tree,
            pending: (0..top).rev().map(|index| (height, index)).collect(),
            ready: VecDeque::new(),
        }
    }

    /// The stretches in order.
    fn stream(self) -> BoxStream<'a, Result<Stretch>> {
        let stretches = stream::try_unfold(self, |mut stretches| async move {
            let next = stretches.next().await?;
            Ok(next.map(|stretch| (stretch, stretches)))
        });
        stretches.boxed()
    }

    async fn next(&mut self) -> Result<Option<Stretch>> {
        if self.ready.is_empty() {
            self.prepare().await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn prepare(&mut self) -> Result<()> {
        let mut holes = Vec::new();
        let mut indices = Vec::new();
        while indices.len() < self.tree.batch()
            && holes.len() < FANOUT
            && let Some((level, index)) = self.pending.pop()
        {
            let range = self.range(level, index);
            let node = self.tree.node(level, index).await;
            match node.map_err(|e| damaged(e, range.start, None))? {
                None => holes.push(range),
                Some(_) if level == 0 => indices.push(index),
                Some(_) => {
                    let first = index * WIDTH;
                    let end = (first + WIDTH).min(nodes_at(self.tree.segments(), level - 1));
                    let children = (first..end).rev().map(|child| (level - 1, child));
                    self.pending.extend(children);
                }
            }
        }
        let segments = match self.tree.segment_items(&indices).await {
            Ok(segments) => segments,
            Err(error) => return Err(self.locate(error, &indices).await),
        };
        let segments = indices
            .iter()
            .map(|index| self.tree.segment_range(*index))
            .zip(segments)
            .map(|(range, segment)| Stretch::Segment(range, segment));
        let mut ready: Vec<_> = holes
            .into_iter()
            .map(Stretch::Hole)
            .chain(segments)
            .collect();
        ready.sort_by_key(|stretch| match stretch {
            Stretch::Hole(range) | Stretch::Segment(range, _) => range.start,
        });
        self.ready = ready.into();
        Ok(())
    }

    fn range(&self, level: u32, index: u64) -> Range<u64> {
        let below = segments_below(self.tree.segments(), level, index);
        let root = self.tree.root();
        let place = |segment: u64| segment.saturating_mul(root.segment_size).min(root.size);
        place(below.start)..place(below.end)
    }

    /// Finds out which of some segments it was.
    async fn locate(&mut self, error: Error, indices: &[u64]) -> Error {
        for index in indices {
            if let Err(e) = self.tree.segment_items(&[*index]).await {
                return damaged(e, self.tree.segment_range(*index).start, None);
            }
        }
        error
    }
}

/// What all segments share.
struct Job<'a> {
    source: &'a dyn ChunkSource,
    writer: &'a dyn DiskWriter,
    budget: &'a Budget,
    /// What batches are written from.
    buffers: Buffers,
    env: &'a Env,
    tally: &'a Tally,
}

/// Chunks that lie one behind the other on the disk.
#[derive(Debug, Default)]
struct Batch {
    offset: u64,
    bytes: u64,
    ids: Vec<ChunkId>,
    lengths: Vec<usize>,
}

impl Job<'_> {
    async fn write(&self, stretch: Stretch) -> Result<()> {
        let (range, segment) = match stretch {
            Stretch::Hole(range) => {
                self.writer.write_zeroes(range.clone()).await?;
                self.tally.logical(range.end - range.start);
                return Ok(());
            }
            Stretch::Segment(range, segment) => (range, segment),
        };
        let (holes, batches) = sort(range.start, &segment);
        for hole in holes {
            let bytes = hole.end - hole.start;
            self.writer.write_zeroes(hole).await?;
            self.tally.logical(bytes);
        }
        stream::iter(batches)
            .map(|batch| self.write_batch(batch))
            .buffer_unordered(BATCHES_AT_ONCE)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
    }

    async fn write_batch(&self, batch: Batch) -> Result<()> {
        // What is fetched, and the one buffer that it is written from.
        let _permit = self.budget.take(batch.bytes * 2).await;
        let fetched = match self.source.get(&batch.ids).await {
            Ok(fetched) => fetched,
            Err(error) => return Err(self.locate(error, &batch).await),
        };
        let (offset, bytes) = (batch.offset, batch.bytes);
        let namer = self.source.namer().clone();
        let buffers = self.buffers.clone();
        let data = self
            .env
            .compute(move || check(&namer, &batch, fetched, &buffers))
            .await??;
        self.writer.write_at(offset, data).await?;
        self.tally.read(bytes);
        self.tally.logical(bytes);
        Ok(())
    }

    /// Finds out which chunk of a batch it was.
    async fn locate(&self, error: Error, batch: &Batch) -> Error {
        let mut offset = batch.offset;
        for (id, length) in batch.ids.iter().zip(&batch.lengths) {
            if let Err(e) = self.source.get(std::slice::from_ref(id)).await {
                return damaged(e, offset, Some(id));
            }
            offset += *length as u64;
        }
        damaged(error, batch.offset, None)
    }
}

/// Holes of a segment that begins at `start`, and its chunks in batches.
fn sort(start: u64, segment: &OldSegment) -> (Vec<Range<u64>>, Vec<Batch>) {
    let mut holes = Vec::new();
    let mut batches: Vec<Batch> = Vec::new();
    for (range, item) in segment.iter() {
        let range = start + range.start..start + range.end;
        match item {
            Item::Hole { .. } => holes.push(range),
            Item::Chunk { id, length } => {
                let bytes = u64::from(length);
                let fits = batches.last().is_some_and(|batch| {
                    batch.offset + batch.bytes == range.start && batch.bytes + bytes <= BATCH as u64
                });
                if !fits {
                    batches.push(Batch {
                        offset: range.start,
                        ..Batch::default()
                    });
                }
                if let Some(batch) = batches.last_mut() {
                    batch.bytes += bytes;
                    batch.ids.push(id);
                    batch.lengths.push(length as usize);
                }
            }
        }
    }
    (holes, batches)
}

/// Puts chunks one behind the other, and hashes them where they lie then.
fn check(
    namer: &ChunkNamer,
    batch: &Batch,
    fetched: Vec<Bytes>,
    buffers: &Buffers,
) -> Result<Bytes> {
    let wrong = |offset: u64, id: &dyn fmt::Display, why: &str| {
        Error::new(Kind::Corrupt, "export disk", why)
            .with("disk offset", offset)
            .with("chunk", id)
    };
    if fetched.len() != batch.ids.len() {
        return Err(Error::new(
            Kind::Internal,
            "export disk",
            "the chunk source did not answer for each name",
        ));
    }
    let mut data = buffers.take(usize::try_from(batch.bytes).unwrap_or(0));
    let mut offset = batch.offset;
    for ((id, length), bytes) in batch.ids.iter().zip(&batch.lengths).zip(fetched) {
        if bytes.len() != *length {
            let why = "a chunk has not the length that its segment gives";
            return Err(wrong(offset, id, why));
        }
        let begin = data.len();
        data.end().extend_from_slice(&bytes);
        if namer.name(data.bytes().get(begin..).unwrap_or_default()) != *id {
            let why = "the bytes of a chunk are not those that its name stands for";
            return Err(wrong(offset, id, why));
        }
        offset += *length as u64;
    }
    Ok(buffers.freeze(data))
}

/// Says where on the disk it hurts. What is not there, though the tree names it, is damage.
fn damaged(error: Error, offset: u64, chunk: Option<&ChunkId>) -> Error {
    let error = if error.kind() == Kind::NotFound {
        Error::new(
            Kind::Corrupt,
            "export disk",
            "a part of the disk is missing in the store",
        )
        .caused_by(error)
    } else {
        error
    };
    let error = error.with("disk offset", offset);
    match chunk {
        Some(id) => error.with("chunk", id),
        None => error,
    }
}
