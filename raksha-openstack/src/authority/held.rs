//! What is sealed of a delegation.

use raksha_core::authority::{Delegation, Sealed, SealingKey};
use raksha_core::env::Env;
use raksha_core::id::{DelegationId, ProjectId};
use raksha_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// What the cloud gave, as JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Held {
    /// A trust of the tenant's user in the service's.
    Trust {
        /// The trust's id.
        trust: String,
        /// The user who trusts.
        user: String,
        /// The roles lent, by name.
        roles: Vec<String>,
    },
    /// An application credential of the tenant's user.
    ApplicationCredential {
        /// Its id.
        credential: String,
        /// Its name, by which people find it.
        name: String,
        /// Its secret.
        secret: String,
        /// Whose it is.
        user: String,
        /// The roles lent, by name.
        roles: Vec<String>,
    },
    /// Nothing: the service's own credentials do.
    Operator {},
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::ApplicationCredential { secret, .. } = self {
            secret.zeroize();
        }
    }
}

impl Held {
    pub(super) fn seal(
        &self,
        key: &SealingKey,
        project: &ProjectId,
        id: DelegationId,
        env: &Env,
    ) -> Result<Sealed> {
        let json = serde_json::to_vec(self).map(Zeroizing::new).map_err(|_| {
            Error::new(
                Kind::Internal,
                "seal delegation",
                "it cannot be written as JSON",
            )
        })?;
        key.seal(project, id, &json, env)
    }

    pub(super) fn open(key: &SealingKey, delegation: &Delegation) -> Result<Self> {
        let sealed = delegation.granted()?;
        let json = key.open(&delegation.project, delegation.id, sealed)?;
        // What serde would say of it could quote it.
        serde_json::from_slice(&json).map_err(|_| {
            let message = "what is sealed is not understood: another release of Raksha made it; use that one, or renew it";
            Error::new(Kind::Unsupported, "open delegation", message).with("delegation", delegation.id)
        })
    }
}

impl Held {
    /// The roles lent, by name.
    pub(super) fn roles(&self) -> &[String] {
        match self {
            Self::Trust { roles, .. } | Self::ApplicationCredential { roles, .. } => roles,
            Self::Operator {} => &[],
        }
    }
}
