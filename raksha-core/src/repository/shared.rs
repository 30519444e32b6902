//! What all handles on one open repository share.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::future::try_join_all;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::sync::Mutex;

use super::checkpoint;
use super::entry::Action;
use super::fetch::Fetcher;
use super::fold::State;
use super::index::IndexObject;
use super::keys::PassphraseCost;
use super::log::{Author, Log};
use super::lookup::Lookup;
use super::memory::Shares;
use super::names::{IndexName, ObjectKind, PackName, StoredName, point_location};
use super::packer::Packer;
use super::parameters::Parameters;
use super::record::Records;
use super::seal::Belongs;
use super::sign::Signer;
use super::target::Target;
use super::verify::get;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ObjectHash, PointId, RepositoryId, SessionId};
use crate::point::{PointSummary, RecoveryPoint};

/// The context under which points are sealed.
const POINT: &str = "point";
/// The context under which summaries of points are sealed.
const SUMMARY: &str = "summary";
/// The context under which names of people and processes are sealed.
const WHO: &str = "who";

/// The largest point that is opened, in bytes: a guard against damaged lengths.
const LARGEST_POINT: usize = 1 << 30;

/// Index objects fetched together.
const INDEXES_AT_ONCE: usize = 16;

pub(crate) struct Shared {
    pub(crate) target: Target,
    pub(crate) id: RepositoryId,
    pub(crate) parameters: Parameters,
    pub(crate) records: Arc<Records>,
    pub(crate) signer: Signer,
    pub(crate) env: Env,
    pub(crate) shares: Shares,
    pub(crate) check_new_chunks: bool,
    pub(crate) passphrase_cost: PassphraseCost,
    pub(crate) log: Log,
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) fetcher: Fetcher,
    /// Index objects that the lookup holds, and the packs that it takes for live.
    pub(crate) loaded: Mutex<Loaded>,
}

/// What of the state has reached the lookup.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    next: u64,
    indexes: BTreeSet<IndexName>,
    packs: BTreeSet<PackName>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Repository").field(&self.id).finish()
    }
}

/// Index objects that are fetched together: a few, and no more bytes than `memory`, if it is not one alone that has more.
fn batches(indexes: impl Iterator<Item = (IndexName, u64)>, memory: u64) -> Vec<Vec<IndexName>> {
    let mut batches: Vec<Vec<IndexName>> = Vec::new();
    let mut left = 0;
    for (name, bytes) in indexes {
        match batches.last_mut() {
            Some(batch) if batch.len() < INDEXES_AT_ONCE && bytes <= left => {
                batch.push(name);
                left -= bytes;
            }
            _ => {
                batches.push(vec![name]);
                left = memory.saturating_sub(bytes);
            }
        }
    }
    batches
}

/// Seals the name of somebody, for the log.
pub(super) fn seal_text(
    records: &Records,
    repository: RepositoryId,
    text: &str,
    env: &Env,
) -> Result<String> {
    let belongs = Belongs::Repository(WHO, repository);
    Ok(BASE64_STANDARD.encode(records.seal_blob(belongs, text.as_bytes(), env)?))
}

impl Shared {
    /// The repository as a whole, as an author of log entries.
    pub(crate) fn author(&self) -> Author<'_> {
        Author {
            session: None,
            signer: &self.signer,
        }
    }

    /// Appends to the log, and leaves a checkpoint now and then.
    pub(crate) async fn append(
        &self,
        author: Author<'_>,
        decide: impl FnMut(&State) -> Result<Action> + Send,
    ) -> Result<(u64, Arc<State>)> {
        let (number, state) = self.log.append(author, decide).await?;
        if checkpoint::is_due(number, &state) {
            // Only an optimisation: whoever opens the repository reads the log instead.
            if let Err(error) = self.write_checkpoint(&state).await {
                tracing::warn!(%error, "no checkpoint was written");
            }
        }
        Ok((number, state))
    }

    async fn write_checkpoint(&self, state: &State) -> Result<()> {
        let location = checkpoint::location(state.next);
        let bytes = checkpoint::encode(state, &self.signer)?;
        let put = self.target.objects.put(&location, bytes.into()).await;
        put.map(drop)
            .map_err(|e| Error::object("write checkpoint", &location, e))
    }

    /// Folds what others appended, and lets the lookup follow.
    pub(crate) async fn refresh(&self) -> Result<Arc<State>> {
        loop {
            let state = self.log.refresh().await?;
            match self.follow(&state).await {
                Ok(()) => return Ok(state),
                // An index may have been merged with others and deleted since the log was read: then the log says so by now.
                Err(error) if error.kind() == Kind::NotFound => {
                    if self.log.refresh().await?.next == state.next {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes of these chunks, in the order asked for; those that `own` is still storing too. A collector may have moved them since the log was
    /// read last: then the newest log says where they are.
    ///
    /// # Errors
    /// As [`ChunkSource::get`](crate::store::ChunkSource::get) says.
    pub(crate) async fn get(&self, ids: &[ChunkId], own: Option<&Packer>) -> Result<Vec<Bytes>> {
        loop {
            let followed = self.followed().await;
            match self.fetcher.get(ids, own).await {
                Err(error) if error.kind() == Kind::NotFound => {
                    self.refresh().await?;
                    if self.followed().await == followed {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    /// The log up to which (exclusive) the lookup has followed: it finds nothing that was retired before.
    pub(crate) async fn followed(&self) -> u64 {
        self.loaded.lock().await.next
    }

    /// Has the lookup find what a session of this process published with entry `number`. If it has followed the log beyond that entry, it knows already what
    /// became of those packs: the session may have been fenced off and they retired meanwhile, and what is added now would be found until the next entry.
    pub(crate) async fn find_own(&self, number: u64, index: IndexObject) -> Result<()> {
        let loaded = self.loaded.lock().await;
        if loaded.next <= number {
            let lookup = Arc::clone(&self.lookup);
            self.env.compute(move || lookup.add(vec![index])).await??;
        }
        Ok(())
    }

    /// Brings the lookup to `state`: index objects that are new are loaded, packs that were retired are no longer found.
    async fn follow(&self, state: &State) -> Result<()> {
        let mut loaded = self.loaded.lock().await;
        if loaded.next >= state.next {
            return Ok(());
        }
        let mut new = Vec::new();
        for (name, index) in &state.indexes {
            let mut live = index.packs.iter().filter(|p| state.packs.contains_key(p));
            // An index that was merged from others describes packs that are found already.
            if !loaded.indexes.contains(name) && live.any(|p| !loaded.packs.contains(p)) {
                new.push((*name, index.bytes));
            }
        }
        self.load_indexes(&new).await?;
        // Of all that the lookup finds, however it got there: own packs when they were published, others perhaps when following failed halfway.
        // What an open session stored is live or about to be; a session that this state does not know yet began after it.
        let gone = |pack: &PackName| {
            let ended = pack.session.0 < state.next && !state.sessions.contains_key(&pack.session);
            ended && !state.packs.contains_key(pack)
        };
        let view = self.lookup.view();
        let found = view.packs().map(|pack| pack.name);
        let retired: Vec<PackName> = found.filter(gone).collect();
        self.lookup.retire(&retired);
        loaded.packs = state.packs.keys().copied().collect();
        loaded.indexes = state.indexes.keys().copied().collect();
        let first = std::mem::replace(&mut loaded.next, state.next) == 0;
        if first {
            // The local cache holds what an earlier process left there.
            let wanted = state.indexes.keys().map(|name| name.hash).collect();
            let lookup = Arc::clone(&self.lookup);
            self.env
                .compute(move || lookup.tidy_cache(&wanted))
                .await??;
        }
        Ok(())
    }

    /// Loads index objects of these lengths into the lookup, those that the local cache has from there.
    async fn load_indexes(&self, indexes: &[(IndexName, u64)]) -> Result<()> {
        if indexes.is_empty() {
            return Ok(());
        }
        let hashes: Vec<ObjectHash> = indexes.iter().map(|(name, _)| name.hash).collect();
        let lookup = Arc::clone(&self.lookup);
        let missing = self
            .env
            .compute(move || lookup.add_cached(&hashes))
            .await??;
        let missing: HashSet<ObjectHash> = missing.into_iter().collect();
        let missing = indexes.iter().filter(|(n, _)| missing.contains(&n.hash));
        for some in batches(missing.copied(), self.shares.lookup()) {
            let fetched: Vec<IndexObject> =
                try_join_all(some.iter().map(|name| self.fetch_index(name))).await?;
            let lookup = Arc::clone(&self.lookup);
            self.env.compute(move || lookup.add(fetched)).await??;
        }
        Ok(())
    }

    /// Reads an index object.
    pub(crate) async fn fetch_index(&self, name: &IndexName) -> Result<IndexObject> {
        let location = name.location(ObjectKind::Index);
        let object = IndexObject::new(get(&*self.target.objects, &location).await?);
        if object.hash != name.hash {
            return Err(Error::new(
                Kind::Corrupt,
                "read index",
                "its bytes are not those that its name says: run verify",
            )
            .with("object", location));
        }
        Ok(object)
    }

    /// Fences off a session: whatever it does from here on has no effect.
    pub(crate) async fn fence(&self, fenced: SessionId, who: &str) -> Result<()> {
        let by = self.seal_text(who)?;
        let append = self.append(self.author(), |_| {
            Ok(Action::SessionFenced {
                fenced,
                by: by.clone(),
            })
        });
        append.await.map(drop)
    }

    /// Reads a point's object.
    pub(crate) async fn load_point(&self, state: &State, id: &PointId) -> Result<RecoveryPoint> {
        let point = state.points.get(id).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "read recovery point",
                "there is no such point",
            )
            .with("point", id)
        })?;
        let location = point_location(point.session, id);
        let bytes = get(&*self.target.objects, &location).await?;
        if blake3::hash(&bytes).as_bytes() != id.as_bytes() {
            return Err(Error::new(
                Kind::Corrupt,
                "read recovery point",
                "its bytes are not those that its name says",
            )
            .with("object", location));
        }
        let json = self.open_blob(POINT, &bytes)?;
        serde_json::from_slice(&json).map_err(|e| {
            Error::new(
                Kind::Unsupported,
                "read recovery point",
                "it was made by a newer version; use that one",
            )
            .with("point", id)
            .caused_by(e)
        })
    }

    /// Stores a point's object under a session's prefix.
    pub(crate) async fn store_point(
        &self,
        session: SessionId,
        point: &RecoveryPoint,
    ) -> Result<(PointId, u64)> {
        let json = serde_json::to_vec(point).map_err(|e| {
            Error::new(
                Kind::Internal,
                "store recovery point",
                "it cannot be written",
            )
            .caused_by(e)
        })?;
        let bytes = self.seal_blob(POINT, &json)?;
        let id = PointId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let length = bytes.len() as u64;
        self.put_new(
            StoredName::new(session, ObjectHash::from_bytes(*id.as_bytes())),
            ObjectKind::Point,
            bytes.into(),
        )
        .await?;
        Ok((id, length))
    }

    /// Stores an object under a name that says its content. If it is there already, it is the same.
    pub(crate) async fn put_new(
        &self,
        name: StoredName,
        kind: ObjectKind,
        bytes: PutPayload,
    ) -> Result<()> {
        let location = name.location(kind);
        let create = PutOptions::from(PutMode::Create);
        match self.target.objects.put_opts(&location, bytes, create).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(e) => Err(Error::object("store", &location, e)),
        }
    }

    pub(crate) fn seal_summary(&self, summary: &PointSummary) -> Result<String> {
        let json = serde_json::to_vec(summary).map_err(|e| {
            Error::new(Kind::Internal, "seal summary", "it cannot be written").caused_by(e)
        })?;
        Ok(BASE64_STANDARD.encode(self.seal_blob(SUMMARY, &json)?))
    }

    pub(crate) fn open_summary(&self, sealed: &str) -> Result<PointSummary> {
        let json = self.open_base64(SUMMARY, sealed)?;
        serde_json::from_slice(&json).map_err(|e| {
            Error::new(
                Kind::Unsupported,
                "read log",
                "a point's summary was made by a newer version",
            )
            .caused_by(e)
        })
    }

    pub(crate) fn seal_text(&self, text: &str) -> Result<String> {
        seal_text(&self.records, self.id, text, &self.env)
    }

    pub(crate) fn open_text(&self, sealed: &str) -> Result<String> {
        let bytes = self.open_base64(WHO, sealed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open_base64(&self, context: &'static str, sealed: &str) -> Result<Bytes> {
        let bytes = BASE64_STANDARD.decode(sealed).map_err(|e| {
            Error::new(Kind::Corrupt, "read log", "a sealed text is not base64").caused_by(e)
        })?;
        self.open_blob(context, &bytes)
    }

    fn seal_blob(&self, context: &'static str, plain: &[u8]) -> Result<Vec<u8>> {
        self.records
            .seal_blob(Belongs::Repository(context, self.id), plain, &self.env)
    }

    fn open_blob(&self, context: &'static str, sealed: &[u8]) -> Result<Bytes> {
        self.records
            .open_blob(sealed, Belongs::Repository(context, self.id), LARGEST_POINT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_fetched_within_the_memory_and_a_larger_one_alone() {
        let name = |n: u64| {
            let hash = ObjectHash::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes());
            IndexName::new(SessionId(n), hash)
        };
        let sizes = |sizes: &[u64]| {
            let named = (0..).zip(sizes).map(|(n, bytes)| (name(n), *bytes));
            let batches = batches(named, 100);
            let all: Vec<u64> = batches.concat().iter().map(|n| n.session.0).collect();
            assert!(all.into_iter().eq(0..sizes.len() as u64));
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0usize; 0]);
        assert_eq!(sizes(&[40, 40, 20, 1, 99]), [3, 2]);
        assert_eq!(sizes(&[300, 1, 300, 100, 1]), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(&[1; 40]), [16, 16, 8]);
    }
}
