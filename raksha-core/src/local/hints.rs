//! Change hints: what differs between the snapshot that an anchor names and a newer one.
//!
//! Both are there as files, so they are compared; what is a hole in both costs nothing.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::description::DiskFormat;
use super::directory::Directory;
use super::layers::Layer;
use super::snapshot_folder::{Record, find};
use super::sparse::{self, BLOCK, Stop};
use crate::cloud::{Anchor, ChangeHint};
use crate::env::Env;
use crate::error::{Error, Result};

/// Bytes compared in one go on another thread.
const COMPARE_STEP: u64 = 256 << 20;

/// Two snapshots of a raw disk, opened to be compared.
pub(super) struct Pair {
    old: File,
    old_size: u64,
    new: File,
    new_size: u64,
}

/// The anchor and the snapshot of `record`, if the anchor is there and the one that it was.
pub(super) fn comparable(
    directory: &Directory,
    anchor: &Anchor,
    record: &Record,
    layers: &[Layer],
) -> Option<Pair> {
    let (old_record, old_layers) = find(directory, &anchor.id).ok()?;
    if old_record.identity != anchor.identity || old_record.disk != record.disk {
        return None;
    }
    let raw = |layers: &[Layer]| match layers {
        [only] if only.format == DiskFormat::Raw => File::open(&only.path).ok(),
        _ => None,
    };
    Some(Pair {
        old: raw(&old_layers)?,
        old_size: old_record.size,
        new: raw(layers)?,
        new_size: record.size,
    })
}

impl Pair {
    /// What changed from the old to the new, in steps between which the future can be dropped.
    pub(super) async fn compare(self, env: &Env) -> Result<ChangeHint> {
        let Self {
            old,
            old_size,
            new,
            new_size,
        } = self;
        // A block that the old disk had only in part counts as changed.
        let common = old_size.min(new_size);
        let common = if common == new_size {
            common
        } else {
            common - common % BLOCK as u64
        };
        let files = Arc::new((old, new));
        let stop = Stop::default();
        let mut changed: Vec<Range<u64>> = Vec::new();
        let mut at = 0;
        while at < common {
            let end = common.min(at + COMPARE_STEP);
            let (files, stopped) = (Arc::clone(&files), stop.watch());
            let step = move || sparse::differences(&files.0, &files.1, at..end, &stopped);
            let found = env.compute(step).await?;
            changed.extend(found.map_err(|e| Error::io("compare snapshots", e))?);
            at = end;
        }
        if common < new_size {
            changed.push(common..new_size);
        }
        Ok(ChangeHint { changed })
    }
}
