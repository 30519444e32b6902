//! Who asks: tokens, as Keystone sees them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::id::ProjectId;
use raksha_core::{Error, Kind, Result, Timestamp};
use raksha_openstack::Secret;
use raksha_openstack::client::{Client, Request, Service};
use serde::Deserialize;
use tokio::time::Instant;

/// Tokens that are known at once, at most. When there are more, all are asked for again.
const MOST: usize = 4096;

/// What is left of a token's life when it is not believed any more.
const MARGIN: Duration = Duration::from_secs(5);

/// Who asks, and on behalf of which project.
#[derive(Debug, Clone)]
pub struct Caller {
    pub project: ProjectId,
    pub project_name: String,
    pub user_name: String,
    pub roles: Vec<String>,
    pub expires: Timestamp,
    /// For what is done in the cloud on the caller's own authority.
    pub token: Secret,
}

/// Asks Keystone about tokens, with the service's own one.
pub struct Tokens {
    client: Client,
    env: Env,
    believed_for: Duration,
    /// By a hash: a token is not kept where it need not be.
    known: Mutex<BTreeMap<[u8; 32], (Caller, Instant)>>,
}

#[derive(Deserialize)]
struct Said {
    expires_at: Timestamp,
    user: Named,
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

fn unauthenticated(why: &str) -> Error {
    Error::new(Kind::Unauthenticated, "validate token", why)
}

impl Tokens {
    pub fn new(client: Client, believed_for: Duration, env: Env) -> Self {
        Self {
            client,
            env,
            believed_for,
            known: Mutex::default(),
        }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] if it is worth nothing, [`Kind::Denied`] if it is good for no project, [`Kind::Unavailable`] if Keystone does not say.
    pub async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        let missing = "give a token for the project in the header X-Auth-Token";
        let token = token.ok_or_else(|| unauthenticated(missing))?;
        let name = *blake3::hash(token.as_bytes()).as_bytes();
        let now = Instant::now();
        let known = self.lock().get(&name).cloned();
        if let Some((caller, until)) = known
            && until > now
        {
            return Ok(caller);
        }
        let caller = self.ask(token).await?;
        let left = caller.expires.since(self.env.now());
        let until = now + self.believed_for.min(left.saturating_sub(MARGIN));
        let mut held = self.lock();
        held.retain(|_, (_, until)| *until > now);
        if held.len() >= MOST {
            held.clear();
        }
        held.insert(name, (caller.clone(), until));
        Ok(caller)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], (Caller, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, token: &str) -> Result<Caller> {
        let request = Request::get("auth/tokens")
            .header("X-Subject-Token", token)
            .query("nocatalog", "1")
            .operation("validate token");
        let answer = match self.client.send(Service::Identity, request).await {
            Ok(answer) => answer,
            Err(error) => return Err(refused(error)),
        };
        let said = answer.take("token")?;
        let said: Said = serde_json::from_value(said).map_err(|e| {
            let message = "Keystone's answer lacks what it must have";
            Error::new(Kind::Corrupt, "validate token", message).caused_by(e)
        })?;
        let Some(project) = said.project else {
            let message = "the token is good for no project: get one with the project as its scope";
            return Err(Error::new(Kind::Denied, "validate token", message));
        };
        Ok(Caller {
            project: ProjectId::new(project.id),
            project_name: project.name,
            user_name: said.user.name,
            roles: said.roles.into_iter().map(|role| role.name).collect(),
            expires: said.expires_at,
            token: Secret::new(token.to_owned()),
        })
    }
}

/// What Keystone's refusal means: that the caller's token is worth nothing, or that the service's own one is.
fn refused(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound | Kind::Invalid => {
            unauthenticated("the token is unknown, expired or revoked: get a new one")
        }
        Kind::Unauthenticated | Kind::Denied => {
            let message = "the service itself may not validate tokens at present: ask its operator";
            Error::new(Kind::Unavailable, "validate token", message).caused_by(error)
        }
        _ => error,
    }
}
