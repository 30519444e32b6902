//! A disk that is made up while it is read, and a repository to keep it in.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use object_store::ObjectStore;
use raksha_core::cloud::{DiskReader, Extent, ExtentKind};
use raksha_core::env::Env;
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target};
use raksha_targets::{GuardOptions, Guarded, Metrics};

use crate::Result;

/// What the disk is made of.
pub const BLOCK: u64 = 4096;

/// A disk with data in some of its blocks. Each 64 bytes repeat eight that differ from block to block, so that there is something to
/// compress and nothing to deduplicate.
#[derive(Debug, Clone)]
pub struct Made {
    size: u64,
    /// Runs of blocks that hold data: ascending, apart from each other.
    data: Arc<Vec<Range<u64>>>,
}

impl Made {
    /// A disk of `size` bytes that holds data in these blocks.
    pub fn new(size: u64, blocks: impl IntoIterator<Item = u64>) -> Self {
        let mut blocks: Vec<u64> = blocks.into_iter().collect();
        blocks.sort_unstable();
        let mut data: Vec<Range<u64>> = Vec::new();
        for block in blocks {
            match data.last_mut() {
                Some(last) if last.end > block => {}
                Some(last) if last.end == block => last.end += 1,
                _ => data.push(block..block + 1),
            }
        }
        Self {
            size,
            data: Arc::new(data),
        }
    }

    /// Where it holds data, in bytes.
    pub fn written(&self) -> Vec<Range<u64>> {
        let bytes = |run: &Range<u64>| run.start * BLOCK..run.end * BLOCK;
        self.data.iter().map(bytes).collect()
    }

    fn holds(&self, block: u64) -> bool {
        let after = self.data.partition_point(|run| run.end <= block);
        self.data.get(after).is_some_and(|run| run.contains(&block))
    }
}

#[async_trait]
impl DiskReader for Made {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> raksha_core::Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let mut at = range.start;
        let first = self.data.partition_point(|run| run.end * BLOCK <= at);
        for run in &self.data[first..] {
            let run = run.start * BLOCK..run.end * BLOCK;
            if run.start >= range.end {
                break;
            }
            for (end, kind) in [(run.start, ExtentKind::Hole), (run.end, ExtentKind::Data)] {
                let end = end.min(range.end);
                if at < end {
                    let range = at..end;
                    extents.push(Extent { range, kind });
                    at = end;
                }
            }
        }
        if at < range.end {
            let (range, kind) = (at..range.end, ExtentKind::Hole);
            extents.push(Extent { range, kind });
        }
        Ok(extents)
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> raksha_core::Result<BytesMut> {
        let mut at = offset;
        let mut rest = &mut buffer[..];
        while !rest.is_empty() {
            let block = at / BLOCK;
            let left = ((block + 1) * BLOCK - at) as usize;
            let length = left.min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            now.fill(0);
            if self.holds(block) {
                for (n, bytes) in now.chunks_mut(8).enumerate() {
                    let place = block * BLOCK + (at % BLOCK) + 8 * (n as u64 / 8);
                    let word = place.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                    bytes.copy_from_slice(&word[..bytes.len()]);
                }
            }
            at += length as u64;
            rest = later;
        }
        Ok(buffer)
    }
}

/// A repository in `objects`, and the counts of what it asks of them.
pub async fn repository(
    objects: Arc<dyn ObjectStore>,
    guard: GuardOptions,
) -> Result<(Repository, Metrics)> {
    repository_with(objects, guard, Parameters::default()).await
}

/// The same, made with these parameters.
pub async fn repository_with(
    objects: Arc<dyn ObjectStore>,
    guard: GuardOptions,
    parameters: Parameters,
) -> Result<(Repository, Metrics)> {
    let guarded = Guarded::new(objects, true, guard, Env::system());
    let metrics = guarded.metrics().clone();
    let target = Target::new(Arc::new(guarded));
    let secret = Secret::key_file(&[7; 32]);
    let repository =
        Repository::create(target, parameters, &secret, EngineOptions::default()).await?;
    Ok((repository, metrics))
}
