//! A namespace of a pool as an object store.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, Extensions, GetOptions, GetRange, GetResult,
    GetResultPayload, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, RenameTargetMode, Result, coalesce_ranges,
};
use raksha_core::env::Env;

use super::errors::{failed, generic};
use super::ffi::{Pool, Read};
use super::index::{Entry, Index, Known, random, seconds};

/// Read with the question what an object is: most of those that are not packs fit.
const FIRST: usize = 256 << 10;

/// Read at once further on.
const CHUNK: u64 = 8 << 20;

/// Deletes under way at once.
const DELETES: usize = 16;

/// An object store in a namespace of a pool.
#[derive(Clone)]
pub(super) struct Rados {
    pub(super) inner: Arc<Inner>,
}

/// Its functions block, unless they are async.
pub(super) struct Inner {
    pub(super) data: Pool,
    pub(super) index: Index,
    /// The largest object, in bytes.
    pub(super) largest: u64,
    pub(super) env: Env,
    pub(super) description: String,
}

/// How often a delete begins again that meets writers of the same name.
const PATIENCE: usize = 8;

impl Inner {
    /// Stores an object and sees to its entry: see the head of `index.rs`.
    fn store(&self, name: &str, bytes: &[u8], exclusive: bool) -> io::Result<String> {
        let tag = random(&self.env)?;
        let modified = seconds(&self.env);
        let open = Entry::open(&self.env)?;
        // Who creates must not open the entry of an object that is there, since it would be left open for nothing.
        let opened = match exclusive {
            true => self.index.replace(name, "", Some(&open))?,
            false => self.index.set(name, &open).map(|()| true)?,
        };
        self.data.write(name, bytes, &tag, modified, exclusive)?;
        let known = Known {
            size: bytes.len() as u64,
            modified,
            tag: tag.clone(),
        };
        let closed = opened
            && self
                .index
                .replace(name, &open.write(), Some(&Entry::Closed(known)))
                // The object is stored, and an entry that stays open says nothing wrong.
                .unwrap_or(true);
        if !closed {
            self.index.set(name, &Entry::open(&self.env)?)?;
        }
        Ok(tag)
    }

    /// Removes an object, which need not be there, and its entry.
    fn remove(&self, name: &str) -> io::Result<()> {
        for _ in 0..PATIENCE {
            let entry = self.index.entry(name)?;
            match self.data.remove(name) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let Some(entry) = entry else { return Ok(()) };
            if self.index.replace(name, &entry, None)? {
                return Ok(());
            }
        }
        // Somebody writes this name again and again: the entry is theirs.
        Ok(())
    }

    /// Runs `work` on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        location: &Path,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(generic)?
            .map_err(|e| failed(e, location.as_ref()))
    }

    async fn read(
        self: &Arc<Self>,
        location: &Path,
        offset: u64,
        length: usize,
    ) -> Result<(ObjectMeta, Bytes)> {
        let name = location.to_string();
        let read = self.blocking(location, move |inner| {
            inner.data.read(&name, offset, length)
        });
        let Read {
            size,
            modified,
            tag,
            bytes,
        } = read.await?;
        Ok((meta(location.clone(), size, modified, tag)?, bytes.into()))
    }

    /// The bytes of `range`, piece by piece, as long as it is the same object.
    fn pieces(
        self: Arc<Self>,
        meta: ObjectMeta,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold((self, meta, range), |(inner, meta, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let length = (range.end - range.start).min(CHUNK);
            let length = usize::try_from(length).map_err(generic)?;
            let (now, bytes) = inner.read(&meta.location, range.start, length).await?;
            if now != meta {
                return Err(Error::Precondition {
                    path: meta.location.to_string(),
                    source: "the object was replaced while it was read".into(),
                });
            }
            if bytes.is_empty() {
                return Err(generic(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
            let rest = range.start + bytes.len() as u64..range.end;
            Ok(Some((bytes, (inner, meta, rest))))
        })
        .boxed()
    }

    async fn get(self: &Arc<Self>, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = options.range.as_ref().filter(|_| !options.head);
        if let Some(range) = range {
            range.as_range(u64::MAX).map_err(invalid_range)?;
        }
        let (offset, length) = match range {
            _ if options.head => (0, 0),
            // Where it begins is known only with the size.
            Some(GetRange::Suffix(_)) => (0, 0),
            Some(GetRange::Offset(start)) => (*start, FIRST),
            Some(GetRange::Bounded(r)) => {
                let length = (r.end - r.start).min(CHUNK);
                (r.start, usize::try_from(length).map_err(generic)?)
            }
            None => (0, FIRST),
        };
        let (meta, first) = self.read(location, offset, length).await?;
        options.check_preconditions(&meta)?;
        let range = match range {
            Some(range) => range.as_range(meta.size).map_err(invalid_range)?,
            None => 0..meta.size,
        };
        let rest = range.start + first.len() as u64..range.end;
        let rest = Arc::clone(self).pieces(meta.clone(), rest);
        let payload = match options.head {
            true => stream::empty().boxed(),
            false => stream::iter((!first.is_empty()).then_some(Ok(first)))
                .chain(rest)
                .boxed(),
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }
}

/// What is said of an object whose time is `modified` seconds.
pub(super) fn meta(
    location: Path,
    size: u64,
    modified: i64,
    e_tag: Option<String>,
) -> Result<ObjectMeta> {
    let time = DateTime::from_timestamp(modified, 0);
    let outside = || io::Error::new(io::ErrorKind::InvalidData, "an object from another age");
    Ok(ObjectMeta {
        location,
        last_modified: time.ok_or_else(|| generic(outside()))?,
        size,
        e_tag,
        version: None,
    })
}

fn invalid_range(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    generic(io::Error::new(io::ErrorKind::InvalidInput, source))
}

fn unsupported(what: &str) -> Error {
    Error::NotImplemented {
        operation: what.into(),
        implementer: "RADOS".into(),
    }
}

impl fmt::Display for Rados {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.description)
    }
}

impl fmt::Debug for Rados {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rados")
            .field(&self.inner.description)
            .finish()
    }
}

impl Rados {
    async fn store(&self, location: &Path, bytes: Bytes, exclusive: bool) -> Result<PutResult> {
        let largest = self.inner.largest;
        if bytes.len() as u64 > largest {
            let message = format!(
                "{} bytes; this cluster takes objects of up to {largest} (osd_max_object_size, osd_max_write_size): choose a smaller pack size",
                bytes.len()
            );
            return Err(Error::NotSupported {
                source: message.into(),
            });
        }
        let name = location.to_string();
        let store = move |inner: &Inner| inner.store(&name, &bytes, exclusive);
        let tag = self.inner.blocking(location, store).await?;
        Ok(PutResult {
            e_tag: Some(tag),
            version: None,
            extensions: Extensions::default(),
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Rados {
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
        let exclusive = match mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return Err(unsupported("a conditional update")),
        };
        self.store(location, payload.into(), exclusive).await
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("an object in parts"))
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
        let inner = Arc::clone(&self.inner);
        locations
            .map(move |location| {
                let inner = Arc::clone(&inner);
                async move {
                    let location = location?;
                    let name = location.to_string();
                    let remove = move |inner: &Inner| inner.remove(&name);
                    inner.blocking(&location, remove).await?;
                    Ok(location)
                }
            })
            .buffered(DELETES)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        Arc::clone(&self.inner).list(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        Arc::clone(&self.inner).list(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_level(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let CopyOptions {
            mode,
            extensions: _,
        } = options;
        let bytes = self.get(from).await?.bytes().await?;
        self.store(to, bytes, mode == CopyMode::Create)
            .await
            .map(drop)
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
