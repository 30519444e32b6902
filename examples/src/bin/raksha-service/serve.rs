//! From HTTP to handlers and back: who asks, what may be asked, how long it may take, and how errors look.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use axum::routing::{MethodFilter, on};
use raksha_core::{Error, Kind, Result};
use tokio::time::Instant;
use tracing::Instrument;

use crate::app::App;
use crate::call::{Call, Reply};
use crate::failure;
use crate::routes::{self, Right, Route};
use crate::tokens::Caller;

/// Under which clients and other services know a request.
const REQUEST_ID: &str = "x-openstack-request-id";

/// What the dashboard's page may do: nothing but what comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The router of all routes.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let Ok(filter) = MethodFilter::try_from(route.method.clone()) else {
            continue;
        };
        let handler =
            move |State(app): State<App>, request: Request| answer(app, Some(route), request);
        router = router.route(route.path, on(filter, handler));
    }
    let nothing = |State(app): State<App>, request: Request| answer(app, None, request);
    router
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(app)
}

/// Serves one request, and counts it.
async fn answer(app: App, route: Option<&'static Route>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let id = request_id(&parts, &app);
    let (operation, began) = (
        route.map_or("unknown", |route| route.operation),
        Instant::now(),
    );
    let span = tracing::info_span!("request", id, method = %parts.method, operation);
    let served = async {
        let work = serve(&app, route, &mut parts, body);
        let limit = app.config.limits.time;
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(late(limit)),
        }
    };
    let reply = served.instrument(span.clone()).await;
    let reply = reply.unwrap_or_else(|error| {
        let status = failure::status(error.kind());
        span.in_scope(|| match status {
            500.. => tracing::error!(status, %error, "request failed"),
            _ => tracing::info!(status, %error, "request refused"),
        });
        Reply::json(status, failure::body(&error, &id))
    });
    app.metrics
        .request(operation, reply.status, began.elapsed());
    response(reply, &id)
}

fn late(limit: Duration) -> Error {
    let message = "it took longer than a request may take; what it began may go on";
    let limit = humantime::format_duration(limit);
    Error::new(Kind::Timeout, "serve request", message).with("limit", limit)
}

async fn serve(
    app: &App,
    route: Option<&'static Route>,
    parts: &mut Parts,
    body: Body,
) -> Result<Reply> {
    let Some(route) = route else {
        let message = "there is no such route: see /openapi.json";
        let error = Error::new(Kind::NotFound, "serve request", message);
        return Err(error
            .with("method", &parts.method)
            .with("path", parts.uri.path()));
    };
    let path = path(parts).await;
    let caller = caller(app, route, parts, &path).await?;
    let query = query(route, parts.uri.query().unwrap_or_default())?;
    let most = app.config.limits.body;
    let body = to_bytes(body, most).await.map_err(|error| {
        let message = "the body is too large, or broke off";
        let error = Error::new(Kind::Invalid, "read request", message).caused_by(error);
        error.with("most bytes", most)
    })?;
    if route.takes.is_none() && !body.is_empty() {
        let message = "this takes no body";
        return Err(Error::new(Kind::Invalid, "read request", message));
    }
    (route.handler)(Call::new(app.clone(), caller, path, query, body)).await
}

/// The parts of the path that have names.
async fn path(parts: &mut Parts) -> BTreeMap<String, String> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(found) => found
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        Err(_) => BTreeMap::new(),
    }
}

/// Who asks, if the route wants to know; refused if it is not for them.
async fn caller(
    app: &App,
    route: &Route,
    parts: &Parts,
    path: &BTreeMap<String, String>,
) -> Result<Option<Caller>> {
    if route.right == Right::None {
        return Ok(None);
    }
    let token = parts.headers.get("x-auth-token");
    let token = token.and_then(|token| token.to_str().ok());
    let caller = app.tokens.caller(token).await?;
    let denied = |why: &str| Err(Error::new(Kind::Denied, "serve request", why));
    if route.right == Right::Any {
        return Ok(Some(caller));
    }
    // Whether there is such a project is nobody else's business.
    if path.get("project_id").map(String::as_str) != Some(caller.project.as_str()) {
        return denied("the token is for another project than the path");
    }
    let roles = &app.config.tokens.roles;
    if route.right == Right::Change && !caller.roles.iter().any(|role| roles.contains(role)) {
        return denied("your roles let you look and not change anything: ask for one that does");
    }
    Ok(Some(caller))
}

/// The options of the query, decoded. What the route does not know is refused.
fn query(route: &Route, text: &str) -> Result<BTreeMap<String, String>> {
    let wrong = |why: &str, option: &str| {
        Err(Error::new(Kind::Invalid, "read request", why).with("option", option))
    };
    let mut query = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !route.query.iter().any(|(known, _)| *known == name) {
            return wrong("the route has no such option: see /openapi.json", name);
        }
        // Ids, numbers and truths need no encoding.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !value.chars().all(plain) {
            return wrong("its value is no id and no number", name);
        }
        if query.insert(name.to_owned(), value.to_owned()).is_some() {
            return wrong("it is given twice", name);
        }
    }
    Ok(query)
}

/// The id that the request came with, or one of our own.
fn request_id(parts: &Parts, app: &App) -> String {
    let given = parts
        .headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok());
    let fits = |id: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        id.starts_with("req-") && id.len() <= 64 && id.chars().all(plain)
    };
    if let Some(id) = given.filter(fits) {
        return id.to_owned();
    }
    // Without randomness the id is of no use for searching, which is no reason to fail.
    let number = app.acting.env.random::<16>().unwrap_or_default();
    let mut id = "req-".to_owned();
    for (at, byte) in number.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            id.push('-');
        }
        id += &format!("{byte:02x}");
    }
    id
}

fn response(reply: Reply, id: &str) -> Response<Body> {
    let Reply { status, kind, body } = reply;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = axum::http::StatusCode::from_u16(status)
        .unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !kind.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        ("content-security-policy", POLICY),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if status == 401 {
        let how = HeaderValue::from_static("Keystone");
        headers.insert(header::WWW_AUTHENTICATE, how);
    }
    response
}
