//! The suite for writers of disks.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::breach::{Must, Verdict, hold, refused};
use super::reader::check_reader;
use crate::cloud::{DiskReader, DiskWriter};
use crate::error::{Kind, Result};
use crate::testkit::Seeded;

/// Makes writers, and looks at what became of their disks.
#[async_trait]
pub trait WriterBench: Send + Sync {
    /// Begins a new disk of `size` bytes.
    async fn open(&self, size: u64) -> Result<Box<dyn DiskWriter>>;

    /// The disk begun last, if those who use such disks would take it for whole.
    async fn whole(&self) -> Result<Option<Box<dyn DiskReader>>>;
}

/// Checks that the bench's writers keep the contract of [`DiskWriter`].
pub async fn check_writer(bench: &dyn WriterBench, seed: u64) -> Verdict {
    let mut random = Seeded::new(seed);
    for size in [1, 4096, (1 << 20) + 1, (3 << 20) - 511] {
        check_size(bench, size, &mut random, seed).await?;
    }

    let writer = bench.open(8192).await.must("opening a writer")?;
    writer
        .write_at(0, Bytes::from_static(&[1; 4096]))
        .await
        .must("writing")?;
    drop(writer);
    let whole = bench
        .whole()
        .await
        .must("looking at a disk whose writer is gone")?;
    hold(
        whole.is_none(),
        "a disk that was not finished is not taken for whole",
        || "it is".to_owned(),
    )?;

    let writer = bench.open(4096).await.must("opening a writer")?;
    let beyond = writer.write_at(4090, Bytes::from_static(&[1; 7])).await;
    refused(beyond, Kind::Invalid, "writing across the end is refused")?;
    let beyond = writer.write_zeroes(4096..4097).await;
    refused(beyond, Kind::Invalid, "zeroes beyond the end are refused")
}

async fn check_size(bench: &dyn WriterBench, size: u64, random: &mut Seeded, seed: u64) -> Verdict {
    let mut content = Vec::new();
    let mut pieces = Vec::new();
    while (content.len() as u64) < size {
        let at = content.len() as u64;
        let length = (1 + random.below(300_000)).min(size - at);
        let length = usize::try_from(length).unwrap_or(1);
        let bytes = match random.below(3) {
            0 => None,
            _ => Some(Bytes::from(random.bytes(length))),
        };
        match &bytes {
            Some(bytes) => content.extend_from_slice(bytes),
            None => content.resize(content.len() + length, 0),
        }
        pieces.push((random.number(), at, length as u64, bytes));
    }
    // In any order.
    pieces.sort_by_key(|(order, ..)| *order);

    let writer = bench.open(size).await.must("opening a writer")?;
    let writes = pieces.into_iter().map(|(_, at, length, bytes)| {
        let writer = writer.as_ref();
        async move {
            match bytes {
                Some(bytes) => writer.write_at(at, bytes).await,
                None => writer.write_zeroes(at..at + length).await,
            }
        }
    });
    try_join_all(writes)
        .await
        .must("writing in any order and at once")?;
    let early = bench.whole().await.must("looking at an unfinished disk")?;
    hold(
        early.is_none(),
        "a disk is not taken for whole before it is finished",
        || "it is".to_owned(),
    )?;
    writer.finish().await.must("finishing")?;
    let whole = bench.whole().await.must("opening a finished disk")?;
    let whole = whole.must("a finished disk")?;
    check_reader(whole.as_ref(), &content, seed).await
}
