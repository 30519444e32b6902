//! Follows the commit log and appends to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::entry::{Action, Entry, LogHome, Signed};
use super::fold::State;
use super::known::KnownEntries;
use super::sign::{Signer, Verifier};
use super::target::Target;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::SessionId;
use crate::store::{Appended, ManifestCatalog};

/// Entries read at a time.
const BATCH: usize = 256;

/// How often an append whose answer was lost is looked into before its fate is reported as unknown.
const ATTEMPTS: u32 = 5;

/// The log as this process knows it.
#[derive(Debug)]
pub(crate) struct Log {
    catalog: Arc<dyn ManifestCatalog>,
    known: KnownEntries,
    repository: Verifier,
    env: Env,
    /// Where `catalog` is. None for whoever moves the log.
    home: Option<LogHome>,
    state: Mutex<Arc<State>>,
}

/// What to append: an action, on behalf of a session or of the repository as a whole, with the key that signs it.
#[derive(Clone, Copy)]
pub(crate) struct Author<'a> {
    pub(crate) session: Option<SessionId>,
    pub(crate) signer: &'a Signer,
}

impl Log {
    /// Follows the log of `target` from `state` on. Unless `home` is none, the log must lie there.
    pub(crate) fn new(
        target: &Target,
        repository: Verifier,
        env: Env,
        home: Option<LogHome>,
        state: State,
    ) -> Self {
        Self {
            catalog: Arc::clone(&target.catalog),
            known: target.known().clone(),
            repository,
            env,
            home,
            state: Mutex::new(Arc::new(state)),
        }
    }

    /// The state as it was last seen; may be behind.
    pub(crate) async fn seen(&self) -> Arc<State> {
        Arc::clone(&*self.state.lock().await)
    }

    /// Folds what others appended, up to the end of the log.
    pub(crate) async fn refresh(&self) -> Result<Arc<State>> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await?;
        Ok(Arc::clone(&state))
    }

    async fn catch_up(&self, state: &mut Arc<State>) -> Result<()> {
        loop {
            let entries = self.catalog.read(state.next, BATCH).await?;
            let more = entries.len() == BATCH;
            for bytes in entries {
                let signed = self.known.decode(state.next, &bytes)?;
                self.fold(state, &signed)?;
            }
            if !more {
                return self.home.map_or(Ok(()), |home| at_home(state.log, home));
            }
        }
    }

    /// Folds an entry into a copy, so that those who look at the state see it as it was.
    fn fold(&self, state: &mut Arc<State>, signed: &Signed) -> Result<()> {
        Arc::make_mut(state).fold(signed, &self.repository)
    }

    /// Appends what `decide` makes of the newest state. Whoever loses a race folds the news and decides again, so `decide` may be called several times.
    /// Gives the entry's number and the state behind it.
    ///
    /// # Errors
    /// What `decide` or the rules say; nothing was appended then. [`Kind::Unavailable`] if the catalog lost its answer and could not be
    /// asked again: then the entry may be in the log or still appear in it.
    pub(crate) async fn append(
        &self,
        author: Author<'_>,
        mut decide: impl FnMut(&State) -> Result<Action> + Send,
    ) -> Result<(u64, Arc<State>)> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await?;
        loop {
            let entry = Entry {
                number: state.next,
                previous: state.head,
                time: self.env.now(),
                session: author.session,
                nonce: hex(&self.env.random::<16>()?),
                action: decide(&state)?,
            };
            state.check(&entry)?;
            let bytes = entry.encode(author.signer)?;
            if self.try_append(&state, &bytes).await? {
                // Our own entry need not be read again: that could fail, and it is in the log whatever happens now.
                let own = author.signer.verifier();
                let signed = self.known.decode_own(entry.number, &bytes, &own)?;
                self.fold(&mut state, &signed)?;
                return Ok((entry.number, Arc::clone(&state)));
            }
            self.catch_up(&mut state).await?;
        }
    }

    /// Whether `entry` got the number that follows `state`; resolved by looking, where an answer was lost.
    async fn try_append(&self, state: &Arc<State>, entry: &Bytes) -> Result<bool> {
        let mut wait = Duration::from_millis(50);
        let mut attempt = 1;
        // Why it is not known what became of an earlier attempt.
        let mut unclear: Option<Error> = None;
        loop {
            let error = match self.catalog.append(state.next, entry.clone()).await {
                Ok(Appended::Done) => return Ok(true),
                // An earlier attempt of ours may be the one that took it.
                Ok(Appended::Taken) => match self.is_there(state, entry).await {
                    Ok(ours) => return Ok(ours),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            // What was damaged on its way to us is as good as no answer.
            let worth_another = error.is_retryable() || error.kind() == Kind::Corrupt;
            if attempt == ATTEMPTS || !worth_another {
                // This one is refused; an earlier one may have done it all the same, or may yet.
                let Some(unclear) = unclear else {
                    return Err(error);
                };
                let unclear = unclear.with("the last try", error);
                return self.is_there(state, entry).await.or(Err(unclear));
            }
            tracing::debug!(number = state.next, %error, "append without answer; looking again");
            unclear.get_or_insert(error);
            tokio::time::sleep(wait).await;
            wait *= 2;
            attempt += 1;
        }
    }

    /// Whether the entry that follows `state` in the log is `entry`. Only one that folds proves that somebody else was first.
    async fn is_there(&self, state: &Arc<State>, entry: &Bytes) -> Result<bool> {
        let entries = self.catalog.read(state.next, 1).await?;
        let winner = entries.into_iter().next().ok_or_else(|| {
            Error::new(
                Kind::Corrupt,
                "append to log",
                "the target says that a number is taken, and has no entry of that number: it does not order writers; keep the log in a SQL catalog",
            )
            .with("entry", state.next)
        })?;
        if winner == *entry {
            return Ok(true);
        }
        let signed = self.known.decode(state.next, &winner)?;
        self.fold(&mut Arc::clone(state), &signed)?;
        Ok(false)
    }
}

/// Whether the log lies where it is looked for. Entries must never be appended elsewhere.
fn at_home(is: LogHome, looked_for: LogHome) -> Result<()> {
    let message = match (is, looked_for) {
        (LogHome::Target, LogHome::Target) | (LogHome::Catalog, LogHome::Catalog) => return Ok(()),
        (LogHome::Catalog, LogHome::Target) => {
            "the commit log of this repository lies in a SQL catalog, and what the target has is a copy of it: name the catalog"
        }
        (LogHome::Target, LogHome::Catalog) => {
            "the commit log of this repository lies in the target itself: leave the catalog out, or move the log there with `raksha rebuild --move-log`"
        }
    };
    Err(Error::new(Kind::Invalid, "follow the log", message))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
