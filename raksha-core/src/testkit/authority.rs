//! What every authority must do, as a suite, and one that only pretends.
#![allow(clippy::unwrap_used, clippy::panic)] // a suite reports by panicking

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::job_store::is;
use crate::authority::{
    Authority, Delegation, DelegationKind, Grant, Made, Opened, SealingKey, Standing,
};
use crate::cloud::{SecretText, Selection, ServerSelector};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, ProjectId};
use crate::protect::Cloud;

/// Who plays in [`check_authority`].
#[derive(Debug)]
pub struct AuthorityCase {
    /// The way to check.
    pub kind: DelegationKind,
    /// A project.
    pub project: ProjectId,
    /// A live credential of somebody of the project.
    pub credential: SecretText,
    /// A live credential of somebody of another project.
    pub foreign: SecretText,
}

/// Runs the suite against `authority`. What it grants it revokes.
///
/// # Panics
/// If the authority breaks its contract; the message says how.
pub async fn check_authority(authority: &dyn Authority, case: AuthorityCase) {
    let AuthorityCase {
        kind,
        project,
        credential,
        foreign,
    } = &case;
    let id = DelegationId::from_bytes([0xa1; 16]);
    let wanted = |credential| Grant {
        id,
        project,
        kind: *kind,
        credential,
        expires: None,
    };
    is(
        authority.grant(wanted(Some(foreign))).await,
        Kind::Denied,
        "a grant by somebody of another project",
    );
    let nonsense = SecretText::new("sesame");
    let error = authority.grant(wanted(Some(&nonsense))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");

    let made = authority.grant(wanted(Some(credential))).await.unwrap();
    assert!(!made.principal.is_empty(), "somebody acts");
    let delegation = Delegation {
        id,
        project: project.clone(),
        kind: *kind,
        principal: made.principal.clone(),
        created: Env::system().now(),
        expires: made.expires,
        sealed: Some(made.sealed),
    };
    let shown = format!("{delegation:?} {authority:?}");
    assert!(!shown.contains(credential.expose()), "{shown}");

    let opened = authority.open(&delegation).await.unwrap();
    assert_eq!(
        opened.principal, made.principal,
        "the same who was granted it"
    );
    let all = Selection(vec![ServerSelector::All]);
    opened.cloud.discovery.discover(&all).await.unwrap();
    let standing = authority.probe(&delegation).await.unwrap();
    assert!(!standing.is_lost(), "{standing}");

    let mut moved = delegation.clone();
    moved.project = ProjectId::new("another");
    let mut renamed = delegation.clone();
    renamed.id = DelegationId::from_bytes([0xa2; 16]);
    for other in [&moved, &renamed] {
        is(
            authority.open(other).await,
            Kind::WrongKey,
            "one in another's place",
        );
        is(
            authority.probe(other).await,
            Kind::WrongKey,
            "looking at one in another's place",
        );
        is(
            authority.revoke(other, None).await,
            Kind::WrongKey,
            "ending one in another's place",
        );
    }
    let mut empty = delegation.clone();
    empty.sealed = None;
    is(
        authority.open(&empty).await,
        Kind::Denied,
        "one that is not granted",
    );

    authority
        .revoke(&delegation, Some(credential))
        .await
        .unwrap();
    authority
        .revoke(&delegation, Some(credential))
        .await
        .unwrap();
    // The operator's right is not the tenant's to end.
    if *kind != DelegationKind::Operator {
        let standing = authority.probe(&delegation).await.unwrap();
        assert!(standing.is_lost(), "after it was revoked it is {standing}");
        let error = authority.open(&delegation).await.unwrap_err();
        assert!(!error.is_retryable(), "trying again does not help: {error}");
    }
}

/// An authority whose tenants prove who they are by saying `token of PROJECT`, and whose cloud a test gives it.
#[derive(Debug)]
pub struct PretendAuthority {
    key: SealingKey,
    env: Env,
    cloud: Cloud,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeSet<String>,
    says: Option<Standing>,
    silent: bool,
    asked: u64,
}

impl PretendAuthority {
    /// All projects see `cloud`.
    pub fn new(key: SealingKey, env: Env, cloud: Cloud) -> Self {
        Self {
            key,
            env,
            cloud,
            state: Mutex::default(),
        }
    }

    /// What a tenant of `project` proves itself by.
    pub fn token(project: &ProjectId) -> SecretText {
        SecretText::new(format!("token of {project}"))
    }

    /// From now on all delegations stand so, or as they really do.
    pub fn says(&self, standing: Option<Standing>) {
        self.lock().says = standing;
    }

    /// From now on it cannot be asked, or can be again.
    pub fn falls_silent(&self, silent: bool) {
        self.lock().silent = silent;
    }

    /// How often it was asked how a delegation stands.
    pub fn asked(&self) -> u64 {
        self.lock().asked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secret(&self, delegation: &Delegation) -> Result<String> {
        let sealed = delegation.granted()?;
        let plain = self.key.open(&delegation.project, delegation.id, sealed)?;
        Ok(String::from_utf8_lossy(&plain).into_owned())
    }

    fn standing(&self, delegation: &Delegation) -> Result<Standing> {
        let secret = self.secret(delegation)?;
        let state = self.lock();
        if state.silent {
            return Err(Error::new(Kind::Unavailable, "ask", "nobody answers"));
        }
        Ok(match &state.says {
            _ if !state.live.contains(&secret) => Standing::lost("it was revoked", "renew it"),
            Some(says) => says.clone(),
            None if delegation.expires.is_some_and(|end| end <= self.env.now()) => {
                Standing::lost("it ended", "renew it")
            }
            None => Standing::until(delegation.expires),
        })
    }
}

#[async_trait]
impl Authority for PretendAuthority {
    async fn grant(&self, grant: Grant<'_>) -> Result<Made> {
        let said = grant.credential.map_or("", SecretText::expose);
        let Some(project) = said.strip_prefix("token of ") else {
            return Err(Error::new(
                Kind::Unauthenticated,
                "grant",
                "this is no token",
            ));
        };
        if project != grant.project.as_str() {
            return Err(Error::new(
                Kind::Denied,
                "grant",
                "the token is for another project",
            ));
        }
        let mut secret = String::from("hush");
        for byte in self.env.random::<16>()? {
            let _ = write!(secret, "{byte:02x}");
        }
        let sealed = self
            .key
            .seal(grant.project, grant.id, secret.as_bytes(), &self.env)?;
        self.lock().live.insert(secret);
        Ok(Made {
            principal: format!("somebody of {project}"),
            expires: grant.expires,
            sealed,
        })
    }

    async fn open(&self, delegation: &Delegation) -> Result<Opened> {
        match self.standing(delegation)? {
            Standing::Lost { reason, .. } => Err(Error::new(Kind::Denied, "open", reason)),
            _ => Ok(Opened {
                cloud: self.cloud.clone(),
                principal: format!("somebody of {}", delegation.project),
            }),
        }
    }

    async fn probe(&self, delegation: &Delegation) -> Result<Standing> {
        self.lock().asked += 1;
        self.standing(delegation)
    }

    async fn revoke(&self, delegation: &Delegation, _: Option<&SecretText>) -> Result<()> {
        let secret = self.secret(delegation)?;
        self.lock().live.remove(&secret);
        Ok(())
    }
}
