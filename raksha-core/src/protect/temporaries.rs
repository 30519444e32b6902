//! What is recorded of things in the cloud, and releasing them.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};

use super::event::{Feed, Warning};
use super::hooks;
use super::raksha::Raksha;
use crate::cloud::{Recorder, Temporary};
use crate::error::{Error, Kind, Result};
use crate::store::JobStore;

/// How many of one kind are released at once.
const AT_ONCE: usize = 8;

/// Records temporaries of one owner in a job store.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) jobs: Arc<dyn JobStore>,
    /// A run or restore, by its id.
    pub(super) owner: String,
    /// Where it made them, if that is known.
    pub(super) place: Option<String>,
}

#[async_trait]
impl Recorder for Record {
    async fn record(&self, temporary: &Temporary) -> Result<()> {
        self.jobs.record_temporary(&self.owner, temporary).await
    }

    async fn released(&self, marker: &str) -> Result<()> {
        self.jobs.forget_temporary(&self.owner, marker).await
    }
}

/// Something that could not be released.
#[derive(Debug)]
#[non_exhaustive]
pub struct Left {
    /// The run or restore that made it, by its id.
    pub owner: String,
    /// What it is.
    pub what: String,
    /// Why it is still there.
    pub error: Error,
}

impl Left {
    /// As a warning, for those who listen.
    pub(super) fn warn(&self, feed: &Feed) {
        feed.warn(Warning::LeftBehind {
            what: self.what.clone(),
            reason: self.error.to_string(),
        });
    }
}

/// What became of several temporaries.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) gone: Vec<Temporary>,
    pub(super) left: Vec<Left>,
}

impl Record {
    /// Releases all that is recorded but what `keep` says: the latest first, since it may have been made from what is older, and what is alike and was
    /// made in a row together; hooks one by one. What cannot be released, or is [elsewhere](Self::elsewhere), stays recorded.
    pub(super) async fn release(
        &self,
        raksha: &Raksha,
        keep: impl Fn(&Temporary) -> bool,
    ) -> Released {
        let mut released = Released::default();
        let recorded = match self.jobs.temporaries(Some(&self.owner)).await {
            Ok(recorded) => recorded,
            Err(error) => {
                released.left.push(self.left("what it recorded", error));
                return released;
            }
        };
        let latest = recorded.into_iter().map(|(_, temporary)| temporary).rev();
        let mut wanted: Vec<Temporary> = latest.filter(|t| !keep(t)).collect();
        if let Some(elsewhere) = self.elsewhere(raksha) {
            let all = wanted.len();
            // Whom hooks speak to is in no cloud.
            wanted.retain(|temporary| temporary.kind == hooks::KIND);
            released
                .left
                .extend((wanted.len() < all).then_some(elsewhere));
        }
        for alike in wanted.chunk_by(|a, b| a.kind == b.kind && a.kind != hooks::KIND) {
            let ends: Vec<_> = (alike.iter())
                .map(|temporary| self.end(raksha, temporary).boxed())
                .collect();
            let ends: Vec<_> = stream::iter(ends).buffered(AT_ONCE).collect().await;
            for (temporary, gone) in alike.iter().zip(ends) {
                match gone {
                    Ok(()) => released.gone.push(temporary.clone()),
                    Err(error) => {
                        let what = format!("{} {}", temporary.kind, temporary.marker);
                        released.left.push(self.left(what, error));
                    }
                }
            }
        }
        released
    }

    async fn end(&self, raksha: &Raksha, temporary: &Temporary) -> Result<()> {
        match temporary.kind.as_str() {
            hooks::KIND => raksha.release_hook(temporary).await?,
            _ => raksha.cloud.snapshots.release(temporary).await?,
        }
        self.released(&temporary.marker).await
    }

    /// What to say if the owner made its things in another place than `raksha` works in. Here they look as if they were gone, and nobody would look for them
    /// any more if they were forgotten for that.
    pub(super) fn elsewhere(&self, raksha: &Raksha) -> Option<Left> {
        let (there, here) = (self.place.as_ref()?, raksha.cloud.discovery.place());
        (*there != here).then(|| {
            let message = "it is in another cloud or project than this one: clean up with that one";
            let error = Error::new(Kind::Conflict, "remove what was left", message)
                .with("there", there)
                .with("here", here)
                .retryable(false);
            self.left("what it made", error)
        })
    }

    pub(super) fn left(&self, what: impl Into<String>, error: Error) -> Left {
        Left {
            owner: self.owner.clone(),
            what: what.into(),
            error,
        }
    }
}
