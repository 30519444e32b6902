//! Disks that lie in a file byte for byte.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;

use super::sparse;
use crate::cloud::{DiskReader, Extent};
use crate::disk_range::{check_range, span};
use crate::env::Env;
use crate::error::{Error, Result};

/// Reads a file that does not change.
#[derive(Debug)]
pub(super) struct RawReader {
    file: Arc<File>,
    size: u64,
    env: Env,
}

impl RawReader {
    /// The first `size` bytes of `file`, which is at least that long.
    pub(super) fn new(file: File, size: u64, env: Env) -> Self {
        Self {
            file: Arc::new(file),
            size,
            env,
        }
    }
}

#[async_trait]
impl DiskReader for RawReader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        check_range(&range, self.size)?;
        let file = Arc::clone(&self.file);
        let found = self
            .env
            .compute(move || sparse::extents(&file, range))
            .await?;
        found.map_err(|e| Error::io("find extents of disk", e))
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        check_range(&span(offset, buffer.len()), self.size)?;
        let file = Arc::clone(&self.file);
        let read = move || file.read_exact_at(&mut buffer, offset).map(|()| buffer);
        let read = self.env.compute(read).await?;
        read.map_err(|e| Error::io("read disk", e).with("offset", offset))
    }
}
