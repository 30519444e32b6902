//! A writer's session: stores chunks and commits points.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::entry::{Action, AddedPack, Purpose};
use super::index::IndexObject;
use super::names::{IndexName, ObjectKind};
use super::packer::{Options, Packer, Publish, UploadedPack};
use super::reach;
use super::session::Session;
use super::shared::Shared;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, PointId, SessionId};
use crate::point::RecoveryPoint;
use crate::store::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};

/// A writer: a [`ChunkStore`] whose chunks become part of the repository, and that commits recovery points.
///
/// What it stored is found by others, and by the next writer if this one dies, as soon as it is published: every few packs, and at the latest when a
/// point is committed.
pub struct Writer {
    session: Arc<Session>,
    packer: Packer,
    /// The log up to which everything that this writer relies on is known to be live.
    checked: Mutex<u64>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.session.id).finish()
    }
}

impl Writer {
    pub(crate) async fn open(shared: Arc<Shared>, pins: &[PointId], who: &str) -> Result<Self> {
        let session =
            Arc::new(Session::open(Arc::clone(&shared), Purpose::Write, pins, who).await?);
        let packer = packer(&session);
        // Not how far the log is known: another task of this process may have read ahead, and the lookup not have followed yet.
        let checked = shared.followed().await;
        Ok(Self {
            session,
            packer,
            checked: Mutex::new(checked),
        })
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Makes `point` part of the repository. Everything it refers to was put into this writer, or lies in points that it pinned.
    ///
    /// # Errors
    /// [`Kind::Conflict`]: chunks that this writer found in the repository were retired meanwhile. Store the disks again (only what is missing is stored), then commit again.
    /// [`Kind::Fenced`]: somebody took this writer for dead. Start anew with another one; what was stored is found again.
    /// After any error there is no such point, unless the kind is [`Kind::Unavailable`] or [`Kind::Timeout`]: then the answer was lost, and the point may exist.
    pub async fn commit(&self, point: &RecoveryPoint) -> Result<PointId> {
        self.packer.flush().await?;
        let shared = &self.session.shared;
        let mut checked = self.checked.lock().await;
        let summary = shared.seal_summary(&point.summary)?;
        let (id, _) = shared.store_point(self.session.id, point).await?;
        loop {
            let state = shared.refresh().await?;
            if state.last_retire >= *checked {
                self.must_reach_only_live_chunks(point).await?;
            }
            *checked = state.next;
            // Whoever folds the next entry would have to copy all of it.
            drop(state);
            let append = self
                .session
                .append(|_| {
                    Ok(Action::PointCommitted {
                        point: id,
                        summary: summary.clone(),
                        checked: *checked,
                    })
                })
                .await;
            match append {
                Ok(_) => return Ok(id),
                // Packs were retired between the check and the append: check again.
                Err(e) if e.kind() == Kind::Conflict => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn must_reach_only_live_chunks(&self, point: &RecoveryPoint) -> Result<()> {
        let roots = point.disks.iter().map(|d| d.root);
        let missing = match reach::missing(&self.session.shared, self, roots).await {
            Ok(missing) => missing,
            Err(e) if e.kind() == Kind::NotFound => 1,
            Err(e) => return Err(e),
        };
        if missing == 0 {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "commit recovery point",
            "chunks that it relies on were retired meanwhile; store its disks again, then commit again",
        )
        .with("missing chunks", missing))
    }

    /// Publishes what was stored, and ends the session. What no point needs will be collected.
    pub async fn close(&self) -> Result<()> {
        let flushed = self.packer.flush().await;
        let closed = self.session.close().await;
        flushed.and(closed)
    }

    /// Ends the session without publishing what is still on its way: uploads are dropped where they are, so that closing need not wait behind
    /// them, however slow the target is.
    pub async fn abandon(&self) -> Result<()> {
        self.packer.abandon().await;
        self.session.close().await
    }
}

#[async_trait]
impl ChunkSource for Writer {
    fn namer(&self) -> &ChunkNamer {
        self.session.shared.records.namer()
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        self.session.get(ids, Some(&self.packer)).await
    }
}

#[async_trait]
impl ChunkStore for Writer {
    async fn put(&self, role: Role, chunks: Vec<Chunk>) -> Result<Vec<Stored>> {
        self.packer.put(role, chunks).await
    }

    async fn flush(&self) -> Result<()> {
        self.packer.flush().await
    }
}

/// Publishes uploaded packs: an index object, and an entry in the log.
#[derive(Debug)]
pub(crate) struct Publisher(pub(crate) Arc<Session>);

#[async_trait]
impl Publish for Publisher {
    async fn publish(&self, index: IndexObject, packs: &[UploadedPack]) -> Result<()> {
        let session = &self.0;
        let name = IndexName::new(session.id, index.hash);
        session
            .shared
            .put_new(name, ObjectKind::Index, index.bytes.clone().into())
            .await?;
        let added = packs.iter().map(|uploaded| AddedPack {
            hash: uploaded.pack.name.hash,
            bytes: uploaded.pack.length,
            role: uploaded.pack.role,
        });
        let added: Vec<AddedPack> = added.collect();
        let append = session.append(|_| {
            Ok(Action::PacksAdded {
                index: index.hash,
                index_bytes: index.bytes.len() as u64,
                packs: added.clone(),
            })
        });
        let (number, _) = append.await?;
        session.shared.find_own(number, index).await
    }
}

/// What packs for a session, with a share of the memory of its own.
pub(crate) fn packer(session: &Arc<Session>) -> Packer {
    let shared = &session.shared;
    let mut options = Options::new(session.id);
    options.pack_size = u64::from(shared.parameters.pack_size);
    options.check = shared.check_new_chunks;
    Packer::new(
        Arc::clone(&shared.target.objects),
        Arc::clone(&shared.lookup),
        Arc::clone(&shared.records),
        Arc::new(Publisher(Arc::clone(session))),
        shared.env.clone(),
        shared.shares.packing(),
        options,
    )
}
