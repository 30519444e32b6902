//! Stores chunks: known ones not at all, new ones sealed, packed and uploaded.
//!
//! ```text
//! put: known? -> claim -> compress, seal, check into an open pack -> full: hash -> upload -> enough uploaded: index, publish
//! ```
//! - Several packs of a role are open at once; who has chunks to store takes one for himself, so that compressing needs no common lock.
//! - The buffer of a pack has a permit for its bytes, which travels with it until it is uploaded. There are always fewer
//!   open packs than buffers in the budget, and an upload waits for nothing that waits for a buffer: so it never gets stuck.
//! - A chunk is *pending* from its claim until its pack is in the lookup. Two who store the same chunk at once store it once.
//! - What was begun is finished even if the caller does not wait for it, so that no claim is left behind.
//! - The first error ends it all: later calls are told of it, and nothing that is missing is ever said to be stored.

mod level;
mod open_pack;
mod progress;
mod shipping;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::sync::{RwLock, Semaphore};

use level::Level;
pub(crate) use open_pack::Held;
use open_pack::{Content, Item, PackCell};
use shipping::Shipping;
pub(crate) use shipping::{Publish, UploadedPack};

use super::lookup::Lookup;
use super::pack::{DEFAULT_PACK_SIZE, FinishedPack, PackBuilder, PackEntry};
use super::record::{Records, largest};
use crate::budget::{Budget, Permit};
use crate::env::{Env, processors};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, SessionId};
use crate::recycle::Buffers;
use crate::store::{Chunk, Role, Stored};

/// How a packer works.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Whose packs these are.
    pub(crate) session: SessionId,
    /// The size of a pack, in bytes; less where the budget has no room for six of them.
    pub(crate) pack_size: u64,
    /// Packs of data that are open at once: as many threads compress.
    pub(crate) open_packs: usize,
    /// Uploads under way at once.
    pub(crate) uploads: usize,
    /// After so many uploaded bytes, packs are published.
    pub(crate) publish_bytes: u64,
    /// Whether each new record is opened and compared with its name before its pack leaves.
    pub(crate) check: bool,
}

impl Options {
    /// The defaults for this session.
    pub(crate) fn new(session: SessionId) -> Self {
        Self {
            session,
            pack_size: DEFAULT_PACK_SIZE,
            // One more than there are processors: one may just have to wait for a buffer.
            open_packs: processors() + 1,
            uploads: 8,
            publish_bytes: 64 << 20,
            check: true,
        }
    }
}

/// Stores the chunks of a session. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Packer(Arc<Inner>);

struct Inner {
    records: Arc<Records>,
    shipping: Arc<Shipping>,
    level: Level,
    budget: Budget,
    /// What packs are written into, as many as the budget has room for.
    buffers: Buffers,
    pack_size: u64,
    /// What one record that is larger than a pack may take of the budget.
    oversize: u64,
    data: Bench,
    tree: Bench,
    /// Read by every put while it is under way; whoever gets to write it knows that there is none.
    gate: Arc<RwLock<()>>,
}

/// The open packs of a role.
struct Bench {
    /// One for each pack that may be open.
    places: Semaphore,
    /// Packs that nobody is filling. The last that was filled is filled first, so that few are open at all.
    idle: Mutex<Vec<OpenPack>>,
}

struct OpenPack {
    cell: Arc<PackCell>,
    /// It was made for one record that is larger than a pack: it leaves at once, since while it waits for more, its share of
    /// the budget would be missing elsewhere.
    oversize: bool,
    permit: Permit,
}

/// What filling a pack came to.
struct Filled {
    placed: Vec<(usize, PackEntry)>,
    rest: VecDeque<Item>,
    /// The pack, if it is to leave.
    finished: Option<FinishedPack>,
}

/// Budgets are counted in pages of this size.
const PAGE: u64 = 4096;

impl Packer {
    /// A packer that has `budget` for itself.
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        lookup: Arc<Lookup>,
        records: Arc<Records>,
        publisher: Arc<dyn Publish>,
        env: Env,
        budget: Budget,
        options: Options,
    ) -> Self {
        let sixth = budget.total() / 6 / PAGE * PAGE;
        let pack_size = options
            .pack_size
            .next_multiple_of(PAGE)
            .min(sixth.max(PAGE));
        // One for the tree, one on its way, the others open for data.
        let buffers = usize::try_from(budget.total() / pack_size).unwrap_or(usize::MAX);
        let open = options
            .open_packs
            .clamp(1, buffers.saturating_sub(2).max(1));
        let oversize = budget.total().saturating_sub(open as u64 * pack_size);
        Self(Arc::new(Inner {
            level: Level::new(records.compression()),
            records,
            shipping: Arc::new(Shipping::new(objects, lookup, publisher, env, options)),
            budget,
            buffers: Buffers::new(usize::try_from(pack_size).unwrap_or(usize::MAX)),
            pack_size,
            oversize,
            data: Bench::new(open),
            tree: Bench::new(1),
            gate: Arc::default(),
        }))
    }

    /// Stores those of these chunks that are not stored yet; one answer a chunk, in order.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a chunk that is too large. Otherwise as for
    /// [`ChunkStore::put`](crate::store::ChunkStore::put): what it says, or the first error of anything before.
    pub(crate) async fn put(&self, role: Role, chunks: Vec<Chunk>) -> Result<Vec<Stored>> {
        if let Some(chunk) = chunks.iter().find(|c| c.bytes.len() > largest(role)) {
            return Err(
                Error::new(Kind::Invalid, "store chunk", "it is too large to be stored")
                    .with("chunk", chunk.id)
                    .with("bytes", chunk.bytes.len()),
            );
        }
        let items = chunks.into_iter().map(|c| (c.id, Content::Chunk(c.bytes)));
        self.begin(role, items.collect()).await
    }

    /// Copies records as they are into packs of this session, whether their chunks are known elsewhere or not: for those who
    /// empty a pack before it is retired.
    pub(crate) async fn copy(
        &self,
        role: Role,
        records: Vec<(ChunkId, Bytes)>,
    ) -> Result<Vec<Stored>> {
        let items = records.into_iter();
        let items = items.map(|(id, bytes)| (id, Content::Record(bytes)));
        self.begin(role, items.collect()).await
    }

    /// Makes everything durable and published that was put before.
    pub(crate) async fn flush(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        // On a task of its own: packs that were taken from the bench must not be lost if the caller stops waiting.
        let flushed = tokio::spawn(async move { inner.flush().await }).await;
        self.0.outcome(flushed)
    }

    /// Drops everything that is on its way, and returns when nothing is under way any more. Whoever puts or flushes later is told that it was cancelled.
    pub(crate) async fn abandon(&self) {
        self.0.shipping.stop();
        self.0.shipping.progress.all_over().await;
    }

    /// Where these chunks of this session are, if the lookup does not know them yet.
    pub(crate) async fn held(&self, ids: &[ChunkId]) -> Result<Vec<Option<Held>>> {
        let mut held = self.0.held(ids).await?;
        if held.iter().any(|held| matches!(held, Some(Held::Claimed))) {
            drop(self.0.gate.write().await);
            held = self.0.held(ids).await?;
        }
        Ok(held)
    }

    async fn begin(&self, role: Role, items: Vec<(ChunkId, Content)>) -> Result<Vec<Stored>> {
        self.0.shipping.progress.failure.check()?;
        let items = items.into_iter().enumerate();
        let items = items.map(|(position, (id, content))| Item {
            position,
            id,
            content,
        });
        let items: Vec<_> = items.collect();
        let inner = Arc::clone(&self.0);
        let open = Arc::clone(&inner.gate).read_owned().await;
        let stored = tokio::spawn(async move {
            let stored = inner.store(role, items).await;
            drop(open);
            stored
        });
        self.0.outcome(stored.await)
    }
}

impl Inner {
    /// What to tell the caller of a task, and an error to everyone else.
    fn outcome<T>(&self, task: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
        let done = task.unwrap_or_else(|e| {
            let why = "a task did not finish";
            Err(Error::new(Kind::Internal, "store chunks", why).caused_by(e))
        });
        done.map_err(|e| self.shipping.progress.failure.note(e))
    }

    /// Off the threads that drive input and output: to look into a pack may mean to wait for a record to be sealed.
    async fn held(&self, ids: &[ChunkId]) -> Result<Vec<Option<Held>>> {
        let (shipping, ids) = (Arc::clone(&self.shipping), ids.to_vec());
        self.shipping.env.compute(move || shipping.held(&ids)).await
    }

    async fn store(self: &Arc<Self>, role: Role, items: Vec<Item>) -> Result<Vec<Stored>> {
        let mut answers = vec![Stored::Known; items.len()];
        let shipping = Arc::clone(&self.shipping);
        let env = &self.shipping.env;
        let mut rest = env.compute(move || shipping.unknown(items)).await??;
        let bench = self.bench(role);
        while let Some(first) = rest.front() {
            self.shipping.progress.failure.check()?;
            let _place = bench.places.acquire().await;
            let pack = match bench.take() {
                Some(pack) => pack,
                None => self.open(role, first.bound(&self.records)).await?,
            };
            let (inner, cell, oversize) = (Arc::clone(self), Arc::clone(&pack.cell), pack.oversize);
            let filled = env.compute(move || inner.fill(&cell, rest, oversize));
            let filled = filled.await??;
            for (position, entry) in filled.placed {
                if let Some(answer) = answers.get_mut(position) {
                    let stored_bytes = u64::from(entry.length);
                    *answer = Stored::New { stored_bytes };
                }
            }
            match filled.finished {
                Some(full) => {
                    if !pack.oversize {
                        self.level.pack_is_full(self.shipping.progress.under_way());
                    }
                    self.shipping.send(pack.cell, full, pack.permit);
                }
                None => bench.put_back(pack),
            }
            rest = filled.rest;
        }
        Ok(answers)
    }

    /// Seals items into a pack until it is full, or until there is something in it if it is to `leave`. For threads that compute.
    fn fill(&self, cell: &Arc<PackCell>, mut rest: VecDeque<Item>, leave: bool) -> Result<Filled> {
        let (level, check) = (self.level.now(), self.shipping.options.check);
        let placed = cell.fill(&mut rest, &self.records, level, check)?;
        self.shipping
            .placed(cell, placed.iter().map(|(_, entry)| entry));
        let finished = match rest.is_empty() && !leave {
            true => None,
            false => Some(cell.finish()?),
        };
        Ok(Filled {
            placed,
            rest,
            finished,
        })
    }

    /// A new pack with room for a record of at most `bound` bytes.
    async fn open(&self, role: Role, bound: usize) -> Result<OpenPack> {
        let size = usize::try_from(self.pack_size).unwrap_or(usize::MAX);
        let capacity = size.max(PackBuilder::capacity_for(bound));
        let oversize = capacity > size;
        let bytes = match oversize {
            // Others may hold on to theirs meanwhile, so this must not wait for all of the budget.
            true => self.oversize.min(capacity as u64),
            false => self.pack_size,
        };
        let permit = match self.budget.try_take(bytes) {
            Some(permit) => permit,
            None => {
                if !oversize {
                    self.level.waited();
                }
                self.budget.take(bytes).await
            }
        };
        let writer = self.records.writer(&self.shipping.env)?;
        let builder = PackBuilder::new(role, capacity, &self.buffers);
        let cell = Arc::new(PackCell::new(role, builder, writer));
        Ok(OpenPack {
            cell,
            oversize,
            permit,
        })
    }

    async fn flush(self: &Arc<Self>) -> Result<()> {
        self.shipping.progress.failure.check()?;
        {
            // Nobody is putting, so every open pack is idle; and nobody who flushes too overtakes.
            let _nobody = self.gate.write().await;
            for pack in [&self.data, &self.tree]
                .iter()
                .flat_map(|bench| bench.take_all())
            {
                let cell = Arc::clone(&pack.cell);
                let finish = move || cell.finish();
                let finished = self.shipping.env.compute(finish).await??;
                self.shipping.send(pack.cell, finished, pack.permit);
            }
        }
        self.shipping.progress.all_over().await;
        self.level.flushed();
        self.shipping.progress.failure.check()?;
        self.shipping.publish(true).await?;
        self.shipping.progress.failure.check()
    }

    fn bench(&self, role: Role) -> &Bench {
        match role {
            Role::Data => &self.data,
            Role::Tree => &self.tree,
        }
    }
}

impl Shipping {
    /// Those items that nobody has stored or is storing; they are claimed. For threads that compute.
    fn unknown(&self, items: Vec<Item>) -> Result<VecDeque<Item>> {
        let absent = self.not_found(items)?;
        self.claim_unknown(absent)
    }

    /// Claims items that the lookup did not know a moment ago. Those that are published by now are left out again.
    fn claim_unknown(&self, absent: Vec<Item>) -> Result<VecDeque<Item>> {
        let mine = self.claim(absent.iter().map(|item| &item.id));
        let claimed = absent.into_iter().zip(mine);
        let claimed = claimed.filter_map(|(item, mine)| mine.then_some(item));
        let claimed: Vec<_> = claimed.collect();
        // What was published between looking and claiming is in the lookup by now.
        let ids: Vec<_> = claimed.iter().map(|item| item.id).collect();
        let unknown = self.not_found(claimed)?;
        if unknown.len() < ids.len() {
            let wanted: HashSet<_> = unknown.iter().map(|item| item.id).collect();
            self.unclaim(ids.iter().filter(|id| !wanted.contains(id)));
        }
        Ok(unknown.into())
    }

    /// Those items that the lookup does not know; records to be copied are wanted anyway.
    fn not_found(&self, items: Vec<Item>) -> Result<Vec<Item>> {
        let ids: Vec<_> = items.iter().map(|item| item.id).collect();
        let found = self.lookup.locate_many(&ids)?;
        let wanted = items.into_iter().zip(found).filter_map(|(item, found)| {
            let copy = matches!(item.content, Content::Record(_));
            (copy || found.is_none()).then_some(item)
        });
        Ok(wanted.collect())
    }
}

impl Bench {
    fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<OpenPack>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<OpenPack> {
        self.idle().pop()
    }

    fn put_back(&self, pack: OpenPack) {
        self.idle().push(pack);
    }

    fn take_all(&self) -> Vec<OpenPack> {
        std::mem::take(&mut *self.idle())
    }
}
