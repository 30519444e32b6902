//! A target that misbehaves on demand.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result,
};

use super::Random;

/// What goes wrong, in thousandths of all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Refused before anything happened.
    pub refused: u64,
    /// Done, but the answer is lost.
    pub answer_lost: u64,
    /// Bodies that break off somewhere.
    pub body_broken: u64,
    /// Never answered (until [`Duration::MAX`] has passed).
    pub hanging: u64,
    /// Creations that look first and then overwrite, as Swift does it.
    pub racy_create: u64,
}

/// An object store that does what `inner` does, except for [`Faults`] that a seed decides.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
    random: Arc<Random>,
    requests: Arc<AtomicU64>,
}

impl Faulty {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            faults,
            random: Arc::new(Random::new(seed)),
            requests: Arc::default(),
        }
    }

    /// Requests made so far, failed ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn before(&self) -> Result<()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if self.random.chance(self.faults.hanging) {
            tokio::time::sleep(Duration::MAX).await;
        }
        match self.random.chance(self.faults.refused) {
            true => Err(fault("refused")),
            false => Ok(()),
        }
    }

    async fn after<T>(&self, done: Result<T>) -> Result<T> {
        tokio::task::yield_now().await;
        match self.random.chance(self.faults.answer_lost) {
            true => Err(fault("answer lost")),
            false => done,
        }
    }
}

fn fault(what: &'static str) -> Error {
    Error::Generic {
        store: "faulty",
        source: Box::new(io::Error::new(io::ErrorKind::ConnectionReset, what)),
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.before().await?;
        let mut options = options;
        if options.mode == PutMode::Create && self.random.chance(self.faults.racy_create) {
            let there = self.inner.head(location).await;
            if let Err(Error::NotFound { .. }) = there {
                options.mode = PutMode::Overwrite;
            }
            tokio::task::yield_now().await;
        }
        let done = self.inner.put_opts(location, payload, options).await;
        self.after(done).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.before().await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.before().await?;
        let mut result = self.inner.get_opts(location, options).await?;
        if self.random.chance(self.faults.body_broken) {
            let whole = result.range.end - result.range.start;
            let sent = self.random.below(whole);
            let empty = GetResultPayload::Stream(stream::empty().boxed());
            let payload = std::mem::replace(&mut result.payload, empty);
            let whole = GetResult {
                payload,
                meta: result.meta.clone(),
                range: result.range.clone(),
                attributes: result.attributes.clone(),
                extensions: object_store::Extensions::default(),
            };
            let bytes = whole.bytes().await?;
            let begun = bytes.slice(..usize::try_from(sent).unwrap_or(0));
            // One half ends as if it was complete, the other one with an error.
            let mut items = vec![Ok(begun)];
            items.extend(self.random.chance(500).then(|| Err(fault("body broken"))));
            result.payload = GetResultPayload::Stream(stream::iter(items).boxed());
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.before().await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    store.before().await?;
                    let one = stream::iter([location]).boxed();
                    let done = store.inner.delete_stream(one).next().await;
                    store
                        .after(done.unwrap_or_else(|| Err(fault("refused"))))
                        .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.break_off(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.break_off(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.before().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.before().await?;
        let done = self.inner.copy_opts(from, to, options).await;
        self.after(done).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.before().await?;
        let done = self.inner.rename_opts(from, to, options).await;
        self.after(done).await
    }
}

impl Faulty {
    /// A listing that may fail before any of its names.
    fn break_off(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        listing
            .then(move |item| {
                let store = store.clone();
                async move {
                    store.before().await?;
                    item
                }
            })
            .boxed()
    }
}
