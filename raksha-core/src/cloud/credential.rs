//! Credentials: what proves who asks.

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::error::Result;
use crate::time::Timestamp;

/// A password, key or token. It is not shown, and wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// The right to use a service for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What is sent with each request.
    pub value: SecretText,
    /// The URL of the service that it was asked for, as the cloud's catalog names it.
    pub endpoint: String,
    /// When it ends, if that is known.
    pub expires: Option<Timestamp>,
}

/// Gives tokens for one service of a cloud.
///
/// # Contract
/// Callers keep the token and share it: [`token`](Self::token) is called for the first one, [`renew`](Self::renew) when the service refused one or its
/// end is near, and neither is called again before the former call has returned.
///
/// # Errors
/// [`Kind::Unauthenticated`](crate::Kind::Unauthenticated) if the credentials are refused, [`Kind::NotFound`](crate::Kind::NotFound) if
/// the cloud's catalog has no such service.
#[async_trait]
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token.
    async fn token(&self) -> Result<Token>;

    /// Another token than `stale`.
    async fn renew(&self, stale: &Token) -> Result<Token>;
}
