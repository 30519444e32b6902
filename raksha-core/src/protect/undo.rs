//! Removing what a restore created.

use super::raksha::Raksha;
use super::temporaries::Left;
use crate::cloud::{Created, Temporary};
use crate::error::{Error, Kind, Result};
use crate::id::RestoreId;
use crate::store::{RestoreOutcome, RestoreRun, RestoreState};

/// What became of an undoing.
#[derive(Debug, Default)]
pub(super) struct Undone {
    /// How many things were removed.
    pub(super) gone: usize,
    /// What is still there.
    pub(super) left: Vec<Left>,
    /// What was created and is still there.
    pub(super) created: Vec<Created>,
}

impl Raksha {
    /// Removes what a restore created that died or did not succeed. Gives back what could not be removed; it stays recorded.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has no such restore, [`Kind::Conflict`] if it lives in this process or has succeeded: what a
    /// finished restore brought back is its owner's.
    pub async fn undo_restore(&self, id: RestoreId) -> Result<Vec<Left>> {
        let mut restore = self.restore_record(id).await?;
        let refuse = |why: &str| {
            let error = Error::new(Kind::Conflict, "undo restore", why).with("restore", id);
            Err(error.retryable(false))
        };
        match &restore.state {
            RestoreState::Running if self.alive.contains(id) => {
                return refuse("it is under way: cancel it");
            }
            RestoreState::Running => {
                let outcome = RestoreOutcome::Failed {
                    error: "interrupted".to_owned(),
                };
                let at = self.env().now();
                restore.state = RestoreState::Ended { at, outcome };
                self.jobs.update_restore(&restore).await?;
            }
            RestoreState::Ended { outcome, .. } if *outcome == RestoreOutcome::Succeeded => {
                return refuse("it succeeded: what it brought back is yours to remove");
            }
            RestoreState::Ended { .. } => {}
        }
        Ok(self.undo_recorded(restore).await.left)
    }

    /// Removes everything that is recorded of `restore`, the latest first, and brings the record up to date.
    pub(super) async fn undo_recorded(&self, mut restore: RestoreRun) -> Undone {
        let mut undone = Undone::default();
        let record = self.record_of(restore.id, restore.place.as_deref());
        let temporaries = match self.jobs.temporaries(Some(&record.owner)).await {
            Ok(temporaries) => temporaries,
            Err(error) => {
                undone.left.push(record.left("what it recorded", error));
                undone.created = restore.created;
                return undone;
            }
        };
        let nothing = temporaries.is_empty() && restore.created.is_empty();
        if let Some(elsewhere) = record.elsewhere(self).filter(|_| !nothing) {
            undone.left.push(elsewhere);
            undone.created = restore.created;
            return undone;
        }
        // These first: what was being created when the end came, and is only known by its record, needs what was created before it.
        for (_, temporary) in temporaries.into_iter().rev() {
            let gone = async {
                self.remove_recorded(&temporary).await?;
                (self.jobs.forget_temporary(&record.owner, &temporary.marker)).await
            };
            match gone.await {
                Ok(()) => undone.gone += 1,
                Err(error) => {
                    let what = format!("{} {}", temporary.kind, temporary.marker);
                    undone.left.push(record.left(what, error));
                }
            }
        }
        while let Some(created) = restore.created.pop() {
            match self.cloud.restorer.remove(&created).await {
                Ok(()) => undone.gone += 1,
                Err(error) => {
                    let what = format!("{} {}", created.key.kind, created.id);
                    undone.left.push(record.left(what, error));
                    undone.created.push(created);
                }
            }
        }
        undone.created.reverse();
        restore.created.clone_from(&undone.created);
        if let Err(error) = self.jobs.update_restore(&restore).await {
            undone.left.push(record.left("the record", error));
        }
        undone
    }

    /// A restorer notes what it creates as a [`Created`] where it knows the id beforehand; anything else is released like a
    /// run's temporaries, by its id or marker.
    async fn remove_recorded(&self, temporary: &Temporary) -> Result<()> {
        match serde_json::from_value::<Created>(temporary.detail.clone()) {
            Ok(created) => self.cloud.restorer.remove(&created).await,
            Err(_) => self.cloud.snapshots.release(temporary).await,
        }
    }
}
