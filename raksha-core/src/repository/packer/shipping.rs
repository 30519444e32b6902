//! Finished packs on their way: uploaded, listed in an index, published.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{ObjectStore, PutMode, PutOptions};
use tokio::sync::{Semaphore, watch};

use super::Options;
use super::open_pack::{Held, PackCell};
use super::progress::Progress;
use crate::budget::Permit;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::repository::index::{IndexObject, IndexPack};
use crate::repository::lookup::Lookup;
use crate::repository::names::{ObjectKind, PackName};
use crate::repository::pack::{Directory, FinishedPack, PackEntry};

/// A pack that is in the target, and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct UploadedPack {
    pub(crate) pack: IndexPack,
    pub(crate) entries: Vec<PackEntry>,
}

/// Makes packs known to everyone: stores their index and appends them to the log.
#[async_trait]
pub(crate) trait Publish: Send + Sync {
    /// After this, the packs are found by others and in the packer's own lookup; there unless they were retired at once. Called for one batch at a time.
    async fn publish(&self, index: IndexObject, packs: &[UploadedPack]) -> Result<()>;
}

/// Where a chunk of this session is before it is published. None while it is being sealed.
type Pending = Option<(Arc<PackCell>, PackEntry)>;

/// What becomes of packs.
pub(super) struct Shipping {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) lookup: Arc<Lookup>,
    pub(super) publisher: Arc<dyn Publish>,
    pub(super) env: Env,
    pub(super) options: Options,
    pub(super) progress: Arc<Progress>,
    uploads: Semaphore,
    uploaded: Mutex<Vec<UploadedPack>>,
    publishing: tokio::sync::Mutex<()>,
    pending: Mutex<HashMap<ChunkId, Pending>>,
    /// Whether everything that is under way is to be dropped where it is.
    stopped: watch::Sender<bool>,
}

impl Shipping {
    pub(super) fn new(
        objects: Arc<dyn ObjectStore>,
        lookup: Arc<Lookup>,
        publisher: Arc<dyn Publish>,
        env: Env,
        options: Options,
    ) -> Self {
        Self {
            objects,
            lookup,
            publisher,
            env,
            uploads: Semaphore::new(options.uploads.max(1)),
            options,
            progress: Arc::default(),
            uploaded: Mutex::default(),
            publishing: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// From now on nothing is uploaded or published any more.
    pub(super) fn stop(&self) {
        self.progress.failure.note(abandoned());
        self.stopped.send_replace(true);
    }

    /// Does `work` unless everything is stopped; then it is dropped where it is.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            // It fails only when the sender is gone, and that is ours.
            _ = stopped.wait_for(|stopped| *stopped) => Err(abandoned()),
            done = work => done,
        }
    }

    /// Claims chunks for the caller, who must store them; says which of them are his.
    pub(super) fn claim<'a>(&self, ids: impl Iterator<Item = &'a ChunkId>) -> Vec<bool> {
        use std::collections::hash_map::Entry;
        let mut pending = lock(&self.pending);
        let claimed = ids.map(|id| match pending.entry(*id) {
            Entry::Vacant(place) => {
                place.insert(None);
                true
            }
            Entry::Occupied(_) => false,
        });
        claimed.collect()
    }

    /// Takes claims back: somebody else has published these chunks meanwhile.
    pub(super) fn unclaim<'a>(&self, ids: impl Iterator<Item = &'a ChunkId>) {
        let mut pending = lock(&self.pending);
        for id in ids {
            pending.remove(id);
        }
    }

    /// Claimed chunks now lie in this pack.
    pub(super) fn placed<'a>(
        &self,
        cell: &Arc<PackCell>,
        entries: impl Iterator<Item = &'a PackEntry>,
    ) {
        let mut pending = lock(&self.pending);
        for entry in entries {
            pending.insert(entry.id, Some((Arc::clone(cell), *entry)));
        }
    }

    /// Where these chunks are, if they are not published yet.
    pub(super) fn held(&self, ids: &[ChunkId]) -> Vec<Option<Held>> {
        let pending = lock(&self.pending);
        let found = ids.iter().map(|id| match pending.get(id)? {
            Some((cell, entry)) => Some(Ok((Arc::clone(cell), *entry))),
            None => Some(Err(Held::Claimed)),
        });
        let found: Vec<_> = found.collect();
        drop(pending);
        let held = found.into_iter().map(|found| match found? {
            Ok((cell, entry)) => cell.held(entry.offset, entry.length),
            Err(claimed) => Some(claimed),
        });
        held.collect()
    }

    /// Sends a finished pack on its way; `permit` is that of its buffer. Waiting for all that is
    /// [under way](Progress::all_over) from now on waits for this.
    pub(super) fn send(self: &Arc<Self>, cell: Arc<PackCell>, pack: FinishedPack, permit: Permit) {
        let shipping = Arc::clone(self);
        let under_way = self.progress.begin();
        tokio::spawn(async move {
            let upload = async {
                // Kept while publishing too: that holds back the others when publishing is slow.
                let turn = shipping.uploads.acquire().await;
                shipping.upload(&cell, pack).await.map(|()| turn)
            };
            let _turn = match shipping.unless_stopped(upload).await {
                Ok(turn) => turn,
                Err(e) => {
                    shipping.progress.failure.note(e);
                    return;
                }
            };
            under_way.delivered();
            drop(permit);
            // An error is noted there.
            let _ = shipping.publish(false).await;
        });
    }

    async fn upload(&self, cell: &PackCell, pack: FinishedPack) -> Result<()> {
        let FinishedPack {
            hash,
            bytes,
            directory: Directory { role, entries },
        } = pack;
        let session = self.options.session;
        let name = PackName { session, hash };
        let length = bytes.len() as u64;
        self.put(&name, bytes).await?;
        cell.stored(name);
        let pack = IndexPack { name, role, length };
        lock(&self.uploaded).push(UploadedPack { pack, entries });
        Ok(())
    }

    async fn put(&self, name: &PackName, bytes: Bytes) -> Result<()> {
        let location = name.location(ObjectKind::Pack);
        let create = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&location, bytes.into(), create).await {
            // Of this name there are only these bytes: an earlier attempt succeeded and its answer was lost.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(e) => Err(Error::object("store pack", &location, e)),
        }
    }

    /// Publishes what was uploaded: all of it, or only if enough came together. An error ends everything.
    pub(super) async fn publish(&self, all: bool) -> Result<()> {
        let _turn = self.publishing.lock().await;
        self.progress.failure.check()?;
        let published = self.unless_stopped(self.publish_batch(all)).await;
        published.map_err(|e| self.progress.failure.note(e))
    }

    async fn publish_batch(&self, all: bool) -> Result<()> {
        let packs = {
            let mut uploaded = lock(&self.uploaded);
            let bytes: u64 = uploaded.iter().map(|up| up.pack.length).sum();
            let enough = bytes >= self.options.publish_bytes;
            if uploaded.is_empty() || !(all || enough) {
                return Ok(());
            }
            std::mem::take(&mut *uploaded)
        };
        let build = move || {
            let listed = packs.iter().map(|up| (up.pack, up.entries.as_slice()));
            IndexObject::build(listed).map(|index| (index, packs))
        };
        let (index, packs) = self.env.compute(build).await??;
        self.publisher.publish(index, &packs).await?;
        // Only now: a chunk is always either pending or in the lookup.
        self.unclaim(packs.iter().flat_map(|up| &up.entries).map(|e| &e.id));
        Ok(())
    }
}

fn abandoned() -> Error {
    Error::new(
        Kind::Cancelled,
        "store chunks",
        "the session was given up while they were on their way",
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
