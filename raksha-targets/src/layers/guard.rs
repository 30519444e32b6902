//! An object store behind the policies of its target.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use raksha_core::env::Env;

use super::GuardOptions;
use super::backoff::Attempts;
use super::body::Body;
use super::classify::timed_out;
use super::core::{Call, Core, Failed};
use super::delete;
use super::metrics::{Metrics, Operation};
use super::upload::Upload;

/// Wraps an object store: limits, deadlines, attempts, counts.
///
/// - **Attempts.** What may pass is tried again, with growing pauses, under one budget for the whole target. A request that must
///   not take effect twice is not: a conditional update, a copy that creates, a rename, the parts of a large object.
/// - **Creating.** An attempt whose answer was lost may have created the object; the next one then meets it. So whoever meets an
///   object after such an attempt reads it: if it has exactly our bytes, we made it. Writers who must know who won put something
///   of their own into what they create.
/// - **Bodies** are taken up again where they broke, if the object is still the same.
/// - **Turns.** With a limit of concurrency, a body holds its turn until it is read or dropped: read or drop it before waiting for
///   another request. Listings hold none.
#[derive(Debug, Clone)]
pub struct Guarded {
    inner: Arc<dyn ObjectStore>,
    core: Arc<Core>,
    ordered: bool,
}

impl Guarded {
    /// Wraps `inner`, which lists in the order of names if it is `ordered`.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        ordered: bool,
        options: GuardOptions,
        env: Env,
    ) -> Self {
        let name = inner.to_string();
        Self::named(inner, &name, ordered, options, env)
    }

    /// The same; errors call the target by `name`.
    pub fn named(
        inner: Arc<dyn ObjectStore>,
        name: &str,
        ordered: bool,
        options: GuardOptions,
        env: Env,
    ) -> Self {
        Self {
            inner,
            core: Arc::new(Core::new(name, options, env)),
            ordered,
        }
    }

    /// The counters of this target.
    pub fn metrics(&self) -> &Metrics {
        self.core.metrics()
    }

    /// Creates an object, and recognises as its own what an attempt with a lost answer created.
    async fn create(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let call = Call::new(Operation::Create).sending(payload.content_length() as u64);
        let mut attempts = Attempts::begin();
        let mut answer_lost = false;
        loop {
            let request = self
                .inner
                .put_opts(location, payload.clone(), options.clone());
            match self.core.attempt(call, &mut attempts, request).await {
                Ok((result, _turn)) => return Ok(result),
                Err(Failed { error, pause }) => match (error, pause) {
                    (e @ (Error::AlreadyExists { .. } | Error::Precondition { .. }), _)
                        if answer_lost =>
                    {
                        return match self.is_ours(location, &payload).await? {
                            Some(result) => Ok(result),
                            None => Err(e),
                        };
                    }
                    (_, Some(pause)) => {
                        answer_lost = true;
                        tokio::time::sleep(pause).await;
                    }
                    (e, None) => return Err(e),
                },
            }
        }
    }

    /// Whether the object has exactly these bytes.
    async fn is_ours(&self, location: &Path, payload: &PutPayload) -> Result<Option<PutResult>> {
        let there = match self.get(location).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            there => there?,
        };
        if there.meta.size != payload.content_length() as u64 {
            return Ok(None);
        }
        let result = PutResult {
            e_tag: there.meta.e_tag.clone(),
            version: there.meta.version.clone(),
            extensions: object_store::Extensions::default(),
        };
        let bytes = there.bytes().await?;
        let mut rest: &[u8] = &bytes;
        for ours in payload {
            match rest.strip_prefix(ours.as_ref()) {
                Some(after) => rest = after,
                None => return Ok(None),
            }
        }
        Ok(rest.is_empty().then_some(result))
    }

    /// Lists with `begin`, which takes the name to begin after.
    fn listing(
        &self,
        begin: impl Fn(&dyn ObjectStore, Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>>
        + Send
        + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        struct Listing<B> {
            store: Guarded,
            begin: B,
            from: Option<BoxStream<'static, Result<ObjectMeta>>>,
            last: Option<Path>,
            attempts: Attempts,
        }
        let listing = Listing {
            store: self.clone(),
            begin,
            from: None,
            last: None,
            attempts: Attempts::begin(),
        };
        stream::try_unfold(listing, |mut l| async move {
            loop {
                let Guarded { inner, core, .. } = &l.store;
                let (mut from, call) = match l.from.take() {
                    Some(from) => (from, None),
                    None => {
                        let from = (l.begin)(inner.as_ref(), l.last.as_ref());
                        (from, Some(Call::new(Operation::List)))
                    }
                };
                let next = async {
                    let next = from.next().await.transpose()?;
                    Ok((next, from))
                };
                let outcome = match call {
                    Some(call) => {
                        let answer = core.attempt(call, &mut l.attempts, next).await;
                        answer.map(|(answer, _turn)| answer)
                    }
                    None => core.further_page(&mut l.attempts, next).await,
                };
                match outcome {
                    Ok((Some(meta), from)) => {
                        l.attempts.begin_again();
                        l.last = Some(meta.location.clone());
                        l.from = Some(from);
                        return Ok(Some((meta, l)));
                    }
                    Ok((None, _)) => return Ok(None),
                    // Where to go on is known only if names come in order.
                    Err(Failed { error, .. }) if l.last.is_some() && !l.store.ordered => {
                        return Err(error);
                    }
                    Err(Failed { error, pause }) => match pause {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(error),
                    },
                }
            }
        })
        .boxed()
    }
}

impl Core {
    /// Waits for what a listing that was answered before gives next: it may ask for a further page.
    async fn further_page<T>(
        &self,
        attempts: &mut Attempts,
        next: impl Future<Output = Result<T>>,
    ) -> Result<T, Failed> {
        let next = match self.stall() {
            None => next.await,
            Some(stall) => match tokio::time::timeout(stall, next).await {
                Ok(next) => next,
                Err(_) => Err(timed_out(stall, "no further names")),
            },
        };
        next.map_err(|error| Failed {
            pause: self.pause(attempts, &error),
            error: self.named(error),
        })
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Guarded {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let call = Call::new(Operation::Put).sending(payload.content_length() as u64);
        match options.mode {
            PutMode::Create => self.create(location, payload, options).await,
            PutMode::Overwrite => {
                let put = || {
                    self.inner
                        .put_opts(location, payload.clone(), options.clone())
                };
                self.core.run(call, put).await
            }
            PutMode::Update(_) => {
                let put = self.inner.put_opts(location, payload, options);
                self.core.once(call, put).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // An upload that was begun twice leaves one that nobody completes, which is no object.
        let begin = || self.inner.put_multipart_opts(location, options.clone());
        let inner = self.core.run(Call::new(Operation::Upload), begin).await?;
        Ok(Box::new(Upload::new(Arc::clone(&self.core), inner)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let call = Call::new(match options.head {
            true => Operation::Head,
            false => Operation::Get,
        });
        let mut attempts = Attempts::begin();
        let (mut result, turn) = loop {
            let request = self.inner.get_opts(location, options.clone());
            match self.core.attempt(call, &mut attempts, request).await {
                Ok(answer) => break answer,
                Err(Failed { error, pause }) => match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        };
        if options.head {
            return Ok(result);
        }
        let payload = std::mem::replace(
            &mut result.payload,
            GetResultPayload::Stream(stream::empty().boxed()),
        );
        let inner = GetResult {
            payload,
            meta: result.meta.clone(),
            range: result.range.clone(),
            attributes: result.attributes.clone(),
            extensions: object_store::Extensions::default(),
        };
        let (core, objects) = (Arc::clone(&self.core), Arc::clone(&self.inner));
        let body = Body::guard(core, objects, inner, options.version, turn);
        result.payload = GetResultPayload::Stream(body);
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes = ranges.iter().map(|r| r.end.saturating_sub(r.start)).sum();
        let call = Call::new(Operation::GetRanges).receiving(bytes);
        let get = || self.inner.get_ranges(location, ranges);
        let got = self.core.run(call, get).await?;
        let bytes = got.iter().map(|bytes| bytes.len() as u64).sum();
        self.core.metrics().received(Operation::GetRanges, bytes);
        self.core.pace(bytes).await;
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (core, inner) = (Arc::clone(&self.core), Arc::clone(&self.inner));
        delete::in_batches(core, inner, locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.listing(move |inner, last| match last {
            None => inner.list(prefix.as_ref()),
            Some(last) => inner.list_with_offset(prefix.as_ref(), last),
        })
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.listing(move |inner, last| {
            inner.list_with_offset(prefix.as_ref(), last.unwrap_or(&offset))
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let list = || self.inner.list_with_delimiter(prefix);
        self.core.run(Call::new(Operation::List), list).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let call = Call::new(Operation::Copy);
        match options.mode {
            CopyMode::Overwrite => {
                let copy = || self.inner.copy_opts(from, to, options.clone());
                self.core.run(call, copy).await
            }
            CopyMode::Create => {
                let copy = self.inner.copy_opts(from, to, options);
                self.core.once(call, copy).await
            }
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let rename = self.inner.rename_opts(from, to, options);
        self.core.once(Call::new(Operation::Copy), rename).await
    }
}
