//! Delegations in memory.

use async_trait::async_trait;

use super::memory_jobs::{MemoryJobs, not_found, taken};
use crate::authority::Delegation;
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, ProjectId};
use crate::store::DelegationStore;

#[async_trait]
impl DelegationStore for MemoryJobs {
    async fn create_delegation(&self, delegation: &Delegation) -> Result<()> {
        let mut held = self.lock();
        if held.delegation(&delegation.project, delegation.id).is_ok() {
            return Err(taken("delegation", delegation.id));
        }
        held.delegations.push(delegation.clone());
        Ok(())
    }

    async fn update_delegation(&self, delegation: &Delegation) -> Result<()> {
        let mut held = self.lock();
        let mut all = held.delegations.iter_mut();
        let known = all.find(|one| one.id == delegation.id && one.project == delegation.project);
        let known = known.ok_or_else(|| not_found("delegation", delegation.id))?;
        *known = delegation.clone();
        Ok(())
    }

    async fn delegation(&self, project: &ProjectId, id: DelegationId) -> Result<Delegation> {
        self.lock().delegation(project, id).cloned()
    }

    async fn delegations(&self, project: &ProjectId) -> Result<Vec<Delegation>> {
        let held = self.lock();
        let own = held
            .delegations
            .iter()
            .filter(|one| one.project == *project);
        let mut own: Vec<Delegation> = own.cloned().collect();
        own.sort_by_key(|one| one.created);
        Ok(own)
    }

    async fn delete_delegation(&self, project: &ProjectId, id: DelegationId) -> Result<()> {
        let mut held = self.lock();
        held.delegation(project, id)?;
        let mut jobs = held.jobs.values();
        if jobs.any(|job| job.project == *project && job.delegation == Some(id)) {
            let message =
                "jobs of the project have it: delete them first, or revoke it and let it be";
            let error = Error::new(Kind::Conflict, "delete delegation", message);
            return Err(error.with("delegation", id).retryable(false));
        }
        held.delegations
            .retain(|one| one.id != id || one.project != *project);
        Ok(())
    }
}
