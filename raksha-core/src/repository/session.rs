//! A session: one writer's, reader's or collector's registered presence in a repository.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Action, Purpose};
use super::fold::State;
use super::log::Author;
use super::packer::Packer;
use super::shared::Shared;
use super::sign::{Signer, Verifier};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, PointId, SessionId};

/// A session that is open, or was until somebody fenced it off.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: SessionId,
    signer: Signer,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(&self.id).finish()
    }
}

impl Session {
    /// Registers a session that pins `pins`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if one of the points does not exist.
    pub(crate) async fn open(
        shared: Arc<Shared>,
        purpose: Purpose,
        pins: &[PointId],
        who: &str,
    ) -> Result<Self> {
        let signer = Signer::from_seed(&shared.env.random()?)?;
        let by = shared.seal_text(who)?;
        let verifier = signer.verifier();
        let append = shared.append(shared.author(), |_| {
            Ok(Action::SessionOpened {
                purpose,
                by: by.clone(),
                verifier,
                pins: pins.to_vec(),
            })
        });
        let id = match append.await {
            Ok((number, _)) => SessionId(number),
            Err(error) => opened_all_the_same(&shared, &verifier, error).await?,
        };
        let session = Self { shared, id, signer };
        if let Err(error) = session.shared.refresh().await {
            // Nobody else knows of it, so nobody else would close it.
            if let Err(error) = session.close().await {
                tracing::warn!(%error, session = %session.id, "a session was not closed");
            }
            return Err(error);
        }
        Ok(session)
    }

    /// Appends on behalf of this session.
    pub(crate) async fn append(
        &self,
        decide: impl FnMut(&State) -> Result<Action> + Send,
    ) -> Result<(u64, Arc<State>)> {
        let author = Author {
            session: Some(self.id),
            signer: &self.signer,
        };
        self.shared.append(author, decide).await
    }

    /// The bytes of these chunks, as [`Shared::get`] gives them.
    ///
    /// # Errors
    /// Those, and [`Kind::Fenced`] if something is missing and this session is not open any more: then it may have been collected by right, and
    /// nothing is damaged.
    pub(crate) async fn get(&self, ids: &[ChunkId], own: Option<&Packer>) -> Result<Vec<Bytes>> {
        let got = self.shared.get(ids, own).await;
        let missing = |error: &Error| error.kind() == Kind::NotFound;
        if !got.as_ref().is_err_and(missing) {
            return got;
        }
        // It was looked for in the newest log.
        let open = self.shared.log.seen().await.sessions.contains_key(&self.id);
        got.map_err(|error| match open {
            true => error,
            false => Error::new(
                Kind::Fenced,
                "get chunks",
                "the session is not open any more: it was fenced off, and what it pinned may have been forgotten and collected since; start anew",
            )
            .with("session", self.id)
            .caused_by(error),
        })
    }

    /// Ends the session. One that was fenced off has ended already, and that is fine.
    pub(crate) async fn close(&self) -> Result<()> {
        match self.append(|_| Ok(Action::SessionClosed)).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == Kind::Fenced => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Whether the session with this key was opened although the answer was lost: then it is ours, and would stay open if we did not take it.
async fn opened_all_the_same(
    shared: &Shared,
    verifier: &Verifier,
    error: Error,
) -> Result<SessionId> {
    if !matches!(error.kind(), Kind::Unavailable | Kind::Timeout) {
        return Err(error);
    }
    let Ok(state) = shared.log.refresh().await else {
        return Err(error);
    };
    let mut sessions = state.sessions.iter();
    match sessions.find(|(_, session)| session.verifier == *verifier) {
        Some((id, _)) => Ok(*id),
        None => Err(error),
    }
}
