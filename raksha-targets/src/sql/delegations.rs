//! Delegations in a SQL database.

use async_trait::async_trait;
use raksha_core::authority::Delegation;
use raksha_core::id::{DelegationId, ProjectId};
use raksha_core::store::DelegationStore;
use raksha_core::{Error, Kind, Result};

use super::jobs::{SqlJobs, encode, millis, taken};
use super::statement::statement;

/// What follows on the second step of the tables of jobs. The column of a job repeats what its body says, for conditions.
pub(super) const STEP: &str = "
CREATE TABLE raksha_delegations (
    number {serial},
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    created BIGINT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, id)
);
ALTER TABLE raksha_jobs ADD COLUMN delegation TEXT NOT NULL DEFAULT '';
CREATE INDEX raksha_jobs_of_delegation ON raksha_jobs (delegation, project) WHERE delegation <> '';
";

#[async_trait]
impl DelegationStore for SqlJobs {
    async fn create_delegation(&self, delegation: &Delegation) -> Result<()> {
        let insert = statement(
            "create delegation",
            "INSERT INTO raksha_delegations (project, id, created, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(delegation.project.as_str())
        .bind(delegation.id.to_string())
        .bind(millis(delegation.created))
        .bind(encode(delegation)?);
        match self.database.change(&insert).await? {
            0 => Err(taken("delegation", delegation.id)),
            _ => Ok(()),
        }
    }

    async fn update_delegation(&self, delegation: &Delegation) -> Result<()> {
        let update = statement(
            "update delegation",
            "UPDATE raksha_delegations SET created = $3, body = $4 WHERE project = $1 AND id = $2",
        )
        .bind(delegation.project.as_str())
        .bind(delegation.id.to_string())
        .bind(millis(delegation.created))
        .bind(encode(delegation)?);
        match self.database.change(&update).await? {
            0 => self
                .delegation(&delegation.project, delegation.id)
                .await
                .map(drop),
            _ => Ok(()),
        }
    }

    async fn delegation(&self, project: &ProjectId, id: DelegationId) -> Result<Delegation> {
        let select = statement(
            "find delegation",
            "SELECT body FROM raksha_delegations WHERE project = $1 AND id = $2",
        )
        .bind(project.as_str())
        .bind(id.to_string());
        self.record("delegation", id.to_string(), &select).await
    }

    async fn delegations(&self, project: &ProjectId) -> Result<Vec<Delegation>> {
        let select = statement(
            "list delegations",
            "SELECT body FROM raksha_delegations WHERE project = $1 ORDER BY created, number",
        )
        .bind(project.as_str());
        self.records(&select).await
    }

    async fn delete_delegation(&self, project: &ProjectId, id: DelegationId) -> Result<()> {
        let delete = statement(
            "delete delegation",
            "DELETE FROM raksha_delegations WHERE project = $1 AND id = $2 AND NOT EXISTS \
             (SELECT 1 FROM raksha_jobs WHERE project = $1 AND delegation = $2)",
        )
        .bind(project.as_str())
        .bind(id.to_string());
        if self.database.change(&delete).await? > 0 {
            return Ok(());
        }
        self.delegation(project, id).await?;
        let message = "jobs of the project have it: delete them first, or revoke it and let it be";
        Err(Error::new(Kind::Conflict, "delete delegation", message)
            .with("delegation", id)
            .retryable(false))
    }
}
