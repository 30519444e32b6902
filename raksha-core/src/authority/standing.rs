//! How an authority stands, and how that changes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whether an authority is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// It is, and no end is known.
    Good,
    /// It is, until then.
    Expiring {
        /// When it ends.
        at: Timestamp,
    },
    /// It is not.
    Lost {
        /// Why.
        reason: String,
        /// What helps, and who can do it.
        remedy: String,
    },
}

impl Standing {
    /// That of an authority that ends then, or whose end is not known.
    pub fn until(expires: Option<Timestamp>) -> Self {
        expires.map_or(Self::Good, |at| Self::Expiring { at })
    }

    /// Lost.
    pub fn lost(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Lost {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether it is lost.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// What it means at `now` for somebody who wants to know of an end `lead` before it: an end that is further away is none yet, and one that has passed is a loss.
    #[must_use]
    pub fn at(&self, now: Timestamp, lead: Duration) -> Self {
        match self {
            Self::Expiring { at } if *at <= now => Self::lost(
                format!("it ended at {at}"),
                "have somebody of the project renew it",
            ),
            Self::Expiring { at } if at.before(lead) > now => Self::Good,
            other => other.clone(),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Expiring { at } => write!(f, "expires at {at}"),
            Self::Lost { reason, remedy } => write!(f, "lost: {reason}: {remedy}"),
        }
    }
}

/// What workers know of the authority of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// What it was told as, last.
    #[serde(flatten)]
    pub told: Standing,
    /// Since when it is so.
    pub since: Timestamp,
    /// When the cloud ends it, as it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// When the cloud was last asked.
    pub asked: Timestamp,
}

impl Watch {
    /// What became known at `now`: the cloud was asked and said `found`. Without `known`, nothing was known before. Gives what is known now, and what is to be told,
    /// each with the time since when it is so: nothing if it is the same.
    pub fn asked(
        known: Option<&Self>,
        found: &Standing,
        now: Timestamp,
        lead: Duration,
    ) -> (Self, Vec<(Timestamp, Standing)>) {
        let (before, mut told) = match known {
            Some(known) => known.by(now, lead),
            None => (Self::unasked(now), Vec::new()),
        };
        let ends = match found {
            Standing::Expiring { at } => Some(*at),
            _ => None,
        };
        let standing = found.at(now, lead);
        // That it is gone after its end is no news, whatever words the cloud has for it.
        if standing.is_lost() && before.told.is_lost() && before.ends.is_some_and(|at| at <= now) {
            let next = Self {
                asked: now,
                ..before
            };
            return (next, told);
        }
        let since = match (&standing, ends) {
            _ if standing == before.told => before.since,
            (Standing::Expiring { at }, _) => at.before(lead).max(before.since),
            (Standing::Lost { .. }, Some(at)) => at,
            _ => now,
        };
        if standing != before.told {
            told.push((since, standing.clone()));
        }
        let next = Self {
            told: standing,
            since,
            ends,
            asked: now,
        };
        (next, told)
    }

    /// What became known at `now` because time went by: an end came near, or has passed.
    pub fn by(&self, now: Timestamp, lead: Duration) -> (Self, Vec<(Timestamp, Standing)>) {
        let mut next = self.clone();
        let mut told = Vec::new();
        let Some(at) = self.ends else {
            return (next, told);
        };
        let end = Standing::Expiring { at };
        for (since, standing) in [(at.before(lead), end.clone()), (at, end.at(at, lead))] {
            let forward = match &next.told {
                Standing::Good => true,
                Standing::Expiring { .. } => standing.is_lost(),
                Standing::Lost { .. } => false,
            };
            if since <= now && forward {
                next.told = standing.clone();
                next.since = since.max(self.since);
                told.push((next.since, standing));
            }
        }
        (next, told)
    }

    /// When time alone will next change something after `now`.
    pub fn next_change(&self, now: Timestamp, lead: Duration) -> Option<Timestamp> {
        let at = self.ends?;
        [at.before(lead), at].into_iter().find(|at| *at > now)
    }

    fn unasked(now: Timestamp) -> Self {
        Self {
            told: Standing::Good,
            since: now,
            ends: None,
            asked: now,
        }
    }
}
