//! What an embedder holds.

use std::sync::Arc;

use super::alive::Alive;
use super::hooks::Hooks;
use super::quota::Quotas;
use crate::cloud::{ResourceDiscovery, ResourceRestorer, SnapshotProvider};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, ProjectId};
use crate::point::{ListedPoint, RecoveryPoint};
use crate::repository::Repository;
use crate::store::{JobStore, Placement};

/// A cloud: the traits by which it offers itself, made for one principal.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// Finds resources.
    pub discovery: Arc<dyn ResourceDiscovery>,
    /// Takes and reads disks; releases whatever was recorded as a temporary, a restore's included.
    pub snapshots: Arc<dyn SnapshotProvider>,
    /// Brings resources back.
    pub restorer: Arc<dyn ResourceRestorer>,
}

impl Cloud {
    /// A cloud that implements all traits in one type.
    pub fn new<C>(cloud: C) -> Self
    where
        C: ResourceDiscovery + SnapshotProvider + ResourceRestorer + 'static,
    {
        let cloud = Arc::new(cloud);
        Self {
            discovery: Arc::clone(&cloud) as _,
            snapshots: Arc::clone(&cloud) as _,
            restorer: cloud,
        }
    }
}

/// One project's data protection: a cloud, a repository and a job store, with the verbs that join them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Raksha {
    pub(super) cloud: Cloud,
    pub(super) repository: Repository,
    pub(super) jobs: Arc<dyn JobStore>,
    pub(super) project: ProjectId,
    pub(super) principal: Option<String>,
    pub(super) placement: Placement,
    pub(super) quotas: Quotas,
    pub(super) hooks: Option<Arc<dyn Hooks>>,
    pub(super) disks_at_once: usize,
    /// The runs and restores that live in this process.
    pub(super) alive: Alive,
}

impl Raksha {
    /// Protects what `cloud` shows, on behalf of `project`.
    pub fn new(
        cloud: Cloud,
        repository: Repository,
        jobs: Arc<dyn JobStore>,
        project: ProjectId,
    ) -> Self {
        Self {
            cloud,
            repository,
            jobs,
            project,
            principal: None,
            placement: Placement::default(),
            quotas: Quotas::default(),
            hooks: None,
            disks_at_once: 4,
            alive: Alive::default(),
        }
    }

    /// Notes in every recovery point on whose authority it was made, in the cloud's words. Never a secret.
    #[must_use]
    pub fn with_principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }

    /// Names the cloud and the target in new jobs, so that workers can limit what is under way in each.
    #[must_use]
    pub fn with_placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Publishes hooks, from which jobs may choose.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Shares what is known of the runs and restores that live in this process with others that were given `alive`: for services, which open a
    /// project anew for each request.
    #[must_use]
    pub fn with_alive(mut self, alive: Alive) -> Self {
        self.alive = alive;
        self
    }

    /// Reads or writes so many disks of a run at once; 4 unless said otherwise, and 1 at least. Memory does not depend on it: it is
    /// the repository's budget.
    #[must_use]
    pub fn with_disks_at_once(mut self, disks: usize) -> Self {
        self.disks_at_once = disks.max(1);
        self
    }

    /// The project.
    pub fn project(&self) -> &ProjectId {
        &self.project
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The cloud.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    pub(super) fn env(&self) -> &Env {
        self.repository.env()
    }

    /// On whose behalf things are done, for the repository's log.
    fn who(&self) -> String {
        match &self.principal {
            Some(principal) => format!("project {}, {principal}", self.project),
            None => format!("project {}", self.project),
        }
    }

    /// The project's recovery points, as the repository lists them.
    pub async fn points(&self) -> Result<Vec<ListedPoint>> {
        let mut points = self.repository.points().await?;
        points.retain(|point| point.summary.project.as_ref() == Some(&self.project));
        Ok(points)
    }

    /// A recovery point of the project.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none of this id, or it belongs to another project.
    pub async fn point(&self, id: PointId) -> Result<RecoveryPoint> {
        let point = self.repository.point(id).await?;
        if point.summary.project.as_ref() == Some(&self.project) {
            return Ok(point);
        }
        Err(unknown_point(id))
    }

    /// Forgets recovery points of the project. Every other point stays whole; the space comes back when garbage is collected.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if one is not the project's; none is forgotten then.
    pub async fn forget(&self, ids: &[PointId]) -> Result<()> {
        let own = self.points().await?;
        if let Some(foreign) = ids.iter().find(|id| !own.iter().any(|p| p.id == **id)) {
            return Err(unknown_point(*foreign));
        }
        self.repository.forget(ids, &self.who()).await
    }
}

fn unknown_point(id: PointId) -> Error {
    Error::new(
        Kind::NotFound,
        "look up recovery point",
        "the project has none of this id",
    )
    .with("point", id)
}
