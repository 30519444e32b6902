//! Answers that are streams of bytes.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use raksha_core::{Error, Kind, Result};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, RANGE};
use ring::digest;

use super::transport::{self, Call, Content, Reading};
use super::{Client, Request, Service, problem};

/// An answer whose bytes come as they are asked for, so that memory stays bounded.
///
/// What breaks off or stands still is taken up again where it was, by `Range` where the service knows that and by reading over the beginning where it does
/// not. It keeps one of the service's places for streams until it has ended or is dropped.
#[non_exhaustive]
pub struct Download {
    /// How many bytes there are, if the service says so. The stream ends with an error if there are fewer.
    pub length: Option<u64>,
    /// The bytes.
    pub stream: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
    headers: HeaderMap,
    operation: &'static str,
}

/// The algorithms by which images name their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512, Glance's own choice.
    Sha512,
}

impl ChecksumAlgorithm {
    /// The algorithm that an image's `os_hash_algo` names; none if it is not known here.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl Download {
    /// The header of this name, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The same, ending with [`Kind::Corrupt`] if the bytes' checksum is not `expected` (hexadecimal), or if they are not all there.
    #[must_use]
    pub fn verified(self, algorithm: ChecksumAlgorithm, expected: &str) -> Self {
        let Self {
            length,
            stream,
            headers,
            operation,
        } = self;
        let start = (
            stream,
            digest::Context::new(algorithm.algorithm()),
            expected.to_lowercase(),
        );
        let stream = stream::try_unfold(
            start,
            move |(mut stream, mut context, expected)| async move {
                if let Some(bytes) = stream.try_next().await? {
                    context.update(&bytes);
                    return Ok(Some((bytes, (stream, context, expected))));
                }
                let found = hex(context.finish().as_ref());
                if found == expected {
                    return Ok(None);
                }
                let message =
                    "the bytes received are not those that were stored: their checksum differs";
                Err(Error::new(Kind::Corrupt, operation, message)
                    .with("expected", expected)
                    .with("found", found))
            },
        );
        Self {
            length,
            stream: Box::pin(stream),
            headers,
            operation,
        }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Client {
    /// Begins to receive what `request` asks for.
    ///
    /// # Errors
    /// As [`send`](Self::send), here and in the stream; there they name the byte at which it stopped.
    pub async fn download(&self, service: Service, request: Request) -> Result<Download> {
        let operation = request.operation;
        let call = self.0.call(service, request).await?;
        let (open, headers) = open(self, &call).await?;
        let length = number(&headers, CONTENT_LENGTH.as_str());
        let state = Receiving {
            client: self.clone(),
            call,
            open: Some(open),
            position: 0,
            skip: 0,
            length,
            identity: identity(&headers),
            failures: 0,
        };
        let stream = stream::try_unfold(state, Receiving::next);
        Ok(Download {
            length,
            stream: stream.fuse().boxed(),
            headers,
            operation,
        })
    }
}

/// A download under way.
struct Receiving {
    client: Client,
    call: Call,
    open: Option<transport::Stream>,
    /// How many bytes were handed on.
    position: u64,
    /// How many more were handed on already and come again.
    skip: u64,
    length: Option<u64>,
    identity: Option<HeaderValue>,
    /// Since bytes last came.
    failures: u32,
}

impl Receiving {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let stall = self.client.0.transport.options().stall;
            let error = match &mut self.open {
                None => match self.resume().await {
                    Ok(()) => continue,
                    Err(error) if error.is_retryable() => error,
                    Err(error) => return Err(self.at(error)),
                },
                Some(open) => match tokio::time::timeout(stall, open.response.chunk()).await {
                    Err(_) => stalled(&self.call, stall),
                    Ok(Err(source)) => problem::broken(&self.call, source),
                    Ok(Ok(Some(bytes))) => match self.accept(bytes)? {
                        Some(bytes) => return Ok(Some((bytes, self))),
                        None => continue,
                    },
                    Ok(Ok(None)) if self.length.is_none_or(|all| all == self.position) => {
                        return Ok(None);
                    }
                    Ok(Ok(None)) => {
                        let message = "the stream ended before all of it had come";
                        problem::corrupt(&self.call, None, message)
                    }
                },
            };
            self.open = None;
            self.failures += 1;
            let pause = self.client.0.transport.may_repeat(self.failures + 1, None);
            let Some(pause) = pause else {
                return Err(self.at(error));
            };
            tracing::debug!(%error, position = self.position, "the download is taken up again");
            tokio::time::sleep(pause).await;
        }
    }

    /// What of `bytes` is new.
    fn accept(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>> {
        let known = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let new = bytes.split_off(known);
        self.skip -= u64::try_from(known).unwrap_or_default();
        if new.is_empty() {
            return Ok(None);
        }
        self.failures = 0;
        self.position += u64::try_from(new.len()).unwrap_or_default();
        if self.length.is_some_and(|all| self.position > all) {
            let message = "more bytes came than there should be";
            return Err(self.at(problem::corrupt(&self.call, None, message)));
        }
        Ok(Some(new))
    }

    async fn resume(&mut self) -> Result<()> {
        self.call.headers.remove(RANGE);
        if self.position > 0 {
            let range = format!("bytes={}-", self.position);
            if let Ok(value) = HeaderValue::from_str(&range) {
                self.call.headers.insert(RANGE, value);
            }
        }
        let (stream, headers) = open(&self.client, &self.call).await?;
        if identity(&headers) != self.identity && identity(&headers).is_some() {
            let message = "what is downloaded has changed meanwhile";
            return Err(problem::corrupt(
                &self.call,
                transport::request_id(&headers),
                message,
            ));
        }
        self.skip = if stream.response.status() == StatusCode::PARTIAL_CONTENT {
            let range = headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
            let start = range.and_then(|range| {
                let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
                start.parse::<u64>().ok()
            });
            if start != Some(self.position) {
                let message = "the service answered with another range than was asked for";
                let error = problem::corrupt(&self.call, transport::request_id(&headers), message);
                return Err(error.with("range", range.unwrap_or("none")));
            }
            0
        } else {
            self.position
        };
        self.open = Some(stream);
        Ok(())
    }

    fn at(&self, error: Error) -> Error {
        error.with("at byte", self.position)
    }
}

async fn open(client: &Client, call: &Call) -> Result<(transport::Stream, HeaderMap)> {
    let reply = client.0.exchange(call, Reading::Stream).await?;
    match reply.content {
        Content::Stream(stream) => Ok((stream, reply.headers)),
        Content::Whole(body) => Err(problem::refused(
            call,
            reply.status,
            &problem::words(&body),
            transport::request_id(&reply.headers),
        )),
    }
}

/// What tells one content from another.
fn identity(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get("content-md5").or(headers.get(ETAG)).cloned()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn stalled(call: &Call, after: Duration) -> Error {
    problem::late(call, after).with("what", "no bytes came")
}
