//! One segment's worker: reads what the script asks for while what was read before is cut, named and stored.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::cursor::{Cursor, LONGEST_STRIDE, Walked};
use super::cut::Cutter;
use super::grow::store_node;
use super::items::OldSegment;
use super::meter::Tally;
use super::ranges::Ranges;
use super::script::{self, Script, Step};
use super::window::{Lane, WINDOWS, Window};
use crate::cloud::{DiskReader, ExtentKind};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::store::{Chunk, ChunkStore, Role, Stored};

/// Reads that one segment has under way at once, where what is to be read lies apart.
const READS_AT_ONCE: usize = 8;

/// Steps that are walked in one go at most, however little they read.
const STEPS_AT_ONCE: usize = 4096;

/// How windows are laid out: room in front for what is left over from the window before, then what is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Bytes in front.
    head: usize,
    /// Bytes read at most: a multiple of the zero grid, and at least two blocks of it.
    body: usize,
}

impl Layout {
    /// With windows that read about `window` bytes.
    pub(super) fn new(cutter: &Cutter, window: usize) -> Self {
        let block = cutter.block_len();
        Self {
            head: cutter.longest_rest(),
            body: window.next_multiple_of(block).max(2 * block),
        }
    }

    /// The bytes of a window.
    pub(super) fn window(&self) -> usize {
        self.head + self.body
    }

    /// The memory that a lane needs: its windows, what is left over between them, and what is read when out of step.
    pub(super) fn lane(&self, cutter: &Cutter) -> u64 {
        let rest = cutter.longest_rest() as u64;
        (self.window() * WINDOWS) as u64 + 3 * rest + LONGEST_STRIDE
    }
}

/// What all segments of a disk share.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    pub(super) reader: &'a dyn DiskReader,
    pub(super) store: &'a dyn ChunkStore,
    pub(super) env: &'a Env,
    pub(super) tally: &'a Tally,
    pub(super) cutter: Arc<Cutter>,
    pub(super) layout: Layout,
}

/// A segment to be done.
#[derive(Debug)]
pub(super) struct Task {
    /// Its bytes on the disk.
    pub(super) range: Range<u64>,
    /// The segment at the same place of an older disk.
    pub(super) old: Option<OldSegment>,
    /// What may have changed since, counted from the segment's beginning; none if nobody knows.
    pub(super) changed: Option<Ranges>,
}

/// Part of a script, its reads to be found in the window one behind the other.
#[derive(Debug)]
struct Batch {
    window: Window,
    head: usize,
    steps: Script,
}

impl Worker<'_> {
    /// Brings a segment into the store, and names its node; none if it is all hole.
    pub(super) async fn run(&self, task: Task, lane: &Arc<Lane>) -> Result<Option<ChunkId>> {
        let Task {
            range,
            old,
            changed,
        } = task;
        let length = range.end - range.start;
        let zeroes = self.holes(&range).await?;
        let old = old.map(Arc::new);
        let mut script = match (&old, changed) {
            (Some(old), Some(changed)) => {
                script::patch(&self.cutter, length, &zeroes, old, &changed)
            }
            _ => script::everything(&self.cutter, length, &zeroes),
        };
        if matches!(script.front(), Some(Step::Gap(gap)) if *gap == (0..length)) {
            self.tally.logical(length);
            return Ok(None);
        }
        let namer = self.store.namer().clone();
        let mut cursor = Cursor::new(Arc::clone(&self.cutter), namer, length, old.clone());

        let mut batch = self.fill(&mut script, range.start, &zeroes, lane).await?;
        while let Some(now) = batch {
            (cursor, batch) = try_join(
                self.walk(cursor, now, range.start),
                self.fill(&mut script, range.start, &zeroes, lane),
            )
            .await?;
        }
        self.tally.logical(length);

        let old = old.and_then(|old| old.id());
        match cursor.finish()? {
            None => Ok(None),
            Some(node) => {
                let bytes = node.encode();
                match old {
                    Some(old) if self.store.namer().name(&bytes) == old => Ok(Some(old)),
                    _ => store_node(&node, self.store, self.tally).await.map(Some),
                }
            }
        }
    }

    /// Where the disk says that the segment is hole, from the segment's beginning.
    async fn holes(&self, range: &Range<u64>) -> Result<Ranges> {
        let extents = self
            .reader
            .extents(range.clone())
            .await
            .map_err(|e| at(e, range.start))?;
        let holes = extents.into_iter().filter(|e| e.kind == ExtentKind::Hole);
        Ok(Ranges::collect(holes.map(|e| {
            e.range.start.max(range.start) - range.start
                ..e.range.end.min(range.end).saturating_sub(range.start)
        })))
    }

    /// Takes as much of the script as fits into a window, and reads it.
    async fn fill(
        &self,
        script: &mut Script,
        origin: u64,
        zeroes: &Ranges,
        lane: &Arc<Lane>,
    ) -> Result<Option<Batch>> {
        let steps = self.take_steps(script);
        if steps.is_empty() {
            return Ok(None);
        }
        let mut window = lane.window().await;
        let mut rest = window.take();
        let mut whole = rest.split_to(self.layout.head);
        let mut parts = Vec::new();
        for range in steps.iter().filter_map(reads) {
            let mut cut = |range: Range<u64>, read: bool| {
                let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let mut part = rest.split_to(length.min(rest.len()));
                if !read {
                    part.fill(0);
                }
                parts.push((range.start + origin, part, read));
            };
            let mut place = range.start;
            for zero in zeroes.within(range.clone()) {
                if place < zero.start {
                    cut(place..zero.start, true);
                }
                place = zero.end;
                cut(zero, false);
            }
            if place < range.end {
                cut(place..range.end, true);
            }
        }
        let mut reads = stream::iter(parts)
            .map(|(offset, part, read)| async move {
                if read {
                    self.read(offset, part).await
                } else {
                    Ok(part)
                }
            })
            .buffered(READS_AT_ONCE);
        while let Some(part) = reads.try_next().await? {
            whole.unsplit(part);
        }
        drop(reads);
        whole.unsplit(rest);
        window.put(whole);
        Ok(Some(Batch {
            window,
            head: self.layout.head,
            steps,
        }))
    }

    /// The next steps whose reads fit into a window.
    fn take_steps(&self, script: &mut Script) -> Script {
        let block = self.cutter.block();
        let mut room = self.layout.body as u64;
        let mut steps = Script::new();
        while steps.len() < STEPS_AT_ONCE
            && let Some(step) = script.pop_front()
        {
            match step {
                Step::Read { range, .. } => {
                    // A read may begin off the grid; what it is cut into must not.
                    let fits = (range.start + room) / block * block;
                    let end = range.end.min(fits);
                    if end <= range.start {
                        script.push_front(read(range));
                        break;
                    }
                    room -= end - range.start;
                    steps.push_back(read(range.start..end));
                    if end < range.end {
                        script.push_front(read(end..range.end));
                        break;
                    }
                }
                // Doubtful items are judged by the beginning of what is read behind them.
                Step::Keep { doubtful: true, .. }
                    if !steps.is_empty()
                        && (room < 2 * block || steps.len() + 1 == STEPS_AT_ONCE) =>
                {
                    script.push_front(step);
                    break;
                }
                Step::Keep { .. } | Step::Gap(_) => steps.push_back(step),
            }
        }
        steps
    }

    async fn read(&self, offset: u64, buffer: BytesMut) -> Result<BytesMut> {
        let length = buffer.len();
        let buffer = self
            .reader
            .read_at(offset, buffer)
            .await
            .map_err(|e| at(e, offset))?;
        if buffer.len() != length {
            return Err(at(
                Error::new(
                    Kind::Internal,
                    "read disk",
                    "the reader gave back a buffer of another length",
                ),
                offset,
            ));
        }
        self.tally.read(length as u64);
        Ok(buffer)
    }

    /// Walks a batch, and stores what comes out.
    async fn walk(&self, mut cursor: Cursor, batch: Batch, origin: u64) -> Result<Cursor> {
        let (back, mut steps, mut walked) = self
            .env
            .compute(move || {
                let mut steps = freeze(&mut cursor, batch);
                let walked = cursor.walk(&mut steps);
                (cursor, steps, walked)
            })
            .await?;
        cursor = back;
        loop {
            let Walked { chunks, wanted } = walked;
            self.put(chunks).await?;
            let Some(range) = wanted else {
                return Ok(cursor);
            };
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let buffer = BytesMut::zeroed(length);
            let bytes = self.read(origin + range.start, buffer).await?.freeze();
            steps.push_front(Step::Read { range, bytes });
            (cursor, steps, walked) = self
                .env
                .compute(move || {
                    let walked = cursor.walk(&mut steps);
                    (cursor, steps, walked)
                })
                .await?;
        }
    }

    async fn put(&self, chunks: Vec<Chunk>) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        let lengths: Vec<u64> = chunks.iter().map(|c| c.bytes.len() as u64).collect();
        let outcomes = self.store.put(Role::Data, chunks).await?;
        for (length, outcome) in lengths.into_iter().zip(outcomes) {
            if let Stored::New { stored_bytes } = outcome {
                self.tally.new_data(length);
                self.tally.stored(stored_bytes);
            }
        }
        Ok(())
    }
}

/// Ends the writing into a window, and hands each read its bytes. What the cursor has left over is put in front of the first.
fn freeze(cursor: &mut Cursor, batch: Batch) -> VecDeque<Step<Bytes>> {
    let Batch {
        mut window,
        head,
        steps,
    } = batch;
    let mut from = head;
    if let Some(first) = steps.front().and_then(reads) {
        let rest = cursor.take_rest(first.start);
        let start = head - rest.len();
        if let Some(room) = window.bytes_mut().get_mut(start..head) {
            room.copy_from_slice(&rest);
            from = start;
        }
    }
    let bytes = window.freeze();
    let mut place = head;
    let filled = steps.into_iter().map(|step| match step {
        Step::Read { range, .. } => {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let in_front = (place - from.min(place)) as u64;
            let begin = std::mem::replace(&mut from, usize::MAX).min(place);
            let slice = bytes.slice(begin..place + length);
            place += length;
            Step::Read {
                range: range.start - in_front..range.end,
                bytes: slice,
            }
        }
        Step::Gap(range) => Step::Gap(range),
        Step::Keep { items, doubtful } => Step::Keep { items, doubtful },
    });
    filled.collect()
}

fn read(range: Range<u64>) -> Step<()> {
    Step::Read { range, bytes: () }
}

fn reads(step: &Step<()>) -> Option<Range<u64>> {
    match step {
        Step::Read { range, .. } => Some(range.clone()),
        Step::Gap(_) | Step::Keep { .. } => None,
    }
}

/// Says where on the disk it happened.
fn at(error: Error, offset: u64) -> Error {
    error.with("disk offset", offset)
}
