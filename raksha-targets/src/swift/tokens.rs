//! Tokens: one for all requests, renewed once however many find it stale.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use raksha_core::cloud::{SecretText, Token, TokenSource};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result, Timestamp};
use reqwest::Client;
use tokio::sync::Mutex;

const OPERATION: &str = "log in to Swift";

/// A token this close to its end is renewed before it is used: a large object must still arrive under it.
const MARGIN: Duration = Duration::from_secs(120);

/// The token in use.
#[derive(Debug)]
pub(super) struct Tokens {
    source: Arc<dyn TokenSource>,
    /// Locked while a token is asked for: so nobody asks twice.
    current: Mutex<Option<Token>>,
    env: Env,
}

impl Tokens {
    pub(super) fn new(source: Arc<dyn TokenSource>, env: Env) -> Self {
        Self {
            source,
            current: Mutex::default(),
            env,
        }
    }

    /// The token to use now.
    pub(super) async fn token(&self) -> Result<Token> {
        let mut current = self.current.lock().await;
        let token = match current.as_ref() {
            None => self.source.token().await?,
            Some(token) if self.ends_soon(token) => self.source.renew(token).await?,
            Some(token) => return Ok(token.clone()),
        };
        Ok(current.insert(token).clone())
    }

    /// Another token than `stale`, which was refused.
    pub(super) async fn renew(&self, stale: &Token) -> Result<Token> {
        let mut current = self.current.lock().await;
        match current.as_ref() {
            Some(token) if token.value != stale.value => Ok(token.clone()),
            _ => {
                let token = self.source.renew(stale).await?;
                Ok(current.insert(token).clone())
            }
        }
    }

    fn ends_soon(&self, token: &Token) -> bool {
        let left = token.expires.map(|end| end.since(self.env.now()));
        left.is_some_and(|left| left < MARGIN)
    }
}

/// Swift's own authentication, version 1: a user and a key for a token and a URL.
#[derive(Debug)]
pub(super) struct TempAuth {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) user: String,
    pub(super) key: SecretText,
    pub(super) env: Env,
}

#[async_trait]
impl TokenSource for TempAuth {
    async fn token(&self) -> Result<Token> {
        let request = self
            .client
            .get(&self.url)
            .header("X-Auth-User", &self.user)
            .header("X-Auth-Key", self.key.expose());
        let response = request.send().await.map_err(|e| {
            Error::new(
                Kind::Unavailable,
                OPERATION,
                "the service cannot be reached",
            )
            .with("auth", &self.url)
            .caused_by(e.without_url())
        })?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        if let (200..=299, Some(value), Some(endpoint)) = (
            status,
            header("x-auth-token").or_else(|| header("x-storage-token")),
            header("x-storage-url"),
        ) {
            let seconds = header("x-auth-token-expires").and_then(|s| s.parse::<u64>().ok());
            let now = self.env.now().as_millis();
            let end = |s: u64| Timestamp::from_millis(now.saturating_add(s.saturating_mul(1000)));
            return Ok(Token {
                value: SecretText::new(value),
                endpoint: endpoint.trim_end_matches('/').to_owned(),
                expires: seconds.map(end),
            });
        }
        let (kind, message) = match status {
            401 | 403 => (Kind::Unauthenticated, "the user or the key is not accepted"),
            500..=599 => (Kind::Unavailable, "the service is in trouble"),
            _ => (
                Kind::Invalid,
                "this does not answer as Swift's authentication (version 1) does",
            ),
        };
        Err(Error::new(kind, OPERATION, message)
            .with("auth", &self.url)
            .with("user", &self.user)
            .with("status", status))
    }

    async fn renew(&self, _stale: &Token) -> Result<Token> {
        self.token().await
    }
}
