//! A body that is being read: not too fast, never silent for too long, and taken up again where it broke.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, Result};

use super::backoff::Attempts;
use super::classify::{cut_short, timed_out};
use super::core::{Call, Core, Failed, Turn};
use super::metrics::Operation;

pub(super) struct Body {
    core: Arc<Core>,
    objects: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    /// The version that was asked for.
    version: Option<String>,
    left: Range<u64>,
    attempts: Attempts,
    from: Option<(BoxStream<'static, Result<Bytes>>, Turn)>,
}

impl Body {
    /// The body of `result`, whose request holds `turn`.
    pub(super) fn guard(
        core: Arc<Core>,
        objects: Arc<dyn ObjectStore>,
        result: GetResult,
        version: Option<String>,
        turn: Turn,
    ) -> BoxStream<'static, Result<Bytes>> {
        let body = Self {
            core,
            objects,
            meta: result.meta.clone(),
            version,
            left: result.range.clone(),
            attempts: Attempts::begin(),
            from: Some((result.into_stream(), turn)),
        };
        stream::try_unfold(body, |mut body| async move {
            Ok(body.next().await?.map(|bytes| (bytes, body)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let error = match self.read().await {
                Ok(None) => cut_short(self.left.end - self.left.start),
                Ok(Some(bytes)) => {
                    let length = bytes.len() as u64;
                    if length > self.left.end - self.left.start {
                        return Err(changed(
                            &self.meta.location,
                            "sent more bytes than asked for",
                        ));
                    }
                    self.left.start += length;
                    self.attempts.begin_again();
                    self.core.metrics().received(Operation::Get, length);
                    self.core.pace(length).await;
                    return Ok(Some(bytes));
                }
                Err(e) => e,
            };
            // The turn goes back first: waiting must not keep others from theirs.
            self.from = None;
            match self.core.pause(&mut self.attempts, &error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(self.core.named(error)),
            }
            self.reopen().await?;
        }
        // All bytes are here: whatever the connection does now is of no interest.
        self.from = None;
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        let Some((stream, _)) = &mut self.from else {
            return Ok(None);
        };
        match self.core.stall() {
            None => stream.next().await.transpose(),
            Some(stall) => match tokio::time::timeout(stall, stream.next()).await {
                Ok(next) => next.transpose(),
                Err(_) => Err(timed_out(stall, "no further bytes")),
            },
        }
    }

    /// Asks for what is left. Whether it is still the same object is seen in the answer: not every server that has the condition in
    /// a request understands it.
    async fn reopen(&mut self) -> Result<()> {
        loop {
            let options = GetOptions::new()
                .with_range(Some(GetRange::Bounded(self.left.clone())))
                .with_version(self.version.clone());
            let request = self.objects.get_opts(&self.meta.location, options);
            let call = Call::new(Operation::Get);
            match self.core.attempt(call, &mut self.attempts, request).await {
                Ok((result, turn)) => {
                    let same = result.meta.size == self.meta.size
                        && result.meta.e_tag == self.meta.e_tag
                        && result.range == self.left;
                    if !same {
                        return Err(changed(
                            &self.meta.location,
                            "was replaced while it was read",
                        ));
                    }
                    self.from = Some((result.into_stream(), turn));
                    return Ok(());
                }
                Err(Failed { error, pause }) => match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }
}

fn changed(location: &Path, how: &str) -> Error {
    Error::Precondition {
        path: location.to_string(),
        source: format!("the object, or the target, {how}").into(),
    }
}
