//! Streams of bytes that go to a service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use raksha_core::{Error, Kind, Result};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;

use super::transport::Content;
use super::{Answer, Client, Request, Service, problem};

impl Client {
    /// Sends `body` as it comes, holding no more of it than one item; `length` if it is known beforehand.
    ///
    /// It is sent once: a stream cannot be begun anew, so that what failed must be begun anew by the caller. There is no deadline for the whole; the
    /// service may neither stand still for [`stall`](super::ClientOptions::stall) nor, once it has everything, think for longer than
    /// [`effect`](super::ClientOptions::effect) or the request's own timeout.
    ///
    /// # Errors
    /// The error of `body` if it has one; [`Kind::Invalid`] if it is not as long as was said; else as [`send`](Self::send).
    pub async fn upload(
        &self,
        service: Service,
        request: Request,
        body: impl Stream<Item = Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> Result<Answer> {
        let inner = &self.0;
        let mut call = inner.call(service, request).await?;
        call.headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/octet-stream"));
        if let Some(length) = length {
            call.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let watch = Arc::new(Watch::new());
        let body = counted(body, length, Arc::clone(&watch), call.operation);
        let token = inner.session.token(&inner.transport).await?;
        let sending =
            inner
                .transport
                .send_stream(&call, &token.secret, reqwest::Body::wrap_stream(body));
        let stall = inner.transport.options().stall;
        let outcome = tokio::select! {
            outcome = sending => outcome,
            after = watch.stands_still(stall, call.timeout) => Err(problem::late(&call, after).with("what", "the service took no bytes")),
        };
        if let Some(error) = watch.failure() {
            return Err(error);
        }
        let reply = outcome?;
        let Content::Whole(bytes) = &reply.content else {
            return Err(problem::corrupt(
                &call,
                reply.request_id(),
                "an upload is answered by no stream",
            ));
        };
        let bytes = bytes.clone();
        super::answer(&call, reply.status, reply.headers, bytes)
    }
}

/// How an upload goes on, as seen from its source.
struct Watch(Mutex<State>);

struct State {
    phase: Phase,
    since: Instant,
    failure: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The service has to take what there is, or to ask for more.
    Service,
    /// The source has to bring more: not the service's fault.
    Source,
    /// All is handed over; the service has to answer.
    Answer,
}

impl Watch {
    fn new() -> Self {
        Self(Mutex::new(State {
            phase: Phase::Service,
            since: Instant::now(),
            failure: None,
        }))
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.phase = phase;
        state.since = Instant::now();
    }

    fn fail(&self, error: Error) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure = Some(error);
    }

    fn failure(&self) -> Option<Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.take()
    }

    /// Ends when the service has stood still for too long, and says how long that was.
    async fn stands_still(&self, stall: Duration, answer: Duration) -> Duration {
        loop {
            let (phase, since) = {
                let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                (state.phase, state.since)
            };
            let patience = match phase {
                Phase::Service => stall,
                Phase::Answer => answer,
                Phase::Source => {
                    tokio::time::sleep(stall).await;
                    continue;
                }
            };
            let until = since + patience;
            if until <= Instant::now() {
                return patience;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// `body` with its length checked and its course watched. What fails in it is kept for the caller, since it would come back only as the
/// text of a transport's error.
fn counted(
    body: impl Stream<Item = Result<Bytes>> + Send + 'static,
    length: Option<u64>,
    watch: Arc<Watch>,
    operation: &'static str,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let wrong = move |there: u64| {
        Error::new(
            Kind::Invalid,
            operation,
            "the body is not as long as was said",
        )
        .with("said", length.unwrap_or_default())
        .with("there are", there)
    };
    let start = (Box::pin(body), 0_u64, watch);
    futures_util::stream::unfold(Some(start), move |state| async move {
        let (mut body, mut sent, watch) = state?;
        watch.enter(Phase::Source);
        let item = body.next().await;
        watch.enter(Phase::Service);
        let fault = match item {
            Some(Ok(bytes)) => {
                sent += u64::try_from(bytes.len()).unwrap_or_default();
                if length.is_none_or(|length| sent <= length) {
                    return Some((Ok(bytes), Some((body, sent, watch))));
                }
                wrong(sent)
            }
            None if length.is_none_or(|length| sent == length) => {
                watch.enter(Phase::Answer);
                return None;
            }
            None => wrong(sent),
            Some(Err(error)) => error,
        };
        watch.fail(fault);
        let ended = std::io::Error::other("the source of the upload failed");
        Some((Err(ended), None))
    })
}
