//! One request to one service: attempts, pauses, limits. Knows nothing of tokens but that they go into a header.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use super::connections::Connections;
use super::retry::{self, Budget, Effect};
use super::{ClientOptions, Service, problem};
use crate::Secret;

/// Nothing that is not a stream is as large: a page of 1000 servers with all their user data is not.
const LARGEST_ANSWER: usize = 96 << 20;

/// Of errors this much is looked at.
const LARGEST_PROBLEM: usize = 64 << 10;

/// A request ready to be sent, any number of times.
pub(super) struct Call {
    pub(super) service: Service,
    pub(super) method: Method,
    pub(super) url: Url,
    /// Path and query, for errors.
    pub(super) shown: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) idempotent: bool,
    pub(super) operation: &'static str,
    pub(super) timeout: Duration,
    /// Sent along, so that the cloud's logs can be searched for it even if there is no answer.
    pub(super) id: String,
    /// Statuses beyond 2xx that are answers.
    pub(super) accepted: &'static [StatusCode],
}

/// An answer of whatever status.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
}

pub(super) enum Content {
    Whole(Bytes),
    /// Of a success that is to be streamed.
    Stream(Stream),
}

/// An answer's bytes as they come, and the place among the service's streams.
pub(super) struct Stream {
    pub(super) response: Response,
    /// Given back when the stream ends or is dropped.
    pub(super) _place: OwnedSemaphorePermit,
}

/// What is done with the bytes of a success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Whole,
    Stream,
}

impl Reply {
    pub(super) fn request_id(&self) -> Option<&str> {
        request_id(&self.headers)
    }
}

/// Under which the cloud's logs know a request; the names are those of today's services, of old Novas and of Swift.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    [
        "x-openstack-request-id",
        "x-compute-request-id",
        "x-trans-id",
    ]
    .iter()
    .find_map(|name| headers.get(*name)?.to_str().ok())
}

pub(super) struct Transport {
    connections: Connections,
    options: ClientOptions,
    env: Env,
    places: BTreeMap<Service, Places>,
    budget: Budget,
}

/// Streams have places of their own: they last long, and who reads one must be able to ask for more.
struct Places {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Transport {
    pub(super) fn new(connections: Connections, options: ClientOptions, env: Env) -> Self {
        let places = Service::ALL
            .into_iter()
            .map(|service| {
                let semaphore = || Arc::new(Semaphore::new(options.connections.max(1)));
                let places = Places {
                    calls: semaphore(),
                    streams: semaphore(),
                };
                (service, places)
            })
            .collect();
        Self {
            connections,
            options,
            env,
            places,
            budget: Budget::new(),
        }
    }

    pub(super) fn options(&self) -> &ClientOptions {
        &self.options
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    /// Sends `call` until there is an answer that sending it again would not change, or no further attempt is due. Answers of any status are
    /// given back, except those that ask to come again later: they end as errors.
    pub(super) async fn exchange(
        &self,
        call: &Call,
        token: Option<&Secret>,
        reading: Reading,
    ) -> Result<Reply> {
        let mut attempt = 1;
        loop {
            let (error, effect, asked) = match self.attempt(call, token, reading).await {
                Ok(reply) => {
                    let Some((error, effect)) = Self::judge(call, &reply) else {
                        self.budget.give();
                        return Ok(reply);
                    };
                    (error, effect, retry::retry_after(&reply.headers))
                }
                Err((error, effect)) => (error, effect, None),
            };
            let again = match effect {
                Effect::None => true,
                Effect::Unknown => call.idempotent,
                Effect::Final => false,
            };
            let pause = if again {
                self.may_repeat(attempt + 1, asked)
            } else {
                None
            };
            let Some(pause) = pause else {
                return Err(if attempt > 1 {
                    error.with("attempts", attempt)
                } else {
                    error
                });
            };
            tracing::debug!(%error, attempt, ?pause, "the request is sent again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// The pause before attempt `next`, if there is to be one. The cloud may have `asked` for a longer one.
    pub(super) fn may_repeat(&self, next: u32, asked: Option<Duration>) -> Option<Duration> {
        let pause = retry::pause(&self.options, &self.env, next, asked)?;
        self.budget.take().then_some(pause)
    }

    /// The error and what was done, if `reply` is one that may be otherwise the next time.
    fn judge(call: &Call, reply: &Reply) -> Option<(Error, Effect)> {
        let Content::Whole(body) = &reply.content else {
            return None;
        };
        if reply.status.is_success() || call.accepted.contains(&reply.status) {
            return None;
        }
        let words = problem::words(body);
        let effect = retry::effect_of(reply.status, problem::is_quota(reply.status, &words));
        (effect != Effect::Final).then(|| {
            (
                problem::refused(call, reply.status, &words, reply.request_id()),
                effect,
            )
        })
    }

    async fn attempt(
        &self,
        call: &Call,
        token: Option<&Secret>,
        reading: Reading,
    ) -> Result<Reply, (Error, Effect)> {
        let permit = self.place(call.service, reading).await?;
        let mut request = self
            .connections
            .pick(call.idempotent)
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone());
        if let Some(token) = token {
            request = request.header("X-Auth-Token", header(token)?);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let until = Instant::now() + call.timeout;
        let late = |_| (problem::late(call, call.timeout), Effect::Unknown);
        let response = tokio::time::timeout_at(until, request.send())
            .await
            .map_err(late)?
            .map_err(|source| lost(call, source))?;
        if reading == Reading::Stream && response.status().is_success() {
            return Ok(Reply {
                status: response.status(),
                headers: response.headers().clone(),
                content: Content::Stream(Stream {
                    response,
                    _place: permit,
                }),
            });
        }
        tokio::time::timeout_at(until, whole(call, response))
            .await
            .map_err(late)?
    }

    /// Sends `call` with `body` once: a stream cannot be sent again. The deadline is the caller's to keep.
    pub(super) async fn send_stream(
        &self,
        call: &Call,
        token: &Secret,
        body: reqwest::Body,
    ) -> Result<Reply> {
        let sent = async {
            let _permit = self.place(call.service, Reading::Stream).await?;
            let response = self
                .connections
                .pick(false)
                .request(call.method.clone(), call.url.clone())
                .headers(call.headers.clone())
                .header("X-Auth-Token", header(token)?)
                .body(body)
                .send()
                .await
                .map_err(|source| lost(call, source))?;
            whole(call, response).await
        };
        sent.await.map_err(|(error, _)| error)
    }

    async fn place(
        &self,
        service: Service,
        reading: Reading,
    ) -> Result<OwnedSemaphorePermit, (Error, Effect)> {
        let broken = || {
            let message = "a service without places, or closed ones";
            let error = Error::new(Kind::Internal, "wait for a connection", message);
            (error.with("service", service), Effect::Final)
        };
        let places = self.places.get(&service).ok_or_else(broken)?;
        let semaphore = match reading {
            Reading::Whole => &places.calls,
            Reading::Stream => &places.streams,
        };
        let permit = Arc::clone(semaphore).acquire_owned().await;
        permit.map_err(|_| broken())
    }
}

fn lost(call: &Call, source: reqwest::Error) -> (Error, Effect) {
    let effect = if problem::is_tls(&source) || source.is_builder() {
        Effect::Final
    } else if source.is_connect() {
        Effect::None
    } else {
        Effect::Unknown
    };
    (problem::broken(call, source), effect)
}

async fn whole(call: &Call, mut response: Response) -> Result<Reply, (Error, Effect)> {
    let (status, headers) = (response.status(), response.headers().clone());
    let success = status.is_success();
    let mut body = BytesMut::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(chunk) => chunk,
            // What went wrong is known by the status, whatever the words would have been.
            Err(_) if !success => None,
            Err(source) => return Err(lost(call, source)),
        };
        let Some(chunk) = chunk else { break };
        if success && body.len() + chunk.len() > LARGEST_ANSWER {
            let message = "the answer is larger than any answer of this service should be";
            let error = problem::corrupt(call, request_id(&headers), message);
            return Err((error, Effect::Final));
        }
        body.extend_from_slice(&chunk);
        if !success && body.len() > LARGEST_PROBLEM {
            break;
        }
    }
    Ok(Reply {
        status,
        headers,
        content: Content::Whole(body.freeze()),
    })
}

fn header(token: &Secret) -> Result<HeaderValue, (Error, Effect)> {
    let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
        let message = "the token holds characters that no header can carry";
        (
            Error::new(Kind::Invalid, "send token", message),
            Effect::Final,
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
