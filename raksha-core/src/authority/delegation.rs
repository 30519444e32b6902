//! What is kept of a delegation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::sealing::Sealed;
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, ProjectId};
use crate::time::Timestamp;

/// A right to act for a project while nobody of it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Its id.
    pub id: DelegationId,
    /// Whose it is: no other project sees it.
    pub project: ProjectId,
    /// By which way the cloud grants it.
    pub kind: DelegationKind,
    /// Who acts by it, in the cloud's words. Never a secret. Empty before it was granted.
    #[serde(default)]
    pub principal: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the cloud ends it; none if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What the cloud gave, sealed; none while it is being granted, and after it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
}

/// The ways by which a cloud grants a delegation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DelegationKind {
    /// The tenant trusts the service's user with some of its roles.
    Trust,
    /// A credential of its own that acts as the tenant, for some requests only.
    ApplicationCredential,
    /// The service's own right over the project: the operator vouches, and the tenant cannot take it back.
    Operator,
}

/// What [`Authority::grant`](super::Authority::grant) made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Who acts by it, in the cloud's words.
    pub principal: String,
    /// When the cloud ends it.
    pub expires: Option<Timestamp>,
    /// What the cloud gave, sealed.
    pub sealed: Sealed,
}

impl Delegation {
    /// What the cloud gave.
    ///
    /// # Errors
    /// [`Kind::Denied`] if nothing is granted, which happens when it was revoked or granting it failed.
    pub fn granted(&self) -> Result<&Sealed> {
        self.sealed.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Denied,
                "open delegation",
                format!("{NOT_GRANTED}: {RENEW}"),
            )
            .with("delegation", self.id)
        })
    }
}

/// Why a delegation without anything sealed opens nothing.
pub(super) const NOT_GRANTED: &str = "it was revoked, or never granted to the end";

/// What helps then.
pub(super) const RENEW: &str = "have somebody of the project renew it";

impl fmt::Display for DelegationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trust => "trust",
            Self::ApplicationCredential => "application_credential",
            Self::Operator => "operator",
        })
    }
}

impl FromStr for DelegationKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Trust, Self::ApplicationCredential, Self::Operator];
        let found = all
            .into_iter()
            .find(|kind| kind.to_string() == text.replace('-', "_"));
        found.ok_or_else(|| {
            let message = "there are trust, application_credential and operator";
            Error::new(Kind::Invalid, "parse kind of delegation", message).with("kind", text)
        })
    }
}
