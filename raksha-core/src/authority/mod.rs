//! Authority: a run that starts at night acts as the tenant who made the job, not as an administrator.
//!
//! A tenant who is there proves who it is with a live credential, for example a token of the cloud. From that a [`Delegation`] is made: a right to act for the
//! tenant's project later, as narrow as backups need, which the tenant can take back at any time. What a cloud offers for that is an [`Authority`]; a
//! service holds one together with its [`DelegationStore`](crate::store::DelegationStore) as [`Delegations`].
//!
//! What is secret about a delegation is kept sealed by a [`SealingKey`] of the service, and opens only for the project and the delegation that it was sealed for:
//! who can write the database, but has no key, can neither use a delegation nor move it to another project.
//!
//! Workers [probe](Authority::probe) the delegations of jobs before their runs are due, so that an authority that ends, or was lost, is known by day with its remedy.

mod delegation;
mod delegations;
mod sealing;
mod standing;

use std::fmt;

use async_trait::async_trait;

pub use delegation::{Delegation, DelegationKind, Made};
pub use delegations::Delegations;
pub(crate) use delegations::lost;
pub use sealing::{Sealed, SealingKey};
pub use standing::{Standing, Watch};

use crate::cloud::SecretText;
use crate::error::Result;
use crate::id::{DelegationId, ProjectId};
use crate::protect::Cloud;
use crate::time::Timestamp;

/// What somebody who is there asks for.
#[derive(Debug, Clone)]
pub struct Grant<'a> {
    /// The delegation's id, by which what is made in the cloud is named where the cloud has names for it.
    pub id: DelegationId,
    /// The project that it is for.
    pub project: &'a ProjectId,
    /// By which way.
    pub kind: DelegationKind,
    /// The live credential, as the cloud has it: a token. Not kept. None only for [`DelegationKind::Operator`], which needs nobody.
    pub credential: Option<&'a SecretText>,
    /// When it is to end; none for as long as the cloud allows.
    pub expires: Option<Timestamp>,
}

/// A project of a cloud, opened by a delegation.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The cloud, as the tenant sees it.
    pub cloud: Cloud,
    /// Who acts, in the cloud's words: for [`Raksha::with_principal`](crate::protect::Raksha::with_principal).
    pub principal: String,
}

/// Makes, uses, looks at and ends delegations of one cloud.
///
/// # Contract
/// - [`grant`](Self::grant) gives no more than the live credential has, and only for the project that the credential is for: for another one it is
///   [`Kind::Denied`](crate::Kind::Denied). What it gives back is sealed for this project and this delegation.
/// - A delegation that was sealed with another key, or for another project or delegation, is refused by all others with [`Kind::WrongKey`](crate::Kind::WrongKey), and
///   nothing is asked of the cloud.
/// - What [`open`](Self::open) gives acts within the delegation's project only.
/// - [`probe`](Self::probe) asks the cloud anew each time, and changes nothing there. That the cloud cannot be asked is an error, not a standing.
/// - [`revoke`](Self::revoke) ends the right: afterwards `probe` says [`Standing::Lost`] and `open` fails. Revoking what is gone already is fine.
/// - No secret is in any error, nor in what is printed with `Debug`.
///
/// # Errors
/// [`Kind::Denied`](crate::Kind::Denied) and [`Kind::Unauthenticated`](crate::Kind::Unauthenticated) say that the authority is lost or was never there, with the remedy; what is
/// [retryable](crate::Error::is_retryable) says nothing about it.
///
/// # Cancellation
/// After `grant` was dropped, or its answer was lost, there may be something in the cloud under the delegation's id.
#[async_trait]
pub trait Authority: Send + Sync + fmt::Debug {
    /// Makes a delegation from what a live credential allows.
    async fn grant(&self, grant: Grant<'_>) -> Result<Made>;

    /// Opens the delegation's project as its principal.
    async fn open(&self, delegation: &Delegation) -> Result<Opened>;

    /// Whether the delegation would open now, and until when.
    async fn probe(&self, delegation: &Delegation) -> Result<Standing>;

    /// Ends the right in the cloud. `credential` is a live one of the tenant, without which some clouds do not end some ways.
    async fn revoke(&self, delegation: &Delegation, credential: Option<&SecretText>) -> Result<()>;
}
