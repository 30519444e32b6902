//! A large object that is being written in parts.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::backoff::Attempts;
use super::core::{Call, Core};
use super::metrics::Operation;

/// Parts wait for their turn, are counted, and have deadlines. They are not tried again here: asking the inner upload for the
/// same part once more would make it another part.
#[derive(Debug)]
pub(super) struct Upload {
    core: Arc<Core>,
    inner: Box<dyn MultipartUpload>,
}

impl Upload {
    pub(super) fn new(core: Arc<Core>, inner: Box<dyn MultipartUpload>) -> Self {
        Self { core, inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let call = Call::new(Operation::Upload).sending(data.content_length() as u64);
        let part = self.inner.put_part(data);
        let core = Arc::clone(&self.core);
        Box::pin(async move { core.once(call, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let call = Call::new(Operation::Upload);
        self.core.once(call, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let call = Call::new(Operation::Upload);
        self.core.once(call, self.inner.abort()).await
    }
}

impl Core {
    /// Makes the one attempt that there is.
    pub(super) async fn once<T>(
        &self,
        call: Call,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let answer = self.attempt(call, &mut Attempts::only(), request).await;
        answer.map(|(answer, _turn)| answer).map_err(|f| f.error)
    }
}
