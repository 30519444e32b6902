//! What proves to a target who asks.

use std::sync::Arc;

use raksha_core::cloud::{SecretText, TokenSource};

/// Credentials for a target. They are never part of its address.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// From the environment. S3: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or else what the machine has: a web identity,
    /// a container's or an instance's role. Swift: `ST_USER` and `ST_KEY`.
    #[default]
    Environment,
    /// A key pair of S3's.
    Keys {
        /// The access key id.
        access_key: String,
        /// The secret access key.
        secret_key: SecretText,
        /// The token of a temporary key pair.
        session_token: Option<SecretText>,
    },
    /// A user of Swift's own authentication (TempAuth, or the RADOS Gateway's).
    Password {
        /// As in `account:user`.
        user: String,
        /// The key.
        password: SecretText,
    },
    /// Tokens of a cloud, as from Keystone.
    Tokens(Arc<dyn TokenSource>),
}
