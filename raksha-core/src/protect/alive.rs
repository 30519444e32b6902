//! What lives in this process: runs and restores, whoever began them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::cancel::Cancel;
use super::event::{Event, Feed, Progress};

/// How many events a listener may be behind before it misses some.
const BACKLOG: usize = 4096;

/// The runs and restores that live in this process: to see how far they are, and to stop them. Cheap to clone; clones are the same.
///
/// What lives in other processes is known by its record alone.
#[derive(Clone)]
pub struct Alive(Arc<Shared>);

struct Shared {
    living: Mutex<BTreeMap<String, Living>>,
    told: broadcast::Sender<(String, Life)>,
}

struct Living {
    cancel: Cancel,
    feed: Feed,
}

/// What happens to a run or restore of this process.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Life {
    /// It tells something.
    Event(Event),
    /// It is over, or was dropped.
    Over,
}

/// What happens to all runs and restores of this process, from when this was made. A listener that is slow misses some.
#[derive(Debug)]
pub struct Lives(broadcast::Receiver<(String, Life)>);

impl Lives {
    /// What happens next, to the run or restore of this id; none once nobody can begin any more.
    pub async fn next(&mut self) -> Option<(String, Life)> {
        loop {
            match self.0.recv().await {
                Ok(told) => return Some(told),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Default for Alive {
    fn default() -> Self {
        Self(Arc::new(Shared {
            living: Mutex::default(),
            told: broadcast::Sender::new(BACKLOG),
        }))
    }
}

impl Alive {
    /// One in which nothing lives yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Living>> {
        self.0.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the run or restore of this id lives here.
    pub fn contains(&self, id: impl fmt::Display) -> bool {
        self.lock().contains_key(&id.to_string())
    }

    /// Asks the run or restore of this id to stop; false if it does not live here.
    pub fn cancel(&self, id: impl fmt::Display) -> bool {
        match self.lock().get(&id.to_string()) {
            Some(living) => {
                living.cancel.cancel();
                true
            }
            None => false,
        }
    }

    /// How far the run or restore of this id is; none if it does not live here.
    pub fn progress(&self, id: impl fmt::Display) -> Option<Progress> {
        let feed = self.lock().get(&id.to_string())?.feed.clone();
        Some(feed.progress())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// What happens from now on.
    pub fn listen(&self) -> Lives {
        Lives(self.0.told.subscribe())
    }

    /// Tells who listens.
    pub(super) fn tell(&self, id: &str, life: impl FnOnce() -> Life) {
        if self.0.told.receiver_count() > 0 {
            let _ = self.0.told.send((id.to_owned(), life()));
        }
    }

    /// Counts `id` as alive until the guard is dropped.
    pub(super) fn enter(&self, id: impl fmt::Display, cancel: &Cancel, feed: &Feed) -> AliveGuard {
        let id = id.to_string();
        let living = Living {
            cancel: cancel.clone(),
            feed: feed.clone(),
        };
        self.lock().insert(id.clone(), living);
        AliveGuard {
            alive: self.clone(),
            id,
        }
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

/// Counts a run or restore as alive for as long as it exists.
#[derive(Debug)]
pub(super) struct AliveGuard {
    alive: Alive,
    id: String,
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.alive.lock().remove(&self.id);
        self.alive.tell(&self.id, || Life::Over);
    }
}
