//! A session: one writer's, reader's or collector's registered presence in a repository.

use std::sync::Arc;

use super::entry::{Action, Purpose};
use super::fold::State;
use super::log::Author;
use super::shared::Shared;
use super::sign::Signer;
use crate::error::{Kind, Result};
use crate::id::{PointId, SessionId};

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
        let (number, state) = shared
            .append(shared.author(), |_| {
                Ok(Action::SessionOpened {
                    purpose,
                    by: by.clone(),
                    verifier,
                    pins: pins.to_vec(),
                })
            })
            .await?;
        let session = Self {
            shared,
            id: SessionId(number),
            signer,
        };
        session.shared.follow(&state).await?;
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

    /// Ends the session. One that was fenced off has ended already, and that is fine.
    pub(crate) async fn close(&self) -> Result<()> {
        match self.append(|_| Ok(Action::SessionClosed)).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == Kind::Fenced => Ok(()),
            Err(e) => Err(e),
        }
    }
}
