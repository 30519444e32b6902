//! Where delegations are kept.

use std::fmt;

use async_trait::async_trait;

use crate::authority::Delegation;
use crate::error::Result;
use crate::id::{DelegationId, ProjectId};

/// Keeps delegations: the part of a [`JobStore`](super::JobStore) that says by what right jobs run.
///
/// # Contract
/// - A delegation belongs to one project, and no other sees it: for others it is [`Kind::NotFound`](crate::Kind::NotFound), as if it did not exist. Ids are
///   unique within a project; whether another project has the same id is not told.
/// - A job names only delegations that its project has, from its creation to its deletion.
#[async_trait]
pub trait DelegationStore: Send + Sync + fmt::Debug {
    /// Stores a new delegation. [`Kind::AlreadyExists`](crate::Kind::AlreadyExists) if the project has one of this id.
    async fn create_delegation(&self, delegation: &Delegation) -> Result<()>;

    /// Replaces what is known of a delegation.
    async fn update_delegation(&self, delegation: &Delegation) -> Result<()>;

    /// The delegation with this id.
    async fn delegation(&self, project: &ProjectId, id: DelegationId) -> Result<Delegation>;

    /// All delegations of a project, the oldest first.
    async fn delegations(&self, project: &ProjectId) -> Result<Vec<Delegation>>;

    /// Removes a delegation. [`Kind::Conflict`](crate::Kind::Conflict) while a job names it.
    async fn delete_delegation(&self, project: &ProjectId, id: DelegationId) -> Result<()>;
}
