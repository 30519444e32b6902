//! A large object, written in parts into one staged file.

use std::io::{Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};

use super::files::refused;
use super::staging::{Publish, Staged};
use super::{Inner, blocking};

#[derive(Debug)]
pub(super) struct Upload {
    inner: Arc<Inner>,
    location: Path,
    /// The file and how many bytes were written into it. Gone once completed or aborted, or when a part failed.
    staged: Arc<Mutex<Option<(Staged, u64)>>>,
    /// Where the next part begins.
    end: u64,
}

impl Upload {
    pub(super) fn new(inner: Arc<Inner>, location: Path, staged: Staged) -> Self {
        Self {
            inner,
            location,
            staged: Arc::new(Mutex::new(Some((staged, 0)))),
            end: 0,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let begin = self.end;
        self.end += data.content_length() as u64;
        let (staged, location) = (Arc::clone(&self.staged), self.location.clone());
        Box::pin(blocking(move || {
            let mut held = staged.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut staged, written) = held.take().ok_or_else(over)?;
            let mut write = || {
                staged.file().seek(SeekFrom::Start(begin))?;
                data.iter().try_for_each(|bytes| staged.write(bytes))
            };
            write().map_err(|e| refused("write", staged.path(), &location, e))?;
            *held = Some((staged, written + data.content_length() as u64));
            Ok(())
        }))
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let (inner, staged) = (Arc::clone(&self.inner), Arc::clone(&self.staged));
        let (location, size) = (self.location.clone(), self.end);
        blocking(move || {
            let staged = staged.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (mut staged, written) = staged.ok_or_else(over)?;
            if written != size {
                return Err(over());
            }
            inner.publish(&mut staged, &location, Publish::Overwrite)
        })
        .await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let staged = Arc::clone(&self.staged);
        blocking(move || {
            let staged = staged.lock().unwrap_or_else(PoisonError::into_inner).take();
            staged.map(drop).ok_or_else(over)
        })
        .await
    }
}

fn over() -> object_store::Error {
    object_store::Error::Generic {
        store: "directory",
        source: "the upload was completed or aborted before, or not all of its parts were written"
            .into(),
    }
}
