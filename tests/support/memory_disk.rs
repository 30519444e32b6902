//! Disks in memory: the oracle's side of every comparison.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use raksha_core::cloud::{DiskReader, DiskWriter, Extent, ExtentKind};
use raksha_core::{Error, Kind, Result};

/// A disk that reads from memory, and tells of holes where whole blocks are zero and it pleases to.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    bytes: Arc<Vec<u8>>,
    tells_holes: bool,
}

impl MemoryDisk {
    /// A disk with this content.
    pub fn new(bytes: Arc<Vec<u8>>, tells_holes: bool) -> Self {
        Self { bytes, tells_holes }
    }
}

#[async_trait]
impl DiskReader for MemoryDisk {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = (at / 4096 * 4096 + 4096).min(range.end);
            let zero = self.bytes[at as usize..end as usize]
                .iter()
                .all(|b| *b == 0);
            let kind = match zero && self.tells_holes {
                true => ExtentKind::Hole,
                false => ExtentKind::Data,
            };
            match extents.last_mut() {
                Some(last) if last.kind == kind => last.range.end = end,
                _ => extents.push(Extent {
                    range: at..end,
                    kind,
                }),
            }
            at = end;
        }
        Ok(extents)
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let start = offset as usize;
        let Some(found) = self.bytes.get(start..start + buffer.len()) else {
            return Err(
                Error::new(Kind::Invalid, "read disk", "beyond the end").with("offset", offset)
            );
        };
        buffer.copy_from_slice(found);
        Ok(buffer)
    }
}

/// A disk that is written into memory. It begins as garbage, so that what was not written shows.
#[derive(Debug)]
pub struct MemorySink {
    bytes: Mutex<Vec<u8>>,
    finished: Mutex<bool>,
}

impl MemorySink {
    /// A disk of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self {
            bytes: Mutex::new(vec![0xdb; size as usize]),
            finished: Mutex::new(false),
        }
    }

    /// What was written; none if it was never finished.
    pub fn content(&self) -> Option<Vec<u8>> {
        let finished = *self.finished.lock().unwrap();
        finished.then(|| self.bytes.lock().unwrap().clone())
    }

    fn put(&self, range: Range<u64>, data: impl Fn(usize) -> u8) {
        let mut bytes = self.bytes.lock().unwrap();
        let place = &mut bytes[range.start as usize..range.end as usize];
        place
            .iter_mut()
            .enumerate()
            .for_each(|(i, byte)| *byte = data(i));
    }
}

#[async_trait]
impl DiskWriter for MemorySink {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        self.put(offset..offset + data.len() as u64, |i| data[i]);
        Ok(())
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.put(range, |_| 0);
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        *self.finished.lock().unwrap() = true;
        Ok(())
    }
}
