//! A target in a directory that is filled without syncing.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use raksha_core::store::{Appended, ManifestCatalog, ObjectCatalog};
use raksha_targets::Directory;

/// What [`Directory`] is, and the log in it, but objects are written as plain files, with nothing synced: to make in minutes what would grow in a year. Not for
/// measuring.
#[derive(Debug)]
pub struct Quick {
    inner: Arc<Directory>,
    root: PathBuf,
}

impl Quick {
    pub fn new(inner: Arc<Directory>, root: PathBuf) -> Self {
        Self { inner, root }
    }

    /// Makes an object of so many bytes, which are zeroes and take no room.
    pub fn pretend(&self, location: &Path, bytes: u64) -> std::io::Result<()> {
        let path = self.root.join(location.as_ref());
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        File::create(path)?.set_len(bytes)
    }

    fn write(&self, location: &Path, payload: &PutPayload, create: bool) -> std::io::Result<()> {
        let path = self.root.join(location.as_ref());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.create_new(create);
        let mut file = match options.open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                options.open(&path)?
            }
            file => file?,
        };
        payload.iter().try_for_each(|bytes| file.write_all(bytes))
    }
}

impl fmt::Display for Quick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} without syncing", self.inner)
    }
}

#[async_trait]
impl ManifestCatalog for Quick {
    async fn append(&self, number: u64, entry: Bytes) -> raksha_core::Result<Appended> {
        let location = ObjectCatalog::location(number);
        match self.write(&location, &entry.into(), true) {
            Ok(()) => Ok(Appended::Done),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Appended::Taken),
            Err(e) => Err(raksha_core::Error::io("append to log", e)),
        }
    }

    async fn read(&self, number: u64, limit: usize) -> raksha_core::Result<Vec<Bytes>> {
        let mut entries = Vec::new();
        for number in (number..).take(limit) {
            let location = ObjectCatalog::location(number);
            match fs::read(self.root.join(location.as_ref())) {
                Ok(bytes) => entries.push(bytes.into()),
                Err(e) if e.kind() == ErrorKind::NotFound => break,
                Err(e) => return Err(raksha_core::Error::io("read log", e)),
            }
        }
        Ok(entries)
    }
}

#[async_trait]
impl ObjectStore for Quick {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let create = matches!(options.mode, PutMode::Create);
        match self.write(location, &payload, create) {
            Ok(()) => Ok(PutResult {
                e_tag: None,
                version: None,
                extensions: Default::default(),
            }),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(Error::AlreadyExists {
                path: location.to_string(),
                source: e.into(),
            }),
            Err(e) => Err(Error::Generic {
                store: "quick",
                source: e.into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
