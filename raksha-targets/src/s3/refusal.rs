//! What S3 refuses, said so that the guard understands it: how long to wait, what may pass, what is full.

use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpService, ReqwestConnector,
};

use crate::layers::Refusal;

const NO_BUCKET: &str = "NoSuchBucket";

/// Makes clients whose refusals are [`Refusal`]s.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Client(client)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // object_store has no names for what becomes of a listing.
        let lists = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("list-type=2"));
        let response = self.0.execute(request).await?;
        let status = response.status().as_u16();
        // What object_store has a name for, whatever the body says.
        if status < 400 || (matches!(status, 401 | 412) && !lists) {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let (parts, body) = response.into_parts();
        let body = body.bytes().await?;
        let text = String::from_utf8_lossy(&body);
        let refusal = match lists && matches!(status, 401 | 403) {
            true => Some(Refusal::new(status, retry_after, code(&text)).denied()),
            false => refusal(status, retry_after, &text),
        };
        match refusal {
            Some(refusal) => Err(HttpError::new(HttpErrorKind::Unknown, refusal)),
            None => Ok(HttpResponse::from_parts(parts, body.into())),
        }
    }
}

/// Whether `error` says that there is no bucket of that name.
pub(super) fn is_for_want_of_a_bucket(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |error| error.source());
    errors.any(|error| {
        let refusal = error.downcast_ref::<Refusal>();
        refusal.is_some_and(|refusal| refusal.message == NO_BUCKET)
    })
}

/// The code in an answer's body.
fn code(body: &str) -> &str {
    body.split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map_or("", |(code, _)| code)
}

/// The refusal that an answer is; nothing if object_store has a name for it.
///
/// The codes are those of *Amazon S3 API Reference, Error responses*; `QuotaExceeded` is the RADOS Gateway's, `XMinioStorageFull` MinIO's.
fn refusal(status: u16, retry_after: Option<Duration>, body: &str) -> Option<Refusal> {
    let code = code(body);
    let refusal = Refusal::new(status, retry_after, code);
    match code {
        "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" => Some(refusal.full()),
        // Somebody else is just writing the same name: who won is seen by coming again.
        "ConditionalRequestConflict" | "OperationAborted" | "RequestTimeout" => {
            Some(refusal.retryable(true))
        }
        // Not the object: all of them are gone.
        NO_BUCKET => Some(refusal),
        _ if matches!(status, 403 | 404 | 409) => None,
        _ => Some(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_what_the_status_leaves_open() {
        let body = |code| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        let of = |status, code| refusal(status, None, &body(code));
        let busy = of(503, "SlowDown").unwrap();
        assert!(
            busy.retryable && busy.to_string().contains("SlowDown"),
            "{busy}"
        );
        assert!(of(409, "ConditionalRequestConflict").unwrap().retryable);
        assert!(of(400, "RequestTimeout").unwrap().retryable);
        let full = of(403, "QuotaExceeded").unwrap();
        assert!(!full.retryable);
        let error = object_store::Error::Generic {
            store: "S3",
            source: Box::new(full),
        };
        let error = raksha_core::Error::object("store", &"o".into(), error);
        assert_eq!(error.kind(), raksha_core::Kind::Full, "{error}");
        assert!(of(404, "NoSuchKey").is_none() && !of(404, NO_BUCKET).unwrap().retryable);
        assert!(of(403, "AccessDenied").is_none() && of(409, "BucketNotEmpty").is_none());
        assert!(!of(501, "NotImplemented").unwrap().retryable);
        assert!(!of(416, "InvalidRange").unwrap().retryable);
    }
}
