//! Object lock: retention of single objects, which object_store has no words for. (*Amazon S3 API Reference*, `GetObjectRetention` and
//! `PutObjectRetention`.)

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpResponse};
use object_store::path::Path;
use raksha_core::{Error, Kind, Result};
use url::Url;

use crate::retention::{Held, Retention};

/// Attempts at a request, and the pause before the second; it doubles.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Reads and sets the retention of a bucket's objects.
#[derive(Debug)]
pub(super) struct ObjectLock {
    pub(super) client: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    pub(super) region: String,
    /// The URL of the bucket, to which prefix and name are added.
    pub(super) bucket: Url,
    pub(super) prefix: Path,
}

#[async_trait]
impl Retention for ObjectLock {
    async fn held(&self, location: &Path) -> Result<Option<Held>> {
        const OPERATION: &str = "look up retention";
        let (status, body) = self.ask(OPERATION, "GET", location, String::new()).await?;
        let code = between(&body, "Code").unwrap_or_default();
        match (status, code) {
            (200, _) => read(&body).map(Some),
            (404, "NoSuchKey" | "") => Err(error(Kind::NotFound, OPERATION, "it is not there")),
            // The object has none; or the bucket has no object lock, which setting it will say.
            (400 | 404, _) => Ok(None),
            _ => Err(refused(OPERATION, status, code)),
        }
        .map_err(|e| e.with("object", location))
    }

    async fn hold(&self, location: &Path, held: Held) -> Result<()> {
        const OPERATION: &str = "set retention";
        let mode = match held.binds_all {
            true => "COMPLIANCE",
            false => "GOVERNANCE",
        };
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            held.until
        );
        let (status, body) = self.ask(OPERATION, "PUT", location, body).await?;
        let code = between(&body, "Code").unwrap_or_default();
        match (status, code) {
            (200 | 204, _) => Ok(()),
            (404, "NoSuchKey") => Err(error(Kind::NotFound, OPERATION, "it is not there")),
            (400 | 404 | 409, _) => Err(error(
                Kind::Unsupported,
                OPERATION,
                "the bucket has no object lock: only a bucket that was made with it can keep objects",
            )),
            _ => Err(refused(OPERATION, status, code)),
        }
        .map_err(|e| e.with("object", location))
    }
}

impl ObjectLock {
    /// Asks about an object's retention until there is an answer; gives its status and body.
    async fn ask(
        &self,
        operation: &'static str,
        method: &'static str,
        location: &Path,
        body: String,
    ) -> Result<(u16, String)> {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let request = self.request(operation, method, location, &body).await?;
            let answer = tokio::time::timeout(ATTEMPT, self.client.execute(request)).await;
            let failure = match answer {
                Ok(Ok(response)) => return text(operation, response).await,
                Ok(Err(failure)) => {
                    let generic = object_store::Error::Generic {
                        store: "S3",
                        source: Box::new(failure),
                    };
                    Error::object(operation, location, generic)
                }
                Err(_) => error(Kind::Timeout, operation, "no answer within 30 s"),
            };
            let passes = matches!(failure.kind(), Kind::Unavailable | Kind::Timeout);
            if !passes || attempt == ATTEMPTS {
                return Err(failure.with("object", location));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(error(Kind::Internal, operation, "no attempt was made"))
    }

    async fn request(
        &self,
        operation: &'static str,
        method: &'static str,
        location: &Path,
        body: &str,
    ) -> Result<HttpRequest> {
        let unfit = |e: Box<dyn std::error::Error + Send + Sync>| {
            error(Kind::Invalid, operation, "the address cannot be asked").caused_by(e)
        };
        let mut url = self.bucket.clone();
        url.path_segments_mut()
            .map_err(|()| unfit("it is no base".into()))?
            .pop_if_empty()
            .extend(
                self.prefix
                    .parts()
                    .chain(location.parts())
                    .map(|p| p.as_ref().to_owned()),
            );
        url.set_query(Some("retention="));
        let mut request = HttpRequest::new(body.to_owned().into());
        *request.method_mut() = method.parse().map_err(|_| unfit("no method".into()))?;
        *request.uri_mut() = url.as_str().parse().map_err(|_| unfit("no URL".into()))?;
        // S3 wants a checksum of what locks.
        let checksum = BASE64_STANDARD.encode(Md5::digest(body));
        let checksum = checksum.parse().map_err(|_| unfit("no header".into()))?;
        request.headers_mut().insert("content-md5", checksum);
        let credentials = self.credentials.get_credential().await;
        let credentials = credentials.map_err(|e| Error::object(operation, location, e))?;
        AwsAuthorizer::new(&credentials, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|e| Error::object(operation, location, e))?;
        Ok(request)
    }
}

async fn text(operation: &'static str, response: HttpResponse) -> Result<(u16, String)> {
    let status = response.status().as_u16();
    let (_, body) = response.into_parts();
    let bytes = body
        .bytes()
        .await
        .map_err(|e| error(Kind::Unavailable, operation, "the answer breaks off").caused_by(e))?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// What an answer says of the retention of an object.
fn read(body: &str) -> Result<Held> {
    let garbled = || {
        let message = "the answer is not understood";
        error(Kind::Corrupt, "look up retention", message)
    };
    let mode = between(body, "Mode").ok_or_else(garbled)?;
    let until = between(body, "RetainUntilDate").ok_or_else(garbled)?;
    Ok(Held {
        until: until.parse().map_err(|e| garbled().caused_by(e))?,
        binds_all: mode != "GOVERNANCE",
    })
}

fn between<'a>(body: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{tag}>"))?;
    let (inside, _) = rest.split_once(&format!("</{tag}>"))?;
    Some(inside.trim())
}

fn refused(operation: &'static str, status: u16, code: &str) -> Error {
    let (kind, message) = match status {
        401 | 403 => (
            Kind::Denied,
            "this principal may not: it needs s3:GetObjectRetention and s3:PutObjectRetention",
        ),
        _ => (Kind::Unavailable, "the service refuses"),
    };
    error(kind, operation, message)
        .with("status", status)
        .with("code", code.to_owned())
}

fn error(kind: Kind, operation: &'static str, message: &'static str) -> Error {
    Error::new(kind, operation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let body = "<?xml version=\"1.0\"?><Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode><RetainUntilDate>2026-11-28T03:25:04.424059123Z</RetainUntilDate></Retention>";
        let held = read(body).unwrap();
        assert_eq!(held.until.to_string(), "2026-11-28T03:25:04.424Z");
        assert!(held.binds_all);
        for garbled in [
            "",
            "<Mode>GOVERNANCE</Mode>",
            "<Mode>x</Mode><RetainUntilDate>soon</RetainUntilDate>",
        ] {
            assert_eq!(read(garbled).unwrap_err().kind(), Kind::Corrupt);
        }
    }
}
