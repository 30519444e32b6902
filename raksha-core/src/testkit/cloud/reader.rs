//! The suite for readers of disks.

use bytes::BytesMut;
use futures_util::future::try_join_all;

use super::breach::{Must, Verdict, hold, refused, same};
use crate::cloud::{DiskReader, ExtentKind};
use crate::error::{Kind, Result};
use crate::testkit::Seeded;

/// The longest stretch that is read at once.
const STEP: u64 = 1 << 20;

/// Checks that `reader` keeps the contract of [`DiskReader`] and reads as `content`, which is all of the disk.
pub async fn check_reader(reader: &dyn DiskReader, content: &[u8], seed: u64) -> Verdict {
    let size = content.len() as u64;
    same(&reader.size(), &size, "the size is exact")?;
    check_extents(reader, content, 0..size).await?;

    let mut random = Seeded::new(seed);
    let ranges: Vec<_> = (0..32)
        .map(|_| {
            let start = random.below(size + 1);
            start..start + random.below((size - start + 1).min(STEP))
        })
        .collect();
    for range in &ranges {
        check_extents(reader, content, range.clone()).await?;
    }
    let reads = ranges.iter().map(|range| async move {
        let got = reader
            .read_at(range.start, buffer(range.end - range.start))
            .await?;
        Ok((range, got))
    });
    let reads = try_join_all(reads)
        .await
        .must("reading many ranges at once")?;
    for (range, got) in reads {
        check_bytes(content, range.start, &got, seed)?;
    }
    let mut at = 0;
    while at < size {
        let got = reader
            .read_at(at, buffer(STEP.min(size - at)))
            .await
            .must("reading in order")?;
        check_bytes(content, at, &got, seed)?;
        at += got.len() as u64;
    }

    let empty = reader
        .read_at(size, BytesMut::new())
        .await
        .must("reading nothing at the end")?;
    same(&empty.len(), &0, "an empty buffer comes back empty")?;
    let beyond = reader.read_at(size, buffer(1)).await;
    refused(beyond, Kind::Invalid, "reading beyond the end is refused")?;
    let across = reader.read_at(size.saturating_sub(1), buffer(2)).await;
    refused(across, Kind::Invalid, "reading across the end is refused")?;
    let overflow = reader.read_at(u64::MAX, buffer(2)).await;
    refused(
        overflow,
        Kind::Invalid,
        "reading at the end of all numbers is refused",
    )?;
    let beyond = reader.extents(0..size + 1).await;
    refused(beyond, Kind::Invalid, "extents beyond the end are refused")
}

/// Reads all of a disk, which the caller knows to be small.
///
/// # Errors
/// As the reader's.
pub async fn read_all(reader: &dyn DiskReader) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    while (content.len() as u64) < reader.size() {
        let at = content.len() as u64;
        let step = reader
            .read_at(at, buffer(STEP.min(reader.size() - at)))
            .await?;
        content.extend_from_slice(&step);
    }
    Ok(content)
}

async fn check_extents(
    reader: &dyn DiskReader,
    content: &[u8],
    range: std::ops::Range<u64>,
) -> Verdict {
    let extents = reader
        .extents(range.clone())
        .await
        .must("asking for extents")?;
    let mut at = range.start;
    for extent in &extents {
        let next = extent.range.start == at && extent.range.end > at;
        hold(
            next,
            "extents are ascending, adjacent and not empty",
            || format!("{extents:?}"),
        )?;
        if extent.kind == ExtentKind::Hole {
            let zero = part(content, &extent.range).is_some_and(is_zero);
            hold(zero, "a hole reads as zeroes", || format!("{extent:?}"))?;
        }
        at = extent.range.end;
    }
    let rule = "extents cover exactly the range";
    hold(at == range.end, rule, || {
        format!("{extents:?} for {range:?}")
    })
}

fn check_bytes(content: &[u8], at: u64, got: &[u8], seed: u64) -> Verdict {
    let wanted = part(content, &(at..at + got.len() as u64)).unwrap_or_default();
    let rule = "a range reads as what lies there";
    hold(wanted == got, rule, || {
        let differ = wanted.iter().zip(got).position(|(a, b)| a != b);
        format!(
            "{} bytes at {at} differ from byte {differ:?} on (seed {seed})",
            got.len()
        )
    })
}

fn part<'a>(content: &'a [u8], range: &std::ops::Range<u64>) -> Option<&'a [u8]> {
    let start = usize::try_from(range.start).ok()?;
    content.get(start..usize::try_from(range.end).ok()?)
}

/// A buffer of `length` bytes that are not zeroes, so that an answer that was not read is seen.
fn buffer(length: u64) -> BytesMut {
    let mut buffer = BytesMut::new();
    buffer.resize(usize::try_from(length).unwrap_or(0), 0xa5);
    buffer
}

fn is_zero(bytes: &[u8]) -> bool {
    // Whole blocks at once: tests are built without optimisation.
    const ZERO: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZERO.len())
        .all(|block| ZERO.starts_with(block))
}
