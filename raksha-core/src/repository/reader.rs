//! A reader's session: gets the chunks of points that it pinned.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::entry::Purpose;
use super::session::Session;
use super::shared::Shared;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, PointId, SessionId};
use crate::store::{ChunkNamer, ChunkSource};

/// A reader: a [`ChunkSource`] for the points that it pinned. They stay whole until it is closed, even if somebody forgets them.
///
/// Where the target takes nothing more (it is full, or the credentials only read), nothing can be pinned. Then the points can be read as long as nobody forgets
/// them and collects: after that reading fails with an error that says so, as everything that is read is compared with its name.
#[derive(Debug)]
pub struct PointReader {
    shared: Arc<Shared>,
    session: Option<Session>,
    points: Vec<PointId>,
}

impl PointReader {
    /// Pins `points` if it can.
    pub(crate) async fn open(shared: Arc<Shared>, points: &[PointId], who: &str) -> Result<Self> {
        let opened = Session::open(Arc::clone(&shared), Purpose::Read, points, who).await;
        let session = match opened {
            Ok(session) => Some(session),
            Err(error) if matches!(error.kind(), Kind::Full | Kind::Denied) => {
                tracing::warn!(%error, "points are read without being pinned: do not collect meanwhile");
                let state = shared.refresh().await?;
                points
                    .iter()
                    .try_for_each(|p| state.live_point(p).map(drop))?;
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            shared,
            session,
            points: points.to_vec(),
        })
    }

    /// Without a pin: what is missing since a point was forgotten is no damage.
    async fn get_unpinned(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        let got = self.shared.get(ids, None).await;
        let missing = |error: &Error| error.kind() == Kind::NotFound;
        if !got.as_ref().is_err_and(missing) {
            return got;
        }
        // It was looked for in the newest log.
        let state = self.shared.log.seen().await;
        let gone = self.points.iter().find(|id| state.live_point(id).is_err());
        got.map_err(|error| match gone {
            None => error,
            Some(point) => Error::new(
                Kind::Fenced,
                "get chunks",
                "the point was forgotten, and what only it had collected, while it was read without a pin, since the target took none: read another one",
            )
            .with("point", point)
            .caused_by(error),
        })
    }

    /// The id of the session that pins the points; none if they could not be pinned.
    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Lets go of the points.
    pub async fn close(&self) -> Result<()> {
        match &self.session {
            Some(session) => session.close().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl ChunkSource for PointReader {
    fn namer(&self) -> &ChunkNamer {
        self.shared.records.namer()
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        match &self.session {
            Some(session) => session.get(ids, None).await,
            None => self.get_unpinned(ids).await,
        }
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
