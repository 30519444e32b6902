//! Objects as files in a directory.
//!
//! An object is there or not, whole or not at all, and what was reported as stored survives a loss of power: bytes are synced
//! before a file gets its name, and the directory that holds the name, and all directories that were made for it, before
//! success is reported. Of several creators of one name exactly one wins, also across processes: a hard link is made, which
//! the operating system does once. Crashed writers leave files behind that no listing shows and the next opening removes.
//!
//! `a` and `a/b` cannot both be objects here, as one is a file and the other wants a directory.

mod durable;
mod files;
mod source;
mod staging;
#[cfg(test)]
mod tests;
mod upload;
mod walk;

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Extensions, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode,
};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};

use durable::Directories;
use files::{Root, refused};
use source::Source;
use staging::{Publish, Staged, Staging};

/// Deletes that share the syncs of their directories.
const DELETE_BATCH: usize = 64;

/// How often a directory is made anew that somebody removes, because it is empty, before its first object arrives.
const DIRECTORY_ATTEMPTS: usize = 64;

/// An object store in a directory.
#[derive(Debug, Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Root,
    staging: Staging,
    directories: Directories,
}

impl Directory {
    /// Opens the directory at `path`, and makes it first if `create` says so and it is not there.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such directory, [`Kind::Invalid`] if it is a file, [`Kind::Denied`] if it may not be made.
    pub async fn open(path: impl Into<PathBuf>, create: bool, env: Env) -> Result<Self> {
        let path = path.into();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&path, create, env)).await;
        opened.map_err(|e| {
            Error::new(Kind::Internal, OPEN, "a worker thread did not finish").caused_by(e)
        })?
    }

    fn open_now(path: &FilePath, create: bool, env: Env) -> Result<Self> {
        let failed = |e| Error::io(OPEN, e).with("directory", path.display());
        if create {
            create_durably(path).map_err(failed)?;
        }
        let root = match path.canonicalize() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let remedy = "there is no such directory: create it, or mount what belongs there";
                return Err(
                    Error::new(Kind::NotFound, OPEN, remedy).with("directory", path.display())
                );
            }
            root => root.map_err(failed)?,
        };
        if !root.is_dir() {
            return Err(Error::new(Kind::Invalid, OPEN, "this is not a directory")
                .with("path", path.display()));
        }
        let staging = Staging::new(&root, env);
        // Who may only read sweeps nothing, and needs nothing swept.
        match staging.sweep() {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed what interrupted writers left behind"),
            Err(error) => tracing::debug!(%error, "left what interrupted writers left behind"),
        }
        Ok(Self {
            inner: Arc::new(Inner {
                staging,
                directories: Directories::new(root.clone()),
                root: Root::new(root),
            }),
        })
    }

    /// Runs `work` on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> object_store::Result<T> + Send + 'static,
    ) -> object_store::Result<T> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner)).await
    }
}

const OPEN: &str = "open directory";

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {}", self.inner.root.path().display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Directory {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let PutOptions {
            mode,
            tags: _,
            attributes,
            extensions: _,
        } = options;
        refuse_attributes(&attributes)?;
        let how = match mode {
            PutMode::Overwrite => Publish::Overwrite,
            PutMode::Create => Publish::Create,
            PutMode::Update(_) => return Err(unsupported("a conditional update")),
        };
        let location = location.clone();
        self.run(move |inner| {
            let mut staged = inner.stage(&location)?;
            for bytes in &payload {
                staged
                    .write(bytes)
                    .map_err(|e| refused("write", staged.path(), &location, e))?;
            }
            inner.publish(&mut staged, &location, how)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let PutMultipartOptions {
            tags: _,
            attributes,
            extensions: _,
        } = options;
        refuse_attributes(&attributes)?;
        let location = location.clone();
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let staged = inner.stage(&location)?;
            let upload = upload::Upload::new(inner, location, staged);
            Ok(Box::new(upload) as Box<dyn MultipartUpload>)
        })
        .await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let location = location.clone();
        self.run(move |inner| inner.source(location)?.get(&options))
            .await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        self.run(move |inner| {
            let mut source = inner.source(location)?;
            ranges.into_iter().map(|r| source.read_range(r)).collect()
        })
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let store = self.clone();
        locations
            .ready_chunks(DELETE_BATCH)
            .then(move |batch| {
                let store = store.clone();
                async move {
                    let results = store.run(move |inner| Ok(inner.delete(batch))).await;
                    stream::iter(results.unwrap_or_else(|e| vec![Err(e)]))
                }
            })
            .flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        walk::list(self.inner.root.clone(), prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        walk::list(self.inner.root.clone(), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let prefix = prefix.cloned();
        self.run(move |inner| walk::list_level(&inner.root, prefix.as_ref()))
            .await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        let CopyOptions {
            mode,
            extensions: _,
        } = options;
        let how = match mode {
            CopyMode::Overwrite => Publish::Overwrite,
            CopyMode::Create => Publish::Create,
        };
        let (from, to) = (from.clone(), to.clone());
        self.run(move |inner| inner.copy(from, &to, how)).await
    }

    async fn rename_opts(
        &self,
        from: &Path,
        to: &Path,
        options: RenameOptions,
    ) -> object_store::Result<()> {
        let RenameOptions {
            target_mode,
            extensions: _,
        } = options;
        let how = match target_mode {
            RenameTargetMode::Overwrite => Publish::Overwrite,
            RenameTargetMode::Create => Publish::Create,
        };
        let (from, to) = (from.clone(), to.clone());
        self.run(move |inner| {
            inner.copy(from.clone(), &to, how)?;
            inner
                .delete(vec![Ok(from)])
                .into_iter()
                .try_for_each(|r| r.map(drop))
        })
        .await
    }
}

impl Inner {
    fn stage(&self, location: &Path) -> object_store::Result<Staged> {
        // The name is checked before anything is written.
        let to = self.root.file(location)?;
        self.staging
            .create()
            .map_err(|e| refused("write", &to, location, e))
    }

    /// Makes the staged bytes the object at `location`, durably.
    fn publish(
        &self,
        staged: &mut Staged,
        location: &Path,
        how: Publish,
    ) -> object_store::Result<PutResult> {
        let to = self.root.file(location)?;
        let failed = |e| refused("write", &to, location, e);
        let parent = to.parent().unwrap_or(self.root.path());
        staged.file().sync_all().map_err(failed)?;
        let e_tag = source::e_tag(&staged.file().metadata().map_err(failed)?);
        let mut attempt = 1;
        loop {
            let made = self.directories.ensure(parent);
            match made.and_then(|()| staged.publish(&to, how)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < DIRECTORY_ATTEMPTS => {
                    self.directories.forget(parent);
                    attempt += 1;
                }
                published => break published.map_err(failed)?,
            }
        }
        self.directories.sync(parent).map_err(failed)?;
        Ok(PutResult {
            e_tag: Some(e_tag),
            version: None,
            extensions: Extensions::default(),
        })
    }

    fn source(&self, location: Path) -> object_store::Result<Source> {
        Source::open(self.root.file(&location)?, location)
    }

    fn copy(&self, from: Path, to: &Path, how: Publish) -> object_store::Result<()> {
        let mut source = self.source(from)?;
        let mut staged = self.stage(to)?;
        source.copy_to(staged.file(), to)?;
        self.publish(&mut staged, to, how).map(drop)
    }

    /// Deletes objects, which need not be there, and the directories that this leaves empty.
    fn delete(&self, batch: Vec<object_store::Result<Path>>) -> Vec<object_store::Result<Path>> {
        let mut touched: Vec<(PathBuf, Path)> = Vec::new();
        let mut results: Vec<_> = batch
            .into_iter()
            .map(|location| {
                let location = location?;
                let path = self.root.file(&location)?;
                match std::fs::remove_file(&path) {
                    Ok(()) => {
                        let parent = path.parent().unwrap_or(self.root.path());
                        if !touched.iter().any(|(t, _)| t == parent) {
                            touched.push((parent.to_path_buf(), location.clone()));
                        }
                    }
                    Err(e)
                        if matches!(
                            e.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                        ) => {}
                    Err(e) => return Err(refused("delete", &path, &location, e)),
                }
                Ok(location)
            })
            .collect();
        for (directory, location) in touched {
            if let Err(e) = self.directories.sync(&directory) {
                results.push(Err(refused("delete", &directory, &location, e)));
            }
            self.directories.remove_empty(&directory);
        }
        results
    }
}

fn refuse_attributes(attributes: &Attributes) -> object_store::Result<()> {
    match attributes.is_empty() {
        true => Ok(()),
        false => Err(unsupported("attributes of objects")),
    }
}

fn unsupported(what: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: what.into(),
        implementer: "a directory".into(),
    }
}

/// Makes a directory and those above it, each with a durable name.
fn create_durably(path: &FilePath) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => FilePath::new("."),
    };
    if path.parent().is_some() {
        create_durably(above)?;
    }
    match std::fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    File::open(above)?.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> object_store::Result<T> + Send + 'static,
) -> object_store::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| {
        Err(object_store::Error::Generic {
            store: "directory",
            source: e.into(),
        })
    })
}
