//! Quotas: what a project may use, looked at before a run begins.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::raksha::Raksha;
use crate::error::{Error, Kind, Result};
use crate::id::ProjectId;
use crate::repository::Repository;
use crate::store::{JobStore, RunState};

/// What runs are counted over.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a project may use. None for any amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Quotas {
    /// Recovery points; a run that is under way counts as the one that it will make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<u64>,
    /// Bytes in the target: the sum of what each of the project's points added when it was made. What a forgotten point had added and others
    /// still use is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// Runs that began within the last 24 hours, however they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_per_day: Option<u64>,
}

impl Quotas {
    /// At most so many recovery points.
    #[must_use]
    pub fn with_points(mut self, points: u64) -> Self {
        self.points = Some(points);
        self
    }

    /// At most so many bytes in the target.
    #[must_use]
    pub fn with_stored_bytes(mut self, bytes: u64) -> Self {
        self.stored_bytes = Some(bytes);
        self
    }

    /// At most so many runs within 24 hours.
    #[must_use]
    pub fn with_runs_per_day(mut self, runs: u64) -> Self {
        self.runs_per_day = Some(runs);
        self
    }
}

/// What a project uses of what [`Quotas`] limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Recovery points, those that runs under way will make included.
    pub points: u64,
    /// Bytes in the target.
    pub stored_bytes: u64,
    /// Runs that began within the last 24 hours.
    pub runs_per_day: u64,
}

impl Usage {
    /// What `project` uses: known without its cloud.
    ///
    /// # Errors
    /// Those of the repository and of the job store.
    pub async fn of(
        repository: &Repository,
        jobs: &dyn JobStore,
        project: &ProjectId,
    ) -> Result<Self> {
        let mut points = repository.points().await?;
        points.retain(|point| point.summary.project.as_ref() == Some(project));
        let runs = jobs.runs(project, None).await?;
        let since = repository.env().now().before(DAY);
        let under_way = runs.iter().filter(|run| run.state == RunState::Running);
        let recent = runs.iter().filter(|run| run.started > since);
        Ok(Self {
            points: (points.len() + under_way.count()) as u64,
            stored_bytes: (points.iter())
                .map(|point| point.summary.counts.stored_bytes)
                .fold(0, u64::saturating_add),
            runs_per_day: recent.count() as u64,
        })
    }
}

impl Raksha {
    /// Lets the project use this much only. It is looked at before a run begins: runs that begin in the same moment can exceed it together.
    #[must_use]
    pub fn with_quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// What the project may use.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What the project uses.
    pub async fn usage(&self) -> Result<Usage> {
        Usage::of(&self.repository, &*self.jobs, &self.project).await
    }

    /// Refuses a run that would exceed a quota.
    ///
    /// # Errors
    /// [`Kind::Full`], naming the quota, what is used of it, and what helps.
    pub(super) async fn within_quotas(&self) -> Result<()> {
        if self.quotas == Quotas::default() {
            return Ok(());
        }
        let used = self.usage().await?;
        let Quotas {
            points,
            stored_bytes,
            runs_per_day,
        } = self.quotas;
        let full = |quota: &'static str, limit: Option<u64>, used: u64, remedy: &str| {
            let Some(limit) = limit.filter(|limit| used >= *limit) else {
                return Ok(());
            };
            let message = format!("the project's quota is used up: {remedy}");
            Err(Error::new(Kind::Full, "run job", message)
                .with("quota", quota)
                .with("used", used)
                .with("limit", limit)
                .with("project", &self.project))
        };
        full(
            "points",
            points,
            used.points,
            "forget points, let its jobs keep fewer, or ask the operator for more",
        )?;
        full(
            "stored_bytes",
            stored_bytes,
            used.stored_bytes,
            "forget points that added much, or ask the operator for more",
        )?;
        full(
            "runs_per_day",
            runs_per_day,
            used.runs_per_day,
            "wait until the earliest run of the last 24 hours is older, run jobs less often, or ask the operator for more",
        )
    }
}
