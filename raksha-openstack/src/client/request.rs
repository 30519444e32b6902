//! Requests and answers as values.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use raksha_core::{Error, Kind, Result};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::Microversion;

/// What is asked of a service. Debug shows neither headers nor body.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) microversion: Option<Microversion>,
    pub(super) idempotent: bool,
    pub(super) operation: &'static str,
    pub(super) timeout: Option<Duration>,
}

impl Request {
    /// Reads what is at `path`, relative to the service's versioned endpoint: `servers/ID`. Idempotent.
    ///
    /// A path's segments are encoded when it is sent; it holds no query.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None, true, "read from the cloud")
    }

    /// Looks at the headers of what is at `path`. Idempotent.
    pub fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path, None, true, "read from the cloud")
    }

    /// Has something made or done. Not idempotent: it is repeated only where it certainly had no effect.
    pub fn post(path: impl Into<String>, json: Value) -> Self {
        Self::new(Method::POST, path, Some(json), false, "ask the cloud")
    }

    /// Puts something in its place. Idempotent.
    pub fn put(path: impl Into<String>, json: Value) -> Self {
        Self::new(Method::PUT, path, Some(json), true, "ask the cloud")
    }

    /// Changes something. Not idempotent, as with [`post`](Self::post).
    pub fn patch(path: impl Into<String>, json: Value) -> Self {
        Self::new(Method::PATCH, path, Some(json), false, "ask the cloud")
    }

    /// Deletes something. Idempotent; a repeated one may find that it is gone already.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, None, true, "delete from the cloud")
    }

    /// Has the bytes of [`Client::upload`](super::Client::upload) put at `path`.
    pub fn put_bytes(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, None, false, "upload to the cloud")
    }

    fn new(
        method: Method,
        path: impl Into<String>,
        body: Option<Value>,
        idempotent: bool,
        operation: &'static str,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body,
            microversion: None,
            idempotent,
            operation,
            timeout: None,
        }
    }

    /// Adds `key=value` to the query.
    #[must_use]
    pub fn query(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.query.push((key.into(), value.to_string()));
        self
    }

    /// Asks for this microversion: the least that knows what is asked. Without it the service answers as its lowest one does.
    #[must_use]
    pub fn microversion(mut self, microversion: Microversion) -> Self {
        self.microversion = Some(microversion);
        self
    }

    /// Says whether sending it twice does the same as once.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Adds a header. A `Content-Type` replaces `application/json`.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Names what is being done, for errors: `create volume`.
    #[must_use]
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.operation = operation;
        self
    }

    /// Says how long one attempt may take, where the [options](super::ClientOptions) do not fit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method.as_str())
            .field("path", &self.path)
            .field("query", &self.query)
            .field("microversion", &self.microversion)
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

/// A successful answer. Debug does not show its body, which may hold secrets.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status: 2xx.
    pub status: u16,
    /// The JSON; null if there was none.
    pub body: Value,
    /// Under which the cloud's logs know the request.
    pub request_id: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) operation: &'static str,
    /// The body as it came: JSON objects have an order there.
    pub(crate) text: Bytes,
}

impl Answer {
    /// The header of this name, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the body holds under `key`, as most answers wrap what they are about: `{"server": {...}}`.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if there is no such key.
    pub fn take(mut self, key: &'static str) -> Result<Value> {
        match self.body.get_mut(key) {
            Some(value) => Ok(value.take()),
            None => Err(Error::new(
                Kind::Corrupt,
                self.operation,
                "the cloud's answer lacks what it must have",
            )
            .with("key", key)
            .with("request id", self.request_id.as_deref().unwrap_or("none"))),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}
