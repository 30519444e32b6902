//! The delegations of a service: made, looked at, used and ended.

use std::sync::Arc;

use super::{Authority, Delegation, DelegationKind, Grant, Opened, Standing};
use crate::authority::delegation::{NOT_GRANTED, RENEW};
use crate::cloud::SecretText;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, ProjectId};
use crate::store::{BackupJob, JobStore};
use crate::time::Timestamp;

/// A cloud's [`Authority`] with the store that keeps its delegations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Delegations {
    authority: Arc<dyn Authority>,
    store: Arc<dyn JobStore>,
    env: Env,
}

impl Delegations {
    /// The delegations in `store`, of the cloud that `authority` speaks for.
    pub fn new(authority: Arc<dyn Authority>, store: Arc<dyn JobStore>, env: Env) -> Self {
        Self {
            authority,
            store,
            env,
        }
    }

    /// Makes a delegation of `project`. It is recorded before it is granted: if that fails or is interrupted, it stays listed as not granted, and
    /// [`renew`](Self::renew) or [`revoke`](Self::revoke) brings it to an end.
    ///
    /// # Errors
    /// Those of [`Authority::grant`], and of the store.
    pub async fn grant(
        &self,
        project: &ProjectId,
        kind: DelegationKind,
        credential: Option<&SecretText>,
        expires: Option<Timestamp>,
    ) -> Result<Delegation> {
        let delegation = Delegation {
            id: DelegationId::random(&self.env)?,
            project: project.clone(),
            kind,
            principal: String::new(),
            created: self.store.now().await?,
            expires: None,
            sealed: None,
        };
        self.store.create_delegation(&delegation).await?;
        match self.granted(&delegation, credential, expires).await {
            Ok(granted) => Ok(granted),
            Err(error) => {
                // What certainly made nothing leaves nothing listed. If this fails too, it stays listed.
                if !error.is_retryable() {
                    let _ = self.store.delete_delegation(project, delegation.id).await;
                }
                Err(error)
            }
        }
    }

    /// Grants a delegation anew, with another credential or another end: the jobs that have it go on with it. What it rested on before is revoked.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has none of this id; those of [`Authority::grant`], after which it is as it was.
    pub async fn renew(
        &self,
        project: &ProjectId,
        id: DelegationId,
        credential: Option<&SecretText>,
        expires: Option<Timestamp>,
    ) -> Result<Delegation> {
        let old = self.find(project, id).await?;
        let new = self.granted(&old, credential, expires).await?;
        if old.sealed.is_some()
            && let Err(error) = self.authority.revoke(&old, credential).await
        {
            tracing::warn!(%error, delegation = %id, "what a delegation rested on before it was renewed could not be revoked");
        }
        Ok(new)
    }

    async fn granted(
        &self,
        delegation: &Delegation,
        credential: Option<&SecretText>,
        expires: Option<Timestamp>,
    ) -> Result<Delegation> {
        let grant = Grant {
            id: delegation.id,
            project: &delegation.project,
            kind: delegation.kind,
            credential,
            expires,
        };
        let made = self.authority.grant(grant).await?;
        let granted = Delegation {
            principal: made.principal,
            expires: made.expires,
            sealed: Some(made.sealed),
            ..delegation.clone()
        };
        if let Err(error) = self.store.update_delegation(&granted).await {
            // What nobody can find again is not left in the cloud.
            if let Err(left) = self.authority.revoke(&granted, credential).await {
                tracing::warn!(error = %left, delegation = %granted.id, "what was granted could be neither kept nor revoked");
            }
            return Err(error);
        }
        Ok(granted)
    }

    /// The delegations of a project, the oldest first.
    pub async fn list(&self, project: &ProjectId) -> Result<Vec<Delegation>> {
        self.store.delegations(project).await
    }

    /// A delegation of a project.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has none of this id.
    pub async fn find(&self, project: &ProjectId, id: DelegationId) -> Result<Delegation> {
        self.store.delegation(project, id).await
    }

    /// Opens the project of a job by the job's delegation; none if the job has none.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none of this id any more; those of [`Authority::open`].
    pub async fn open(&self, job: &BackupJob) -> Result<Option<Opened>> {
        let Some(id) = job.delegation else {
            return Ok(None);
        };
        let delegation = self.find(&job.project, id).await?;
        delegation.granted()?;
        self.authority.open(&delegation).await.map(Some)
    }

    /// How a delegation stands.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has none of this id; those of [`Authority::probe`].
    pub async fn probe(&self, project: &ProjectId, id: DelegationId) -> Result<Standing> {
        let delegation = self.find(project, id).await?;
        if delegation.sealed.is_none() {
            return Ok(Standing::lost(NOT_GRANTED, RENEW));
        }
        self.authority.probe(&delegation).await
    }

    /// How the authority of a job stands; none if it has no delegation. One that is gone, or does not open, is lost.
    ///
    /// # Errors
    /// What says nothing about the authority: the store or the cloud cannot be asked.
    pub async fn probe_job(&self, job: &BackupJob) -> Result<Option<Standing>> {
        let Some(id) = job.delegation else {
            return Ok(None);
        };
        match self.probe(&job.project, id).await {
            Ok(standing) => Ok(Some(standing)),
            Err(error) => match error.kind() {
                Kind::NotFound => Ok(Some(Standing::lost(
                    "the job's delegation does not exist any more",
                    "make the job anew with one that does",
                ))),
                Kind::WrongKey => Ok(Some(Standing::lost(
                    "its secret part does not open",
                    "start the service with the key that sealed it, or have somebody of the project renew it",
                ))),
                _ => Err(error),
            },
        }
    }

    /// Ends a delegation: in the cloud first, then here. If jobs have it, it stays listed as one that is not granted, so that they can be given it again by
    /// [`renew`](Self::renew).
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the project has none of this id; those of [`Authority::revoke`], after which it is as it was.
    pub async fn revoke(
        &self,
        project: &ProjectId,
        id: DelegationId,
        credential: Option<&SecretText>,
    ) -> Result<()> {
        let delegation = self.find(project, id).await?;
        if delegation.sealed.is_some() {
            self.authority.revoke(&delegation, credential).await?;
            let ended = Delegation {
                expires: None,
                sealed: None,
                ..delegation
            };
            self.store.update_delegation(&ended).await?;
        }
        match self.store.delete_delegation(project, id).await {
            Err(error) if error.kind() == Kind::Conflict => Ok(()),
            done => done,
        }
    }
}

/// The error of a run that cannot begin since its authority is lost.
pub(crate) fn lost(job: &BackupJob, reason: &str, remedy: &str) -> Error {
    let message = format!("the authority of the job is lost: {reason}: {remedy}");
    let error = Error::new(Kind::Denied, "open project", message).with("job", &job.name);
    match job.delegation {
        Some(id) => error.with("delegation", id),
        None => error,
    }
}
