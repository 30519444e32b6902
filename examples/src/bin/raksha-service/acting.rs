//! On whose authority things are done: opens the verbs for a project.
//!
//! What somebody asks for is done with that somebody's own token. What is due by itself needs an authority that outlives tokens.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use raksha_core::authority::{Delegations, Opened, Standing};
use raksha_core::env::Env;
use raksha_core::id::{PointId, ProjectId, RunId};
use raksha_core::protect::{Alive, Cloud, Raksha, Usage};
use raksha_core::repository::Repository;
use raksha_core::store::{BackupJob, JobStore, Placement};
use raksha_core::work::Projects;
use raksha_core::{Error, Kind, ListedPoint, Result};
use raksha_openstack::auth::Auth;
use raksha_openstack::config::CloudConfig;
use raksha_openstack::hooks::ConfiguredHooks;
use raksha_openstack::{OpenStack, OpenStackOptions};

use crate::config::Limited;
use crate::tokens::Caller;

/// What the verbs are made of, but for who acts.
#[derive(Clone)]
pub struct Acting {
    pub repository: Repository,
    pub jobs: Arc<dyn JobStore>,
    /// What lives in this process, whoever began it.
    pub alive: Alive,
    pub env: Env,
    pub cloud: CloudConfig,
    pub options: OpenStackOptions,
    pub placement: Placement,
    /// By what right runs act that are due; none if the service is not set up for that.
    pub delegations: Option<Delegations>,
    /// How much each project may use.
    pub quotas: Arc<Limited>,
    /// What jobs may have called.
    pub hooks: Arc<ConfiguredHooks>,
}

impl fmt::Debug for Acting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acting")
            .field("cloud", &self.cloud.name)
            .finish_non_exhaustive()
    }
}

impl Acting {
    /// The verbs as whoever asks.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] if the cloud does not take the token; those of connecting.
    pub async fn as_caller(&self, caller: &Caller) -> Result<Raksha> {
        let mut config = self.cloud.clone();
        config.auth = Auth::Given {
            token: caller.token.clone(),
        };
        self.open(&config, &caller.project).await
    }

    async fn open(&self, config: &CloudConfig, project: &ProjectId) -> Result<Raksha> {
        let cloud = OpenStack::connect(config, self.options.clone(), self.env.clone()).await?;
        let principal = cloud.client().principal();
        if principal.project.id != project.as_str() {
            let message = "the cloud takes the credentials for another project";
            return Err(Error::new(Kind::Denied, "open project", message).with("project", project));
        }
        let principal = format!("user {} ({})", principal.user.name, principal.user.id);
        Ok(self.raksha(Cloud::new(cloud), principal, project))
    }

    fn raksha(&self, cloud: Cloud, principal: String, project: &ProjectId) -> Raksha {
        let (repository, jobs) = (self.repository.clone(), self.jobs.clone());
        Raksha::new(cloud, repository, jobs, project.clone())
            .with_principal(principal)
            .with_placement(self.placement.clone())
            .with_quotas(self.quotas.of(project.as_str()))
            .with_hooks(self.hooks.clone())
            .with_alive(self.alive.clone())
    }

    /// What a project uses.
    pub async fn usage(&self, project: &ProjectId) -> Result<Usage> {
        Usage::of(&self.repository, &*self.jobs, project).await
    }

    /// The points of a project, the newest first.
    pub async fn points(&self, project: &ProjectId) -> Result<Vec<ListedPoint>> {
        let mut points = self.repository.points().await?;
        points.retain(|point| point.summary.project.as_ref() == Some(project));
        points.sort_by_key(|point| std::cmp::Reverse((point.summary.taken, point.id)));
        Ok(points)
    }

    /// A point of a project.
    pub async fn point(&self, project: &ProjectId, id: PointId) -> Result<ListedPoint> {
        let points = self.points(project).await?;
        let found = points.into_iter().find(|point| point.id == id);
        found.ok_or_else(|| {
            let message = "the project has none of this id";
            Error::new(Kind::NotFound, "look up recovery point", message).with("point", id)
        })
    }

    /// The point that a run made, if it is there still.
    pub async fn point_of(&self, project: &ProjectId, run: RunId) -> Result<Option<ListedPoint>> {
        let points = self.points(project).await?;
        Ok(points
            .into_iter()
            .find(|point| point.summary.run == Some(run)))
    }

    /// Forgets a point of a project. Needs nothing of the cloud.
    pub async fn forget(&self, caller: &Caller, point: &ListedPoint) -> Result<()> {
        let who = format!("project {}, user {}", caller.project, caller.user_name);
        self.repository.forget(&[point.id], &who).await
    }
}

/// For runs that are due.
#[async_trait]
impl Projects for Acting {
    async fn open(&self, job: &BackupJob) -> Result<Raksha> {
        let opened = match &self.delegations {
            Some(delegations) => delegations.open(job).await?,
            None => None,
        };
        let Some(Opened { cloud, principal }) = opened else {
            let message = "nobody gave the service the authority to run this job by itself: run it by hand, or have somebody of the project grant it with POST …/authority";
            return Err(
                Error::new(Kind::Denied, "open project", message).with("project", &job.project)
            );
        };
        Ok(self.raksha(cloud, principal, &job.project))
    }

    async fn probe(&self, job: &BackupJob) -> Result<Option<Standing>> {
        match &self.delegations {
            Some(delegations) => delegations.probe_job(job).await,
            None => Ok(None),
        }
    }
}
