//! A container as an object store.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, Extensions, GetOptions, GetRange, GetResult,
    GetResultPayload, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, RenameTargetMode, Result, coalesce_ranges,
};
use raksha_core::env::Env;
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::client::{
    Connection, Request, garbled, generic, lost, number, object_path, quoted, text,
};
use super::limits::{Limits, about};
use super::upload::Upload;

/// An object store in a container of Swift.
#[derive(Debug, Clone)]
pub(super) struct Swift {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) connection: Connection,
    pub(super) container: String,
    /// The container of the segments of large objects.
    pub(super) segments: String,
    pub(super) limits: Limits,
    pub(super) env: Env,
}

impl Inner {
    /// Makes a container, which may be there already.
    pub(super) async fn make_container(&self, container: &str) -> Result<()> {
        let path = format!("/{}", quoted(container));
        let request = Request::new(Method::PUT, path, &about(container));
        self.connection.send(request).await.map(drop)
    }

    /// Whether there is a container of that name.
    pub(super) async fn has_container(&self, container: &str) -> Result<bool> {
        let path = format!("/{}", quoted(container));
        let request = Request::new(Method::HEAD, path, &about(container));
        match self.connection.send(request).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Stores an object. Swift compares its bytes with the digest that we send, and we what it says it stored.
    pub(super) async fn put(
        &self,
        container: &str,
        location: &Path,
        payload: PutPayload,
        headers: &[(&'static str, &str)],
    ) -> Result<PutResult> {
        let hashed = payload.clone();
        let digest = self.env.compute(move || {
            let mut md5 = Md5::new();
            hashed.iter().for_each(|bytes| md5.update(bytes));
            hex(&md5.finalize())
        });
        let digest = digest.await.map_err(generic)?;
        let path = object_path(container, location.as_ref());
        let mut request = Request::new(Method::PUT, path, location)
            .header("ETag", &digest)
            .header("Content-Type", "application/octet-stream")
            .body(payload);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = self.connection.send(request).await?;
        match text(response.headers(), "etag").map(|tag| tag.trim_matches('"')) {
            Some(tag) if tag == digest => Ok(PutResult {
                e_tag: Some(digest),
                version: None,
                extensions: Extensions::default(),
            }),
            tag => {
                let message = format!("sent {digest}, stored {}", tag.unwrap_or("nothing known"));
                Err(generic(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    message,
                )))
            }
        }
    }

    async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let GetOptions { range, head, .. } = &options;
        let method = if *head { Method::HEAD } else { Method::GET };
        let path = object_path(&self.container, location.as_ref());
        let mut request = Request::new(method, path, location);
        // The size of what is asked about is not known yet.
        if let Some(range) = range.as_ref().filter(|_| !*head) {
            range.as_range(u64::MAX).map_err(invalid_range)?;
            request = request.header("Range", range_header(range));
        }
        let response = self.connection.send(request).await?;
        let headers = response.headers();
        let length = number(headers, "content-length");
        let length = length.ok_or_else(|| garbled("an object without a length"))?;
        let (size, given) = match response.status().as_u16() {
            206 => content_range(headers).ok_or_else(|| garbled("a range without a place"))?,
            _ => (length, 0..length),
        };
        let wanted = match range {
            Some(range) if !*head => range.as_range(size).map_err(invalid_range)?,
            _ => 0..size,
        };
        if given != wanted {
            return Err(garbled(&format!("bytes {given:?} for {wanted:?}")));
        }
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: modified(headers).ok_or_else(|| garbled("an object without a time"))?,
            size,
            e_tag: text(headers, "etag").map(|tag| tag.trim_matches('"').to_owned()),
            version: None,
        };
        // Not every server understands every condition, but all tell what they have.
        options.check_preconditions(&meta)?;
        let payload = match head {
            true => stream::empty().boxed(),
            false => response.bytes_stream().map_err(lost).boxed(),
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range: wanted,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn range_header(range: &GetRange) -> String {
    match range {
        GetRange::Bounded(r) => format!("bytes={}-{}", r.start, r.end.saturating_sub(1)),
        GetRange::Offset(start) => format!("bytes={start}-"),
        GetRange::Suffix(length) => format!("bytes=-{length}"),
    }
}

/// The size of the whole and the place of the part, from `bytes 3-7/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Range<u64>)> {
    let range = text(headers, "content-range")?.strip_prefix("bytes ")?;
    let (place, size) = range.split_once('/')?;
    let (first, last) = place.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    Some((
        size.parse().ok()?,
        first.parse().ok()?..last.checked_add(1)?,
    ))
}

/// When an object was stored: exactly where the server says it so, else to the second.
fn modified(headers: &HeaderMap) -> Option<DateTime<chrono::Utc>> {
    let exact = text(headers, "x-timestamp").and_then(|stamp| {
        let (seconds, fraction) = stamp.split_once('.').unwrap_or((stamp, ""));
        let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        DateTime::from_timestamp(seconds.parse().ok()?, nanos)
    });
    exact.or_else(|| {
        let date = DateTime::parse_from_rfc2822(text(headers, "last-modified")?);
        Some(date.ok()?.to_utc())
    })
}

fn invalid_range(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    generic(io::Error::new(io::ErrorKind::InvalidInput, source))
}

fn unsupported(what: &str) -> Error {
    Error::NotImplemented {
        operation: what.into(),
        implementer: "Swift".into(),
    }
}

fn exists(location: &Path) -> Error {
    Error::AlreadyExists {
        path: location.to_string(),
        source: "an object of this name is there".into(),
    }
}

impl Swift {
    /// Refuses what is there. Another writer may come in between: Swift cannot exclude that, and says so in its capabilities.
    async fn must_be_absent(&self, location: &Path) -> Result<()> {
        match self.head(location).await {
            Ok(_) => Err(exists(location)),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl fmt::Display for Swift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swift container {}", self.inner.container)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Swift {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let PutOptions {
            mode,
            tags: _,
            attributes,
            extensions: _,
        } = options;
        if !attributes.is_empty() {
            return Err(unsupported("attributes of objects"));
        }
        let container = &self.inner.container;
        match mode {
            PutMode::Overwrite => self.inner.put(container, location, payload, &[]).await,
            PutMode::Create => {
                // The RADOS Gateway ignores the condition, so that asking first is all there is.
                self.must_be_absent(location).await?;
                let absent = [("If-None-Match", "*")];
                match self.inner.put(container, location, payload, &absent).await {
                    Err(Error::Precondition { .. }) => Err(exists(location)),
                    put => put,
                }
            }
            PutMode::Update(_) => Err(unsupported("a conditional update")),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let PutMultipartOptions {
            tags: _,
            attributes,
            extensions: _,
        } = options;
        if !attributes.is_empty() || self.inner.limits.segments.is_none() {
            return Err(unsupported("this kind of large object here"));
        }
        let upload = Upload::begin(Arc::clone(&self.inner), location.clone()).await?;
        Ok(Box::new(upload))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return Err(unsupported("versions by name"));
        }
        self.inner.get(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let fetch = |range| self.get_range(location, range);
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        Arc::clone(&self.inner).delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_level(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let CopyOptions {
            mode,
            extensions: _,
        } = options;
        if mode == CopyMode::Create {
            self.must_be_absent(to).await?;
        }
        let source = object_path(&self.inner.container, from.as_ref());
        let path = object_path(&self.inner.container, to.as_ref());
        let request = Request::new(Method::PUT, path, from).header("X-Copy-From", source);
        self.inner.connection.send(request).await.map(drop)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let RenameOptions {
            target_mode,
            extensions,
        } = options;
        let mode = match target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions { mode, extensions })
            .await?;
        self.delete(from).await
    }
}
