//! The projects of jobs, opened by their delegations.

use std::sync::Arc;

use async_trait::async_trait;

use super::Projects;
use crate::authority::{Delegations, Standing};
use crate::error::{Error, Kind, Result};
use crate::protect::{Hooks, Quotas, Raksha};
use crate::repository::Repository;
use crate::store::{BackupJob, JobStore};

/// Opens the project of each job by the job's delegation, with one repository for all.
#[derive(Debug, Clone)]
pub struct DelegatedProjects {
    delegations: Delegations,
    repository: Repository,
    jobs: Arc<dyn JobStore>,
    quotas: Quotas,
    hooks: Option<Arc<dyn Hooks>>,
    otherwise: Option<Arc<dyn Projects>>,
}

impl DelegatedProjects {
    /// Opens projects by `delegations`, which are kept in `jobs`.
    pub fn new(delegations: Delegations, repository: Repository, jobs: Arc<dyn JobStore>) -> Self {
        Self {
            delegations,
            repository,
            jobs,
            quotas: Quotas::default(),
            hooks: None,
            otherwise: None,
        }
    }

    /// Lets each project use this much only.
    #[must_use]
    pub fn with_quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Publishes hooks, from which jobs may choose.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Has jobs without a delegation opened by `projects`. Otherwise they are refused.
    #[must_use]
    pub fn otherwise(mut self, projects: Arc<dyn Projects>) -> Self {
        self.otherwise = Some(projects);
        self
    }
}

#[async_trait]
impl Projects for DelegatedProjects {
    async fn open(&self, job: &BackupJob) -> Result<Raksha> {
        if let Some(opened) = self.delegations.open(job).await? {
            let (jobs, project) = (self.jobs.clone(), job.project.clone());
            let raksha = Raksha::new(opened.cloud, self.repository.clone(), jobs, project);
            let raksha = raksha.with_principal(opened.principal);
            let raksha = raksha.with_quotas(self.quotas);
            return Ok(match &self.hooks {
                Some(hooks) => raksha.with_hooks(hooks.clone()),
                None => raksha,
            });
        }
        match &self.otherwise {
            Some(projects) => projects.open(job).await,
            None => {
                let message = "the job has no delegation, and the service has no right of its own: make the job anew with one";
                Err(Error::new(Kind::Denied, "open project", message).with("job", &job.name))
            }
        }
    }

    async fn probe(&self, job: &BackupJob) -> Result<Option<Standing>> {
        self.delegations.probe_job(job).await
    }
}
