//! The token that all requests share, and its renewal: one at a time, before it ends or when a service refused it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raksha_core::{Error, Kind, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use url::Url;

use super::transport::{Call, Content, Reading, Reply, Transport};
use super::{Service, problem};
use crate::Secret;
use crate::auth::answer::{self, Token};
use crate::auth::{Auth, request};
use crate::config::CloudConfig;

const OPERATION: &str = "get a token";

/// A token is renewed this long before it ends, or a tenth of its life before, whichever is less.
const MARGIN: Duration = Duration::from_secs(120);

/// After a renewal ahead of time has failed, the old token serves this long before the next try.
const GRACE: Duration = Duration::from_secs(15);

pub(super) struct Session {
    config: CloudConfig,
    held: watch::Sender<Held>,
    /// Held by who renews; what the last failure was.
    renewing: Mutex<Option<Failure>>,
    failures: AtomicU64,
}

#[derive(Clone)]
struct Held {
    token: Arc<Token>,
    /// From when on another is asked for.
    renew_at: Instant,
    ends_at: Instant,
}

/// What those who waited for a renewal that failed are told.
struct Failure {
    kind: Kind,
    retryable: bool,
    text: String,
}

impl Held {
    /// How long a token lives is reckoned from the two times that Keystone names, so that no clock need agree with another.
    fn new(token: Token, env: &raksha_core::env::Env) -> Self {
        let now = Instant::now();
        let issued = token.issued_at.unwrap_or_else(|| env.now());
        let life = token.expires_at.since(issued);
        let ends_at = now + life;
        Self {
            token: Arc::new(token),
            renew_at: ends_at - MARGIN.min(life / 10),
            ends_at,
        }
    }
}

impl Session {
    pub(super) async fn begin(config: &CloudConfig, transport: &Transport) -> Result<Self> {
        let token = issue(config, transport).await?;
        Ok(Self {
            config: config.clone(),
            held: watch::Sender::new(Held::new(token, transport.env())),
            renewing: Mutex::new(None),
            failures: AtomicU64::new(0),
        })
    }

    /// The token as it is, be it stale.
    pub(super) fn current(&self) -> Arc<Token> {
        Arc::clone(&self.held.borrow().token)
    }

    /// A token that is good for a while yet.
    pub(super) async fn token(&self, transport: &Transport) -> Result<Arc<Token>> {
        let held = self.held.borrow().clone();
        if Instant::now() < held.renew_at {
            return Ok(held.token);
        }
        match self.renew(&held.token.secret, transport).await {
            Ok(token) => Ok(token),
            Err(error) if Instant::now() < held.ends_at => {
                tracing::warn!(%error, "the token could not be renewed ahead of time");
                self.held
                    .send_modify(|held| held.renew_at = held.ends_at.min(Instant::now() + GRACE));
                Ok(held.token)
            }
            Err(error) => Err(error),
        }
    }

    /// Another token than `stale`. Of many who ask at once one renews, and all share what comes of it.
    pub(super) async fn renew(&self, stale: &Secret, transport: &Transport) -> Result<Arc<Token>> {
        let seen = self.failures.load(Ordering::Acquire);
        let mut failure = self.renewing.lock().await;
        let current = self.current();
        if current.secret != *stale {
            return Ok(current);
        }
        if self.failures.load(Ordering::Acquire) != seen
            && let Some(failure) = &*failure
        {
            return Err(Error::new(failure.kind, OPERATION, failure.text.clone())
                .retryable(failure.retryable));
        }
        match issue(&self.config, transport).await {
            Ok(token) => {
                let held = Held::new(token, transport.env());
                let token = Arc::clone(&held.token);
                self.held.send_replace(held);
                *failure = None;
                Ok(token)
            }
            Err(error) => {
                *failure = Some(Failure {
                    kind: error.kind(),
                    retryable: error.is_retryable(),
                    text: error.to_string(),
                });
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }
}

async fn issue(config: &CloudConfig, transport: &Transport) -> Result<Token> {
    if let Auth::Given { token } = &config.auth {
        return look_at(token, config, transport).await;
    }
    let wanted = request::issue_token(&config.auth_url, &config.auth)?;
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    let body = bytes::Bytes::from_owner(wanted.body);
    let call = call(Method::POST, wanted.url, headers, Some(body), transport);
    let reply = exchange(&call, None, config, transport).await?;
    let Content::Whole(body) = &reply.content else {
        return Err(streamed(&call, &reply));
    };
    let subject = reply
        .headers
        .get("x-subject-token")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    answer::parse(Secret::new(subject.to_owned()), body)
}

/// What a token says that is used as it is.
async fn look_at(token: &Secret, config: &CloudConfig, transport: &Transport) -> Result<Token> {
    let mut subject = HeaderValue::from_str(token.expose()).map_err(|_| {
        let message = "the token holds characters that no header can carry";
        Error::new(Kind::Unauthenticated, OPERATION, message)
    })?;
    subject.set_sensitive(true);
    let name = HeaderName::from_static("x-subject-token");
    let headers = HeaderMap::from_iter([(name, subject)]);
    let url = request::token_url(&config.auth_url)?;
    let call = call(Method::GET, url, headers, None, transport);
    let reply = match exchange(&call, Some(token), config, transport).await {
        // In Keystone's words what is no token any more cannot be found.
        Err(error) if error.kind() == Kind::NotFound => {
            let message = "the cloud does not accept the token, or not any more: get another one";
            Err(Error::new(Kind::Unauthenticated, OPERATION, message).caused_by(error))
        }
        reply => reply,
    }?;
    match &reply.content {
        Content::Whole(body) => answer::parse(token.clone(), body),
        Content::Stream(_) => Err(streamed(&call, &reply)),
    }
}

fn call(
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<bytes::Bytes>,
    transport: &Transport,
) -> Call {
    Call {
        service: Service::Identity,
        method,
        shown: url.to_string(),
        url,
        headers,
        body,
        // A token too many does no harm.
        idempotent: true,
        operation: OPERATION,
        timeout: transport.options().attempt,
        id: super::request_id(transport.env()),
        accepted: &[],
    }
}

/// The answer to `call`, if it is a success.
async fn exchange(
    call: &Call,
    token: Option<&Secret>,
    config: &CloudConfig,
    transport: &Transport,
) -> Result<Reply> {
    let reply = transport.exchange(call, token, Reading::Whole).await?;
    if reply.status.is_success() {
        return Ok(reply);
    }
    let Content::Whole(body) = &reply.content else {
        return Err(streamed(call, &reply));
    };
    let words = problem::words(body);
    let error = problem::refused(call, reply.status, &words, reply.request_id());
    let error = error.with("cloud", &config.name);
    Err(match reply.status {
        StatusCode::UNAUTHORIZED => hint(error, &config.auth),
        _ => error,
    })
}

fn streamed(call: &Call, reply: &Reply) -> Error {
    problem::corrupt(call, reply.request_id(), "a token is no stream")
}

fn hint(error: Error, auth: &Auth) -> Error {
    match auth {
        Auth::Token { .. } | Auth::Given { .. } => error.with(
            "note",
            "the settings hold a token, which ends some day and cannot be renewed: use a password or an application credential for long work",
        ),
        _ => error,
    }
}
