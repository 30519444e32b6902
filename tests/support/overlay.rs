//! A target that can be damaged and repaired: an overlay on an intact one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What an object seems to be.
#[derive(Debug, Clone)]
enum Seeming {
    Missing,
    /// The object alone in a store of its own.
    Other(Arc<InMemory>),
}

#[derive(Debug, Default)]
struct Mischief {
    objects: BTreeMap<Path, Seeming>,
    /// Writes are refused with this error, after so many more have succeeded.
    refusal: Option<(io::ErrorKind, u64)>,
    /// Writes under this prefix are never answered.
    held_up: Option<String>,
    /// The answers of so many writes are lost: they are done, and an error is given.
    lost: u64,
}

/// Shows the objects of `inner`, some of them damaged or missing, and refuses to write on demand. What is written goes to `inner`.
#[derive(Debug, Clone)]
pub struct Overlay {
    inner: Arc<dyn ObjectStore>,
    mischief: Arc<Mutex<Mischief>>,
}

impl Overlay {
    /// Shows `inner` as it is.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            mischief: Arc::default(),
        }
    }

    /// From now on the object seems to hold `bytes`.
    pub async fn replace(&self, location: &Path, bytes: Vec<u8>) {
        let alone = InMemory::new();
        alone.put(location, bytes.into()).await.unwrap();
        self.seem(location, Seeming::Other(Arc::new(alone)));
    }

    /// From now on the object seems not to be there.
    pub fn remove(&self, location: &Path) {
        self.seem(location, Seeming::Missing);
    }

    /// Everything is again as it is.
    pub fn repair(&self) {
        *self.mischief.lock().unwrap() = Mischief::default();
    }

    /// After `more` further writes, all are refused with `error`.
    pub fn refuse_writes(&self, error: io::ErrorKind, more: u64) {
        self.mischief.lock().unwrap().refusal = Some((error, more));
    }

    /// From now on no write under `prefix` comes to an end.
    pub fn hold_up(&self, prefix: &str) {
        self.mischief.lock().unwrap().held_up = Some(prefix.to_owned());
    }

    /// The next `n` writes are done if they can be, and whoever asked for them never learns it.
    pub fn lose_answers(&self, n: u64) {
        self.mischief.lock().unwrap().lost = n;
    }

    fn is_held_up(&self, location: &Path) -> bool {
        let mischief = self.mischief.lock().unwrap();
        let prefix = mischief.held_up.as_deref();
        prefix.is_some_and(|prefix| location.as_ref().starts_with(prefix))
    }

    fn answer_is_lost(&self) -> bool {
        let lost = &mut self.mischief.lock().unwrap().lost;
        let is = *lost > 0;
        *lost = lost.saturating_sub(1);
        is
    }

    fn seem(&self, location: &Path, seeming: Seeming) {
        let mut mischief = self.mischief.lock().unwrap();
        mischief.objects.insert(location.clone(), seeming);
    }

    fn seeming(&self, location: &Path) -> Option<Seeming> {
        self.mischief.lock().unwrap().objects.get(location).cloned()
    }

    fn may_write(&self) -> Result<()> {
        match &mut self.mischief.lock().unwrap().refusal {
            Some((kind, 0)) => Err(Error::Generic {
                store: "overlay",
                source: Box::new(io::Error::from(*kind)),
            }),
            Some((_, more)) => {
                *more -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What is listed and not missing.
    fn present(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let overlay = self.clone();
        listing
            .filter(move |item| {
                let missing = item.as_ref().is_ok_and(|meta| {
                    matches!(overlay.seeming(&meta.location), Some(Seeming::Missing))
                });
                std::future::ready(!missing)
            })
            .boxed()
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overlay on {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.may_write()?;
        if self.is_held_up(location) {
            std::future::pending::<()>().await;
        }
        let done = self.inner.put_opts(location, payload, options).await;
        match self.answer_is_lost() {
            true => Err(Error::Generic {
                store: "overlay",
                source: Box::new(io::Error::from(io::ErrorKind::ConnectionReset)),
            }),
            false => done,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.may_write()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.seeming(location) {
            None => self.inner.get_opts(location, options).await,
            Some(Seeming::Other(alone)) => alone.get_opts(location, options).await,
            Some(Seeming::Missing) => Err(Error::NotFound {
                path: location.to_string(),
                source: "removed".into(),
            }),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.may_write() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(e) => stream::iter([Err(e)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.present(self.inner.list(prefix))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.may_write()?;
        self.inner.copy_opts(from, to, options).await
    }
}
