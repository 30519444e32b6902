//! Tokens for those who speak to a service themselves, such as the target on Swift.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use raksha_core::Result;
use raksha_core::cloud::{SecretText, TokenSource};

use super::{Client, Service};
use crate::Secret;
use crate::auth::answer::Token;

impl Client {
    /// Tokens of this client's session, with the endpoint of `service` as the catalog or the settings have it.
    pub fn token_source(&self, service: Service) -> Arc<dyn TokenSource> {
        Arc::new(Source {
            client: self.clone(),
            service,
        })
    }
}

struct Source {
    client: Client,
    service: Service,
}

impl Source {
    fn give(&self, token: &Token) -> Result<raksha_core::cloud::Token> {
        Ok(raksha_core::cloud::Token {
            value: SecretText::new(token.secret.expose()),
            endpoint: self.client.0.endpoint(self.service)?.to_string(),
            expires: Some(token.expires_at),
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("cloud", &self.client.0.config.name)
            .field("service", &self.service)
            .finish()
    }
}

#[async_trait]
impl TokenSource for Source {
    async fn token(&self) -> Result<raksha_core::cloud::Token> {
        let inner = &self.client.0;
        self.give(&*inner.session.token(&inner.transport).await?)
    }

    async fn renew(&self, stale: &raksha_core::cloud::Token) -> Result<raksha_core::cloud::Token> {
        let inner = &self.client.0;
        let stale = Secret::new(stale.value.expose().to_owned());
        self.give(&*inner.session.renew(&stale, &inner.transport).await?)
    }
}
