//! How a service acts for a tenant of an OpenStack cloud while nobody of the tenant is there.
//!
//! | way | what the tenant gives | what acts | who can end it |
//! | --- | --- | --- | --- |
//! | trust | some of its roles, lent to the service's user | the tenant's user, by tokens that the service's user gets | the tenant, the service, an administrator |
//! | application credential | a credential that is good for one project, and only for the requests that a backup sends | the tenant's user | the tenant's user, an administrator |
//! | operator | nothing: the operator vouches | the service's user, with its own roles in the tenant's project | the operator |
//!
//! [`OpenStackAuthority`] makes, opens, probes and revokes all three; [`DelegatedProjects`](raksha_core::work::DelegatedProjects) lets workers open the projects of jobs by them.
//!
//! # How a loss is told
//!
//! Keystone says little of why it gives no token, and what it says differs by way. So whoever is refused looks again, with the service's own credentials: whether the trust is still there,
//! and, if the service may see them (which it needs a role for), whether user and project are enabled. What cannot be seen is named as one of several reasons.
//!
//! | what happened | a trust's token | an application credential's token |
//! | --- | --- | --- |
//! | revoked, deleted, or its user was deleted | 401, and the trust is 404 | 404 |
//! | ended | 401, and the trust is 404 | 401 |
//! | the user was disabled, or lost a role | 403 | 401 |
//! | the project was disabled | 401 | 404 |
//!
//! (As Keystone of the Zed release does it; `tests/authority` looks, with the feature `lab`.)

mod credential;
mod held;
mod operator;
mod reasons;
mod rules;
mod trust;

use async_trait::async_trait;
use raksha_core::authority::{
    Authority, Delegation, DelegationKind, Grant, Made, Opened, SealingKey, Standing,
};
use raksha_core::cloud::SecretText;
use raksha_core::env::Env;
use raksha_core::protect::Cloud;
use raksha_core::{Error, Kind, Result};
use tokio::sync::OnceCell;

pub use rules::AccessRule;

use crate::auth::{Auth, Scope};
use crate::client::Client;
use crate::config::CloudConfig;
use crate::{OpenStack, OpenStackOptions, Secret};
use held::Held;

const GRANT: &str = "grant delegation";
const OPEN: &str = "open delegation";
const REVOKE: &str = "revoke delegation";

/// How delegations are made, and how projects are opened by them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuthorityOptions {
    /// How projects are opened.
    pub openstack: OpenStackOptions,
    /// The roles that a tenant lends; `member`. All of them are needed.
    pub roles: Vec<String>,
    /// Whether application credentials are limited to the requests that a backup sends: they are, unless somebody says otherwise. The services of the cloud must know of that
    /// (`service_type` in `[keystone_authtoken]` of each, which is its type in the catalog), or they accept no such credential.
    pub access_rules: bool,
}

impl Default for AuthorityOptions {
    fn default() -> Self {
        Self {
            openstack: OpenStackOptions::default(),
            roles: vec!["member".to_owned()],
            access_rules: true,
        }
    }
}

/// The [`Authority`] of an OpenStack cloud.
#[derive(Debug)]
pub struct OpenStackAuthority {
    service: CloudConfig,
    key: SealingKey,
    options: AuthorityOptions,
    env: Env,
    own: OnceCell<Client>,
}

impl OpenStackAuthority {
    /// `service` is how the service itself reaches the cloud: the user whom trusts are made for, with a project of its own. What is secret about delegations is sealed with `key`.
    ///
    /// Nothing is asked of the cloud yet.
    pub fn new(service: CloudConfig, key: SealingKey, options: AuthorityOptions, env: Env) -> Self {
        Self {
            service,
            key,
            options,
            env,
            own: OnceCell::new(),
        }
    }

    /// Gets a token by `auth`, in the service's cloud.
    async fn connect(&self, auth: Auth) -> Result<Client> {
        let mut config = self.service.clone();
        config.auth = auth;
        let options = self.options.openstack.client.clone();
        Client::connect_with(&config, options, self.env.clone()).await
    }

    /// The service itself, in its own project.
    async fn own(&self) -> Result<&Client> {
        let connect = || self.connect(self.service.auth.clone());
        let own = self.own.get_or_try_init(connect).await;
        own.map_err(|error| {
            let message = "the service's own credentials do not open the cloud: the operator has to correct them";
            let (kind, again) = (error.kind(), error.is_retryable());
            Error::new(kind, "ask as the service", message).retryable(again).caused_by(error)
        })
    }

    /// The service itself, with a token that is good for something else.
    fn own_auth(&self, wanted: Scope) -> Result<Auth> {
        match &self.service.auth {
            Auth::Password { user, password, .. } => Ok(Auth::Password {
                user: user.clone(),
                password: password.clone(),
                scope: wanted,
            }),
            _ => {
                let message = "the service's credentials are good for one project only: the operator has to give the service a user with a password, or take another way";
                Err(Error::new(Kind::Unsupported, OPEN, message).with("cloud", &self.service.name))
            }
        }
    }

    /// Somebody of the tenant, who is there.
    async fn tenant(&self, grant: &Grant<'_>) -> Result<Client> {
        let token = grant.credential.ok_or_else(|| {
            let message = "it needs a token of the project: log in, and give one";
            Error::new(Kind::Unauthenticated, GRANT, message)
        })?;
        let client = self.by_token(token).await?;
        let principal = client.principal();
        if principal.project.id != grant.project.as_str() {
            let message =
                "the token is for another project: log in to the one that the delegation is for";
            return Err(Error::new(Kind::Denied, GRANT, message)
                .with("project", grant.project)
                .with("project of the token", principal.project.id));
        }
        Ok(client)
    }

    async fn by_token(&self, token: &SecretText) -> Result<Client> {
        let token = Secret::new(token.expose().to_owned());
        self.connect(Auth::Given { token }).await
    }

    /// The roles that are lent.
    fn roles(&self, tenant: &Client) -> Result<Vec<String>> {
        let has = tenant.principal().roles;
        let missing = self.options.roles.iter().find(|role| !has.contains(role));
        match missing {
            None => Ok(self.options.roles.clone()),
            Some(role) => {
                let message = "the user lacks a role that backups need: have it given the role, or let somebody who has it grant this";
                Err(Error::new(Kind::Denied, GRANT, message)
                    .with("role", role)
                    .with("it has", has.join(", ")))
            }
        }
    }

    /// How to get a token by what is held.
    fn auth(&self, delegation: &Delegation, held: &Held) -> Result<Auth> {
        match held {
            Held::Trust { trust, .. } => self.own_auth(Scope::Trust(trust.clone())),
            Held::ApplicationCredential {
                credential, secret, ..
            } => Ok(credential::auth(credential, secret)),
            Held::Operator {} => operator::auth(self, &delegation.project),
        }
    }

    /// A client for the delegation's project, and no other.
    async fn client(&self, delegation: &Delegation, held: &Held) -> Result<Client> {
        let client = self.connect(self.auth(delegation, held)?).await?;
        let project = client.principal().project.id;
        if project != delegation.project.as_str() {
            let message =
                "the cloud opens another project by it: have somebody of the project renew it";
            return Err(Error::new(Kind::Denied, OPEN, message)
                .with("delegation", delegation.id)
                .with("project", &delegation.project)
                .with("it opens", project));
        }
        Ok(client)
    }

    /// Who acts by it.
    fn principal(&self, client: &Client, held: &Held) -> String {
        let user = client.principal().user;
        let who = format!("user {} ({})", user.name, user.id);
        match held {
            Held::Trust { trust, .. } => format!("{who} by trust {trust}"),
            Held::ApplicationCredential { name, .. } => {
                format!("{who} by application credential {name}")
            }
            Held::Operator {} => format!("{who} for the operator"),
        }
    }
}

#[async_trait]
impl Authority for OpenStackAuthority {
    async fn grant(&self, grant: Grant<'_>) -> Result<Made> {
        match grant.kind {
            DelegationKind::Trust => trust::grant(self, &grant).await,
            DelegationKind::ApplicationCredential => credential::grant(self, &grant).await,
            DelegationKind::Operator => operator::grant(self, &grant).await,
            other => {
                let message = "OpenStack knows trusts, application credentials and operators";
                Err(Error::new(Kind::Unsupported, GRANT, message).with("kind", other))
            }
        }
    }

    async fn open(&self, delegation: &Delegation) -> Result<Opened> {
        let held = Held::open(&self.key, delegation)?;
        let client = self.client(delegation, &held).await?;
        let principal = self.principal(&client, &held);
        let options = self.options.openstack.clone();
        let cloud = OpenStack::with_client(client, options, self.env.clone());
        Ok(Opened {
            cloud: Cloud::new(cloud),
            principal,
        })
    }

    async fn probe(&self, delegation: &Delegation) -> Result<Standing> {
        let held = Held::open(&self.key, delegation)?;
        let error = match self.client(delegation, &held).await {
            Ok(client) => {
                let has = client.principal().roles;
                let lent = held.roles();
                return Ok(match lent.iter().find(|role| !has.contains(role)) {
                    Some(role) => reasons::role_lost(role),
                    None => Standing::until(delegation.expires),
                });
            }
            Err(error) => error,
        };
        if !reasons::tells(&error) {
            return Err(error);
        }
        match &held {
            Held::Trust { .. } => trust::why(self, delegation, &held).await,
            Held::ApplicationCredential { .. } => {
                credential::why(self, delegation, &held, &error).await
            }
            Held::Operator {} => operator::why(self, delegation).await,
        }
    }

    async fn revoke(&self, delegation: &Delegation, credential: Option<&SecretText>) -> Result<()> {
        let held = Held::open(&self.key, delegation)?;
        match &held {
            Held::Trust { trust, .. } => trust::revoke(self, delegation, trust, credential).await,
            Held::ApplicationCredential {
                credential: id,
                user,
                ..
            } => credential::revoke(self, id, user, credential).await,
            // What the operator gave is the operator's to take.
            Held::Operator {} => Ok(()),
        }
    }
}
