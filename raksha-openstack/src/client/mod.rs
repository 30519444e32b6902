//! Speaking to a cloud's services.
//!
//! A [`Request`] is a value; a [`Client`] sends it to a [`Service`]. The client finds the endpoint, speaks the microversion that
//! the request needs, has a token and renews it, repeats what failed where that cannot do harm, and turns
//! what is no success into an [`Error`] that says what the cloud said.
//!
//! # What is sent again
//!
//! | what happened | sent again |
//! | --- | --- |
//! | no connection came about | always |
//! | 429, or 413 that is not about a quota | always, after `Retry-After` if there is one |
//! | 500, 502, 503, 504; the connection broke off; no answer in time | if the request is idempotent |
//! | 401 | once, with a new token |
//! | anything else | never |
//!
//! Pauses double and are jittered; `Retry-After` is kept to. All requests of a client share a budget of repetitions, so that a cloud that fails everywhere is not
//! flooded on top.
//!
//! # Errors
//!
//! | status | kind |
//! | --- | --- |
//! | 400 and other 4xx | [`Kind::Invalid`] |
//! | 401 | [`Kind::Unauthenticated`] |
//! | 403 | [`Kind::Denied`], or [`Kind::Full`] if it is about a quota |
//! | 404, 410 | [`Kind::NotFound`] |
//! | 406, 501 | [`Kind::Unsupported`] |
//! | 409 | [`Kind::Conflict`], not retryable, or [`Kind::Full`] |
//! | 413, 429 | [`Kind::Full`] if it is about a quota, else [`Kind::Unavailable`] |
//! | other 5xx, no connection, a connection that broke off | [`Kind::Unavailable`] |
//! | no answer in time | [`Kind::Timeout`] |
//!
//! Each names the operation, the service, method and path, the request id that the cloud's logs know, and the cloud's own words.
//!
//! # What is not here
//!
//! No proxies: neither settings nor variables about them are looked at. No HTTP/2. No redirects, which would carry the token elsewhere.

mod connections;
mod download;
mod endpoints;
mod microversion;
mod options;
mod pages;
mod problem;
mod request;
mod retry;
mod service;
mod session;
mod token_source;
mod transport;
mod upload;
mod wait;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

pub use download::{ChecksumAlgorithm, Download};
pub use microversion::Microversion;
pub use options::ClientOptions;
pub use request::{Answer, Request};
pub use service::Service;

use crate::auth::answer::Named;
use crate::config::CloudConfig;
use connections::Connections;
use endpoints::Known;
use session::Session;
use transport::{Call, Content, Reading, Reply, Transport};

/// Speaks to the services of one cloud as one principal. Cheap to clone; clones share the token, the connections and their limits.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: CloudConfig,
    transport: Transport,
    session: Session,
    known: BTreeMap<Service, Known>,
}

/// Who a client is, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// The user.
    pub user: Named,
    /// The project in which everything happens.
    pub project: Named,
    /// The user's roles there, by name.
    pub roles: Vec<String>,
}

impl Client {
    /// Gets a token for a project, and with it the catalog.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] if the credentials are not accepted; [`Kind::Invalid`] if they are good for no project, or settings of
    /// TLS cannot be used; [`Kind::Unavailable`] if the identity service cannot be reached.
    pub async fn connect(config: &CloudConfig, env: Env) -> Result<Self> {
        Self::connect_with(config, ClientOptions::default(), env).await
    }

    /// The same with other deadlines and limits. `api_timeout` of the cloud's settings takes the place of [`ClientOptions::attempt`].
    pub async fn connect_with(
        config: &CloudConfig,
        mut options: ClientOptions,
        env: Env,
    ) -> Result<Self> {
        if let Some(timeout) = config.api_timeout {
            options.attempt = timeout;
        }
        let connections = Connections::new(config, &options).await?;
        let transport = Transport::new(connections, options, env);
        let session = Session::begin(config, &transport).await?;
        if session.current().project.is_none() {
            let message = "the credentials are good for no project: name one (project_name and project_domain_name in clouds.yaml, or OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME)";
            return Err(Error::new(Kind::Invalid, "connect to the cloud", message)
                .with("cloud", &config.name));
        }
        let known = Service::ALL.map(|service| (service, Known::default()));
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            transport,
            session,
            known: BTreeMap::from(known),
        })))
    }

    /// Who this client is, as the token says.
    pub fn principal(&self) -> Principal {
        let token = self.0.session.current();
        let nobody = || Named {
            id: String::new(),
            name: String::new(),
        };
        Principal {
            user: token.user.clone(),
            // There is one: see `connect_with`. What a token is good for does not change by its renewal.
            project: token.project.clone().unwrap_or_else(nobody),
            roles: token.roles.clone(),
        }
    }

    /// The settings that it was made with.
    pub fn config(&self) -> &CloudConfig {
        &self.0.config
    }

    /// Sends `request` and gives back the answer if it is a success (2xx).
    ///
    /// # Errors
    /// By the table of this [module](self); [`Kind::Unsupported`] if the service does not speak the microversion that the
    /// request needs; [`Kind::NotFound`] if the catalog has no such service; [`Kind::Corrupt`] if the answer is not what it must be.
    ///
    /// # Cancellation
    /// A request whose future is dropped may have taken effect.
    pub async fn send(&self, service: Service, request: Request) -> Result<Answer> {
        let call = self.0.call(service, request).await?;
        let Reply {
            status,
            headers,
            content,
        } = self.0.exchange(&call, Reading::Whole).await?;
        match content {
            Content::Whole(body) => answer(&call, status, headers, body),
            Content::Stream(_) => {
                let id = transport::request_id(&headers).map(str::to_owned);
                Err(problem::corrupt(
                    &call,
                    id.as_deref(),
                    "a stream was not asked for",
                ))
            }
        }
    }

    /// The lowest and the highest microversion that `service` speaks; none if it has none. Asked once.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn microversions(
        &self,
        service: Service,
    ) -> Result<Option<(Microversion, Microversion)>> {
        self.0.range(service).await
    }

    /// `wanted`, or the highest microversion that `service` speaks if that is lower; none if it has none. For requests that newer services answer in
    /// more detail, and that are of use without it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn at_most(
        &self,
        service: Service,
        wanted: Microversion,
    ) -> Result<Option<Microversion>> {
        let range = self.0.range(service).await?;
        Ok(range.map(|(_, max)| wanted.min(max)))
    }

    /// The URL that the paths of requests to `service` are relative to.
    pub(crate) async fn location(&self, service: Service) -> Result<Url> {
        self.0.base(service).await
    }

    /// The path at which `service` tells of the version that is spoken with it.
    pub(crate) async fn version_document(&self, service: Service) -> Result<String> {
        self.0.document(service).await
    }

    /// The types under which the catalog lists `service`.
    pub(crate) fn types_of(&self, service: Service) -> Vec<String> {
        let token = self.0.session.current();
        token.catalog.types_of(service.official())
    }

    /// Whether `service` is in the catalog, or named by an endpoint override.
    pub fn has(&self, service: Service) -> bool {
        self.0.endpoint(service).is_ok()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let principal = self.principal();
        f.debug_struct("Client")
            .field("cloud", &self.0.config.name)
            .field("user", &principal.user.name)
            .field("project", &principal.project.name)
            .finish()
    }
}

impl Inner {
    /// Makes `request` ready to be sent to `service`.
    async fn call(&self, service: Service, request: Request) -> Result<Call> {
        let Request {
            method,
            path,
            query,
            headers: wanted,
            body,
            microversion,
            idempotent,
            operation,
            timeout,
        } = request;
        let mut url = self.base(service).await?;
        extend(&mut url, &path, operation)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(&query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let id = request_id(self.transport.env());
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert("x-openstack-request-id", value);
        }
        let body = match body {
            None => None,
            Some(json) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Some(json.to_string().into())
            }
        };
        if let Some(microversion) = microversion {
            self.negotiate(service, microversion, operation, &mut headers)
                .await?;
        }
        for (name, value) in wanted {
            let pair = HeaderName::from_bytes(name.as_bytes())
                .ok()
                .zip(HeaderValue::from_str(&value).ok());
            let (name, value) = pair.ok_or_else(|| {
                Error::new(Kind::Invalid, operation, "this is no header").with("header", name)
            })?;
            headers.insert(name, value);
        }
        let shown = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let options = self.transport.options();
        let usual = if idempotent {
            options.attempt
        } else {
            options.effect
        };
        Ok(Call {
            service,
            method,
            url,
            shown,
            headers,
            body,
            idempotent,
            operation,
            timeout: timeout.unwrap_or(usual),
            id,
            accepted: &[],
        })
    }

    /// Adds the header that asks for `wanted`, or for the lowest that the service speaks if that is higher.
    async fn negotiate(
        &self,
        service: Service,
        wanted: Microversion,
        operation: &'static str,
        headers: &mut HeaderMap,
    ) -> Result<()> {
        let unsupported = |has: String| {
            let message = "the service is too old for this: it does not speak the microversion that is needed";
            Error::new(Kind::Unsupported, operation, message)
                .with("service", service)
                .with("needed", wanted)
                .with("it has", has)
        };
        let name = service.microversion_name();
        let (Some(name), Some((min, max))) = (name, self.range(service).await?) else {
            return Err(unsupported("no microversions".to_owned()));
        };
        if wanted > max {
            return Err(unsupported(format!("{min} to {max}")));
        }
        let asked = wanted.max(min);
        if let Ok(value) = HeaderValue::from_str(&format!("{name} {asked}")) {
            headers.insert("openstack-api-version", value);
        }
        // Before 2.27 Nova knew this one only.
        if service == Service::Compute
            && let Ok(value) = HeaderValue::from_str(&asked.to_string())
        {
            headers.insert("x-openstack-nova-api-version", value);
        }
        Ok(())
    }

    /// Sends `call` with the session's token, and once more with a new one if that is refused.
    async fn exchange(&self, call: &Call, reading: Reading) -> Result<Reply> {
        let token = self.session.token(&self.transport).await?;
        let secret = &token.secret;
        let reply = self.transport.exchange(call, Some(secret), reading).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let token = self.session.renew(secret, &self.transport).await?;
        let secret = &token.secret;
        self.transport.exchange(call, Some(secret), reading).await
    }
}

/// Adds the segments of `path`, encoded.
fn extend(url: &mut Url, path: &str, operation: &'static str) -> Result<()> {
    let refused = || {
        let message =
            "a part of the path is empty, or leads elsewhere: an id or name that no cloud gives";
        Error::new(Kind::Invalid, operation, message).with("path", format!("{path:?}"))
    };
    let mut segments = url.path_segments_mut().map_err(|()| refused())?;
    segments.pop_if_empty();
    for segment in path.split('/') {
        if ["", ".", ".."].contains(&segment) {
            return Err(refused());
        }
        segments.push(segment);
    }
    Ok(())
}

/// The answer if it is a success, or else the error.
fn answer(call: &Call, status: StatusCode, headers: HeaderMap, text: Bytes) -> Result<Answer> {
    let request_id = transport::request_id(&headers).map(str::to_owned);
    if !status.is_success() {
        let words = problem::words(&text);
        return Err(problem::refused(
            call,
            status,
            &words,
            request_id.as_deref(),
        ));
    }
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&text).map_err(|source| {
            let message =
                "the answer is no JSON: something else than this service answers at its endpoint";
            problem::corrupt(call, request_id.as_deref(), message).caused_by(source)
        })?
    };
    Ok(Answer {
        status: status.as_u16(),
        body,
        request_id,
        headers,
        operation: call.operation,
        text,
    })
}

/// An id for a request, in the form that services take over into their logs: `req-` and a random UUID.
fn request_id(env: &Env) -> String {
    // Without randomness the id is of no use for searching, which is no reason to fail.
    let bytes = env.random::<16>().unwrap_or_default();
    let number = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62)) | (4 << 76) | (2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "req-{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}
