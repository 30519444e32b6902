//! How the authorities of jobs stand: looked at before runs are due, and told when that changes.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::Worker;
use super::event::Happening;
use crate::authority::{Standing, Watch};
use crate::error::{Error, Kind, Result};
use crate::store::{BackupJob, Tracking};
use crate::time::Timestamp;

/// How long a cloud may take to say how an authority stands.
const PATIENCE: Duration = Duration::from_secs(60);

/// When an authority is looked at again that could not be looked at, or whose looker died.
const RETRY: Duration = Duration::from_secs(120);

/// How many authorities are looked at at once.
const AT_ONCE: usize = 8;

/// When workers look at the authority of a job, and what they tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityOptions {
    /// So long before it ends it is told that it will; a day.
    pub forecast: Duration,
    /// So long before a run is due the cloud is asked; an hour. It is not asked more often than this, and of jobs without a schedule that often.
    pub probe: Duration,
}

impl Default for AuthorityOptions {
    fn default() -> Self {
        Self {
            forecast: Duration::from_secs(24 * 60 * 60),
            probe: Duration::from_secs(60 * 60),
        }
    }
}

impl AuthorityOptions {
    /// When the cloud is to be asked next: so long before the next due time, but not more often than that.
    pub(super) fn next_probe(&self, tracking: &Tracking) -> Option<Timestamp> {
        tracking.job.delegation?;
        let Some(watch) = &tracking.protection.authority else {
            return Some(tracking.job.created);
        };
        let earliest = watch.asked.after(self.probe);
        let Some(schedule) = &tracking.job.schedule else {
            return Some(earliest);
        };
        // The one that a probe was not for: what was asked so shortly before a due time was for that one.
        let next = schedule.next_due(tracking.planned)?;
        Some(next.before(self.probe).max(earliest))
    }

    /// When somebody should look at the job again because of its authority.
    pub(super) fn look_at(&self, tracking: &Tracking, now: Timestamp) -> Option<Timestamp> {
        let watch = tracking.protection.authority.as_ref();
        let change = watch.and_then(|watch| watch.next_change(now, self.forecast));
        [self.next_probe(tracking), change]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Worker {
    /// What became known of a job's authority because time went by. Says whether the cloud is to be asked now: then nobody else will for a while.
    pub(super) fn authority_by_time(
        &self,
        tracking: &mut Tracking,
        now: Timestamp,
    ) -> (Vec<(Timestamp, Standing)>, bool) {
        if tracking.job.delegation.is_none() {
            return (Vec::new(), false);
        }
        let options = &self.options.authority;
        let mut told = Vec::new();
        if let Some(watch) = &tracking.protection.authority {
            let (next, changes) = watch.by(now, options.forecast);
            tracking.protection.authority = Some(next);
            told = changes;
        }
        let ask = (options.next_probe(tracking)).is_some_and(|at| at <= now);
        let look_at = match ask {
            true => Some(now.after(RETRY)),
            false => options.look_at(tracking, now),
        };
        tracking.look_at = [tracking.look_at, look_at].into_iter().flatten().min();
        (told, ask)
    }

    /// Asks how the authorities of these jobs stand, and tells what changed.
    pub(super) async fn look_at_authorities(&self, jobs: Vec<BackupJob>) {
        let looks = stream::iter(jobs).map(|job| async move {
            if let Err(error) = self.look_at_authority(&job).await {
                self.trouble(&job, "looking at its authority", &error);
            }
        });
        looks.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Asks how the authority of a job stands, and tells if that changed. None if there is nothing to ask.
    ///
    /// # Errors
    /// Those of [`Projects::probe`](super::Projects::probe) and of the store.
    pub(super) async fn look_at_authority(&self, job: &BackupJob) -> Result<Option<Standing>> {
        if job.delegation.is_none() {
            return Ok(None);
        }
        let probe = tokio::time::timeout(PATIENCE, self.projects.probe(job)).await;
        let found = probe.unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Timeout,
                "look at authority",
                "the cloud did not say in time how it stands",
            ))
        })?;
        match &found {
            Some(found) => self.note_standing(job, found).await?,
            // Nobody here can ask: it is not to be looked at as if it were overdue.
            None => self.note_standing(job, &Standing::Good).await?,
        }
        Ok(found)
    }

    async fn note_standing(&self, job: &BackupJob, found: &Standing) -> Result<()> {
        loop {
            let now = self.store.now().await?;
            let mut tracking = match self.store.tracking(&job.project, job.id).await {
                Ok(tracking) => tracking,
                Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            let options = &self.options.authority;
            let known = tracking.protection.authority.as_ref();
            let (watch, told) = Watch::asked(known, found, now, options.forecast);
            tracking.protection.authority = Some(watch);
            let look_at = options.look_at(&tracking, now);
            tracking.look_at = [tracking.look_at, look_at].into_iter().flatten().min();
            if self.store.update_tracking(&tracking).await? {
                self.say_standings(&tracking.job, told);
                return Ok(());
            }
        }
    }

    pub(super) fn say_standings(&self, job: &BackupJob, told: Vec<(Timestamp, Standing)>) {
        for (since, standing) in told {
            self.say(job, Happening::Authority { since, standing });
        }
    }
}
