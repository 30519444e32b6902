//! A reader's session: gets the chunks of points that it pinned.

use async_trait::async_trait;
use bytes::Bytes;

use super::session::Session;
use super::shared::Shared;
use crate::error::Result;
use crate::id::{ChunkId, SessionId};
use crate::store::{ChunkNamer, ChunkSource};

/// A reader: a [`ChunkSource`] for the points that it pinned. They stay whole until it is closed, even if somebody forgets them.
#[derive(Debug)]
pub struct PointReader {
    session: Session,
}

impl PointReader {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Lets go of the points.
    pub async fn close(&self) -> Result<()> {
        self.session.close().await
    }
}

#[async_trait]
impl ChunkSource for PointReader {
    fn namer(&self) -> &ChunkNamer {
        self.session.shared.records.namer()
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        self.session.get(ids, None).await
    }
}

/// The chunks of a repository, for those who see to it themselves that they stay: a collector, a verifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainSource<'a>(pub(crate) &'a Shared);

#[async_trait]
impl ChunkSource for PlainSource<'_> {
    fn namer(&self) -> &ChunkNamer {
        self.0.records.namer()
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        self.0.get(ids, None).await
    }
}
