//! A disk on its way in: read, cut, named, stored, and made a tree.

use std::sync::Arc;

use futures_util::stream::TryStreamExt;

use super::cut::Cutter;
use super::grow::Growing;
use super::hint::{Check, Sampling};
use super::meter::{Meter, Tally};
use super::plan::{Part, Plan};
use super::ranges::Ranges;
use super::segment::{Layout, Worker};
use super::tree::Tree;
use super::window::Lane;
use crate::budget::Budget;
use crate::cloud::{ChangeHint, DiskReader};
use crate::env::{Env, processors};
use crate::error::{Error, Kind, Result};
use crate::format::Chunking;
use crate::format::tree::{DEFAULT_SEGMENT, Root, SEGMENT_SIZES};
use crate::store::{ChunkStore, RunCounts};

/// What is read at once where the budget allows: large enough that a window's overhead vanishes, small enough for the caches.
const WINDOW: usize = 1 << 20;

/// What is read at once in a small budget.
const SMALL_WINDOW: usize = 256 << 10;

/// How a disk is ingested.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// How segments are cut into chunks.
    pub chunking: Chunking,
    /// The size of a segment in bytes: a power of two within [`SEGMENT_SIZES`].
    pub segment_size: u64,
    /// An older state of the disk. It must be whole in the store, and pinned: what it consists of is neither read from the store nor
    /// stored again.
    pub base: Option<Root>,
    /// What may have changed since `base`. Of no use without it.
    pub hint: Option<ChangeHint>,
    /// How much of what the hint calls unchanged is looked at.
    pub sampling: Sampling,
    /// Segments worked on at the same time.
    pub workers: usize,
    /// The memory for what is read, from when it is asked for until the store lets go of it. No less than
    /// [`least_memory`](Self::least_memory); below that, one segment at a time is worked on in more memory than the budget has.
    pub budget: Budget,
    /// The outside world.
    pub env: Env,
    /// Where progress is counted.
    pub meter: Arc<Meter>,
}

impl Default for IngestOptions {
    /// For disks, in the default segment size, with one worker more than there are processors: while one waits for a read, for a pack, or for a thread, the others compute.
    /// Yet more would gain little, and scatter what lies together on the disk over more packs, so that reading it again takes more requests.
    fn default() -> Self {
        Self {
            chunking: Chunking::DISK,
            segment_size: DEFAULT_SEGMENT,
            base: None,
            hint: None,
            sampling: Sampling::default(),
            workers: processors() + 1,
            budget: Budget::default(),
            env: Env::default(),
            meter: Arc::default(),
        }
    }
}

impl IngestOptions {
    /// The memory in bytes that a single worker needs with this chunking.
    pub fn least_memory(chunking: &Chunking) -> u64 {
        let cutter = Cutter::new(chunking);
        Layout::new(&cutter, SMALL_WINDOW).lane(&cutter)
    }

    fn check(&self) -> Result<()> {
        self.chunking.check()?;
        if SEGMENT_SIZES.contains(&self.segment_size) && self.segment_size.is_power_of_two() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            "ingest disk",
            "the segment size must be a power of two from 1 MiB to 1 GiB",
        )
        .with("segment size", self.segment_size))
    }
}

/// A disk that was ingested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// The disk's content.
    pub root: Root,
    /// What it took.
    pub counts: RunCounts,
    /// Whether the hint was followed. If one was given with a base and it was neither followed nor found to lie, the base is
    /// cut in another way than the options ask for, and the disk was read in full.
    pub hint_followed: bool,
    /// Whether the hint called something unchanged that had changed. The disk was read in full then: the root is right, but
    /// hints of this disk deserve more [`Sampling`], and earlier runs may have missed something.
    pub hint_lied: bool,
}

/// Brings a disk into a store as a tree of chunks.
///
/// The root is a function of the disk's bytes, the chunking and the segment size: a full read, a read that follows a hint (which
/// told the truth), any number of workers and any budget lead to the same one.
///
/// What the disk calls a hole is not read; zeroes are neither named nor stored. With a base, what it has at the same place is
/// not offered to the store again. Nothing is flushed: the caller does that, or commits, when all disks are done.
///
/// Memory is bounded by the budget plus about 100 KiB for the old and the new node of each segment under way. For the budget to come
/// back, the store must let go of the bytes that were put without waiting for further ones.
///
/// # Errors
/// [`Kind::Invalid`] for impossible options; the reader's, with the offset on the disk; the store's. What was stored until then does
/// no harm and spares the next try the work.
///
/// # Cancellation
/// Safe: what was stored stays, and buffers are freed once the store has let go of them.
pub async fn ingest(
    reader: &dyn DiskReader,
    store: &dyn ChunkStore,
    options: IngestOptions,
) -> Result<Ingested> {
    options.check()?;
    let tally = Tally::new(Arc::clone(&options.meter));
    let run = Run {
        reader,
        store,
        options: &options,
        tally: &tally,
    };
    let size = reader.size();
    let base = match &options.base {
        Some(root) => run.comparable(root).await?,
        None => None,
    };
    let hint = options.hint.as_ref().filter(|_| base.is_some());
    let changed = hint.map(|hint| {
        let inside = hint.changed.iter().map(|r| r.start..r.end.min(size));
        Ranges::collect(inside)
    });
    let (mut base, mut changed) = (base, changed);
    let mut hint_lied = false;
    if let (Some(old), Some(claimed)) = (&mut base, &changed) {
        let check = Check {
            reader,
            env: &options.env,
            budget: &options.budget,
            tally: &tally,
            sampling: options.sampling,
        };
        if !check.holds(old, claimed, size).await? {
            hint_lied = true;
            changed = None;
        }
    }
    let hint_followed = changed.is_some();
    let root = run
        .grow(Plan::new(options.segment_size, size, base, changed))
        .await?;
    Ok(Ingested {
        root,
        counts: tally.counts(),
        hint_followed,
        hint_lied,
    })
}

/// One ingest.
struct Run<'a> {
    reader: &'a dyn DiskReader,
    store: &'a dyn ChunkStore,
    options: &'a IngestOptions,
    tally: &'a Tally,
}

impl<'a> Run<'a> {
    /// The base, if it was cut as this disk is going to be.
    async fn comparable(&self, root: &Root) -> Result<Option<Tree<'a>>> {
        let tree = Tree::open(self.store, root)
            .await
            .map_err(|e| e.with("base", root.node))?;
        let same = tree.root().chunking == self.options.chunking
            && tree.root().segment_size == self.options.segment_size;
        Ok(same.then_some(tree))
    }

    /// Works through a plan.
    async fn grow(&self, plan: Plan<'a>) -> Result<Root> {
        let IngestOptions {
            chunking,
            segment_size,
            base,
            hint: _,
            sampling: _,
            workers,
            budget,
            env,
            meter: _,
        } = self.options;
        let size = self.reader.size();
        let cutter = Arc::new(Cutter::new(chunking));
        let workers = (*workers).max(1);
        // A small disk needs no more room than it has bytes.
        let longest = usize::try_from(size.min(*segment_size)).unwrap_or(WINDOW);
        let roomy = Layout::new(&cutter, WINDOW.min(longest));
        let layout = if roomy.lane(&cutter) * workers as u64 <= budget.total() {
            roomy
        } else {
            Layout::new(&cutter, SMALL_WINDOW.min(longest))
        };
        let lanes = Lanes::open(budget, layout, layout.lane(&cutter), workers).await;
        let worker = Worker {
            reader: self.reader,
            store: self.store,
            env,
            tally: self.tally,
            cutter,
            layout,
        };

        let (worker, lanes) = (&worker, &lanes);
        let done = plan.stream().map_ok(|part| async move {
            match part {
                Part::Same { level, index, id } => {
                    self.tally.logical(self.bytes_below(level, index));
                    Ok((level, index, id))
                }
                Part::Segment { index, task } => {
                    let lane = lanes.take()?;
                    let id = worker.run(task, &lane).await?;
                    lanes.give_back(lane);
                    Ok((0, index, id))
                }
            }
        });
        let mut done = std::pin::pin!(done.try_buffer_unordered(lanes.count));
        let mut tree = Growing::new(*chunking, *segment_size, size);
        while let Some((level, index, id)) = done.try_next().await? {
            tree.set(level, index, id, self.store, self.tally).await?;
        }
        tree.finish(*base, self.store, self.tally).await
    }

    /// How many bytes of the disk lie below a node.
    fn bytes_below(&self, level: u32, index: u64) -> u64 {
        let (size, segment) = (self.reader.size(), self.options.segment_size);
        let below = super::tree::segments_below(size.div_ceil(segment), level, index);
        (below.end * segment).min(size) - (below.start * segment).min(size)
    }
}

/// As many lanes as there are workers, or as the budget has room for: one at least.
struct Lanes {
    idle: std::sync::Mutex<Vec<Arc<Lane>>>,
    count: usize,
}

impl Lanes {
    /// Waits for room for one lane while holding nothing, and takes what room there is for more. So ingests that share a
    /// budget never wait for each other in a circle.
    async fn open(budget: &Budget, layout: Layout, bytes: u64, most: usize) -> Self {
        let mut permits = vec![budget.take(bytes).await];
        while permits.len() < most
            && bytes <= budget.available()
            && let Some(permit) = budget.try_take(bytes)
        {
            permits.push(permit);
        }
        let count = permits.len();
        let lanes = permits
            .into_iter()
            .map(|permit| Arc::new(Lane::new(layout.window(), permit)));
        Self {
            idle: std::sync::Mutex::new(lanes.collect()),
            count,
        }
    }

    fn take(&self) -> Result<Arc<Lane>> {
        self.idle().pop().ok_or_else(|| {
            Error::new(
                Kind::Internal,
                "ingest disk",
                "there are more workers than lanes",
            )
        })
    }

    fn give_back(&self, lane: Arc<Lane>) {
        self.idle().push(lane);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Lane>>> {
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
