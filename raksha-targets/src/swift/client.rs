//! Requests to Swift, and what its answers mean.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use object_store::path::Path;
use object_store::{Error, PutPayload, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use raksha_core::Kind;
use raksha_core::cloud::Token;
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Body, Client, Method, Response};

use super::tokens::Tokens;
use crate::layers::Refusal;

const STORE: &str = "Swift";

/// What a part of a URL's path may hold as it is: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// One part of a path or a value in a query.
pub(super) fn quoted(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The path of an object below its account, as `/container/object`.
pub(super) fn object_path(container: &str, name: &str) -> String {
    format!("/{}/{}", quoted(container), utf8_percent_encode(name, PATH))
}

/// A request: a value, so that it can be sent again with another token.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: Method,
    /// Below the account's URL, with its query.
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<PutPayload>,
    /// What it is about, for messages.
    about: Path,
}

impl Request {
    pub(super) fn new(method: Method, path: String, about: &Path) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: None,
            about: about.clone(),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: PutPayload) -> Self {
        self.body = Some(body);
        self
    }
}

/// Sends requests under the token in use.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    tokens: Tokens,
}

impl Connection {
    pub(super) fn new(client: Client, tokens: Tokens) -> Self {
        Self { client, tokens }
    }

    pub(super) async fn token(&self) -> raksha_core::Result<Token> {
        self.tokens.token().await
    }

    /// The answer to `request`, if it is one of success. A refused token is renewed once.
    pub(super) async fn send(&self, request: Request) -> Result<Response> {
        let refused = |e| not_logged_in(e, &request.about);
        let token = self.tokens.token().await.map_err(refused)?;
        let mut response = self.once(&request, &token).await?;
        if response.status().as_u16() == 401 {
            let token = self.tokens.renew(&token).await.map_err(refused)?;
            response = self.once(&request, &token).await?;
        }
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refusal(response, &request.about).await),
        }
    }

    /// The answer to a request for something outside the account, which needs no token.
    pub(super) async fn get_public(&self, url: &str) -> Result<Response> {
        self.client.get(url).send().await.map_err(lost)
    }

    async fn once(&self, request: &Request, token: &Token) -> Result<Response> {
        let Request {
            method,
            path,
            headers,
            body,
            about: _,
        } = request;
        let url = format!("{}{path}", token.endpoint.trim_end_matches('/'));
        let mut sending = self
            .client
            .request(method.clone(), url)
            .header("X-Auth-Token", token.value.expose());
        for (name, value) in headers {
            sending = sending.header(*name, value);
        }
        // Without a length, a body would be sent in chunks, which not every proxy in front of Swift takes.
        let length = body.as_ref().map_or(0, PutPayload::content_length);
        if matches!(*method, Method::PUT | Method::POST) {
            sending = sending.header(CONTENT_LENGTH, length);
        }
        if let Some(body) = body {
            let chunks: Vec<_> = body.iter().cloned().map(Ok::<Bytes, io::Error>).collect();
            sending = sending.body(Body::wrap_stream(stream::iter(chunks)));
        }
        sending.send().await.map_err(lost)
    }
}

/// The number in a header.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// The text in a header.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The error of a connection that failed.
pub(super) fn lost(error: reqwest::Error) -> Error {
    generic(error.without_url())
}

pub(super) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: STORE,
        source: source.into(),
    }
}

/// The error of an answer that does not make sense.
pub(super) fn garbled(what: &str) -> Error {
    generic(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer is not Swift's: {what}"),
    ))
}

fn not_logged_in(error: raksha_core::Error, about: &Path) -> Error {
    match error.kind() {
        Kind::Unauthenticated => Error::Unauthenticated {
            path: about.to_string(),
            source: Box::new(error),
        },
        _ => generic(error),
    }
}

/// The error that an answer of failure is.
async fn refusal(response: Response, about: &Path) -> Error {
    let status = response.status().as_u16();
    let retry_after = number(response.headers(), "retry-after").map(Duration::from_secs);
    let body = response.text().await.unwrap_or_default();
    let message = plain(&body);
    let refusal = Refusal::new(status, retry_after, &message);
    let path = about.to_string();
    match status {
        // Swift: a quota of bytes or objects. The RADOS Gateway names its code.
        413 => generic(refusal.full()),
        403 if body.contains("QuotaExceeded") => generic(refusal.full()),
        304 => Error::NotModified {
            path,
            source: refusal.into(),
        },
        401 => Error::Unauthenticated {
            path,
            source: refusal.into(),
        },
        403 => Error::PermissionDenied {
            path,
            source: refusal.into(),
        },
        404 => Error::NotFound {
            path,
            source: refusal.into(),
        },
        412 => Error::Precondition {
            path,
            source: refusal.into(),
        },
        // Another write of the same moment, or bytes that were damaged on their way.
        409 | 422 => generic(refusal.retryable(true)),
        _ => generic(refusal),
    }
}

/// The text of an answer, which is often HTML.
fn plain(body: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars().take(2000) {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
