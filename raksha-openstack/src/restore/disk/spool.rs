//! A disk on its way into an image: a sparse file without a name, and the qcow2 stream that is made of it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};

use super::bitmap::Bitmap;
use super::qcow2::{CLUSTER, Layout};
use crate::roads::scratch::nameless_file;

/// How many bytes of the disk are read and sent at once.
const BURST: u64 = 1 << 20;

/// Takes what is written, in any order.
#[derive(Debug)]
pub(super) struct Spool {
    env: Env,
    file: Arc<File>,
    size: u64,
    used: Mutex<Bitmap>,
    covered: AtomicU64,
}

const WRITE: &str = "write restored disk";

impl Spool {
    /// An empty one of `size` bytes in `folder`. Its file has no name, so that it goes with the process.
    pub(super) fn new(env: &Env, folder: &Path, size: u64) -> Result<Self> {
        let file = nameless_file(folder, env)?;
        file.set_len(size)
            .map_err(|e| Error::io("make room for a disk", e).with("folder", folder.display()))?;
        Ok(Self {
            env: env.clone(),
            file: Arc::new(file),
            size,
            used: Mutex::new(Bitmap::new(size.div_ceil(CLUSTER))),
            covered: AtomicU64::new(0),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        self.check(offset..offset.saturating_add(length))?;
        if data.iter().any(|byte| *byte != 0) {
            let file = Arc::clone(&self.file);
            let write = move || file.write_all_at(&data, offset);
            let written = self.env.compute(write).await?;
            written.map_err(|e| Error::io(WRITE, e).with("offset", offset))?;
            let clusters = offset / CLUSTER..(offset + length).div_ceil(CLUSTER);
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.add(clusters);
        }
        self.covered.fetch_add(length, Ordering::AcqRel);
        Ok(())
    }

    /// The file is sparse and nothing is written twice, so that there is nothing to do.
    pub(super) fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.check(range.clone())?;
        let length = range.end - range.start;
        self.covered.fetch_add(length, Ordering::AcqRel);
        Ok(())
    }

    fn check(&self, range: Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.size {
            return Ok(());
        }
        let message = format!("the range reaches beyond the disk's {} bytes", self.size);
        Err(Error::new(Kind::Invalid, WRITE, message)
            .with("range", format!("{}..{}", range.start, range.end)))
    }

    /// Whether every byte was covered.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if not.
    pub(super) fn check_whole(&self) -> Result<()> {
        let covered = self.covered.load(Ordering::Acquire);
        if covered == self.size {
            return Ok(());
        }
        let message = format!(
            "{covered} bytes were written, but the disk has {}",
            self.size
        );
        Err(Error::new(Kind::Invalid, "finish restored disk", message))
    }

    /// The disk as a qcow2 image, and the image's length. Memory is bounded by a burst and the map of used clusters.
    pub(super) fn image(&self) -> (u64, impl Stream<Item = Result<Bytes>> + Send + use<>) {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let layout = Layout::new(self.size, used.clone());
        drop(used);
        let length = layout.length();
        let (file, env) = (Arc::clone(&self.file), self.env.clone());
        let bursts = stream::iter(Bursts {
            pieces: Pieces::new(layout),
            held: None,
        });
        let bytes = bursts.then(move |burst| {
            let (file, env) = (Arc::clone(&file), env.clone());
            async move {
                match burst {
                    Burst::Format(bytes) => Ok(bytes),
                    Burst::Disk(range) => read(&env, file, range).await,
                }
            }
        });
        (length, bytes)
    }
}

/// Reads whole clusters; what lies beyond the end of the file is zeroes.
async fn read(env: &Env, file: Arc<File>, range: Range<u64>) -> Result<Bytes> {
    let start = range.start;
    let read = move || {
        let mut bytes = BytesMut::zeroed(usize::try_from(range.end - range.start).unwrap_or(0));
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, start + at as u64)? {
                0 => break,
                count => at += count,
            }
        }
        Ok(bytes.freeze())
    };
    let done: std::io::Result<Bytes> = env.compute(read).await?;
    done.map_err(|e| Error::io("read restored disk", e).with("offset", start))
}

/// What is sent at once.
enum Burst {
    Format(Bytes),
    Disk(Range<u64>),
}

/// Neighbouring clusters of the disk together.
struct Bursts {
    pieces: Pieces,
    held: Option<Piece>,
}

impl Iterator for Bursts {
    type Item = Burst;

    fn next(&mut self) -> Option<Burst> {
        let first = match self.held.take().or_else(|| self.pieces.next())? {
            Piece::Format(bytes) => return Some(Burst::Format(bytes)),
            Piece::Disk(cluster) => cluster,
        };
        let mut next = first + 1;
        while (next - first) * CLUSTER < BURST {
            match self.pieces.next() {
                Some(Piece::Disk(cluster)) if cluster == next => next += 1,
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        Some(Burst::Disk(first * CLUSTER..next * CLUSTER))
    }
}

/// A cluster of the stream.
enum Piece {
    Format(Bytes),
    /// One of the disk's own, by its number there.
    Disk(u64),
}

/// All clusters of the stream, in order.
struct Pieces {
    layout: Layout,
    format: u64,
    disk: Option<u64>,
}

impl Pieces {
    fn new(layout: Layout) -> Self {
        Self {
            layout,
            format: 0,
            disk: Some(0),
        }
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if let Some(bytes) = self.layout.format(self.format) {
            self.format += 1;
            return Some(Piece::Format(bytes));
        }
        let cluster = self.layout.next_used(self.disk?);
        self.disk = cluster.map(|cluster| cluster + 1);
        cluster.map(Piece::Disk)
    }
}
