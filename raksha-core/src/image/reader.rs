//! Reading anywhere in a disk that is in the store: for restoring what differs, for mounting, for looking.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;

use super::items::OldSegment;
use super::tree::{WIDTH, fetch_one, nodes_at, segment_range};
use crate::cloud::{DiskReader, Extent, ExtentKind};
use crate::error::{Error, Kind, Result};
use crate::format::tree::{Item, Root, RootNode};
use crate::id::ChunkId;
use crate::store::ChunkSource;

/// Segments and branches that are kept: a few streams' worth.
const NODES_KEPT: usize = 16;

/// Bytes of data that are kept at least.
const DATA_KEPT: usize = 8 << 20;

/// Bytes that are fetched at once, unless a single chunk is larger.
const FETCHED_AT_ONCE: u64 = 4 << 20;

/// A disk in the store, to be read anywhere.
///
/// It keeps the nodes and chunks it used last: about 16 nodes and 8 MiB (or two chunks) of data, and while reading what a single
/// call asks for.
pub struct ImageReader {
    source: Arc<dyn ChunkSource>,
    root: RootNode,
    branches: Mutex<Recent<ChunkId, Arc<Vec<Option<ChunkId>>>>>,
    segments: Mutex<Recent<u64, Arc<OldSegment>>>,
    data: Mutex<Recent<ChunkId, Bytes>>,
}

impl fmt::Debug for ImageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageReader")
            .field("size", &self.root.size)
            .finish_non_exhaustive()
    }
}

impl ImageReader {
    /// Opens the disk that `root` names.
    ///
    /// # Errors
    /// Those of the source; [`Kind::Corrupt`] if this is no root of that size.
    pub async fn open(root: &Root, source: Arc<dyn ChunkSource>) -> Result<Self> {
        let node = super::tree::Tree::open(source.as_ref(), root)
            .await?
            .root()
            .clone();
        let kept = u64::from(node.chunking.max());
        let data = usize::try_from(kept * 2).unwrap_or(0).max(DATA_KEPT);
        Ok(Self {
            source,
            root: node,
            branches: Mutex::new(Recent::new(NODES_KEPT)),
            segments: Mutex::new(Recent::new(NODES_KEPT)),
            data: Mutex::new(Recent::new(data)),
        })
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.root.size {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            "read image",
            "the range reaches beyond the end of the disk",
        )
        .with("disk offset", range.start)
        .with("end", range.end)
        .with("size", self.root.size))
    }

    /// The segments that `range` touches.
    fn touched(&self, range: &Range<u64>) -> Range<u64> {
        range.start / self.root.segment_size..range.end.div_ceil(self.root.segment_size)
    }

    async fn segment(&self, index: u64) -> Result<Arc<OldSegment>> {
        if let Some(segment) = self.segments.lock().await.get(&index) {
            return Ok(segment);
        }
        let range = segment_range(self.root.segment_size, self.root.size, index);
        let node = match self.segment_id(index).await? {
            Some(id) => Some((id, fetch_one(self.source.as_ref(), &id).await?)),
            None => None,
        };
        let segment = OldSegment::new(node, range.end - range.start)
            .map_err(|e| e.with("disk offset", range.start))?;
        let segment = Arc::new(segment);
        self.segments
            .lock()
            .await
            .put(index, Arc::clone(&segment), 1);
        Ok(segment)
    }

    async fn segment_id(&self, index: u64) -> Result<Option<ChunkId>> {
        let pick = |children: &[Option<ChunkId>], place: u64| {
            let child = usize::try_from(place).ok().and_then(|i| children.get(i));
            child.copied().flatten()
        };
        let height = self.root.height();
        let mut id = pick(&self.root.children, index / WIDTH.saturating_pow(height));
        for level in (1..=height).rev() {
            let Some(branch) = id else { break };
            let children = self.branch(&branch).await?;
            let place = index / WIDTH.saturating_pow(level);
            let expected = (nodes_at(self.root.segments(), level - 1) - place * WIDTH).min(WIDTH);
            if children.len() as u64 != expected {
                return Err(Error::new(
                    Kind::Corrupt,
                    "read image",
                    "a branch has not as many children as its place asks for",
                )
                .with("chunk", branch));
            }
            id = pick(&children, index / WIDTH.saturating_pow(level - 1) % WIDTH);
        }
        Ok(id)
    }

    async fn branch(&self, id: &ChunkId) -> Result<Arc<Vec<Option<ChunkId>>>> {
        if let Some(branch) = self.branches.lock().await.get(id) {
            return Ok(branch);
        }
        let branch = Arc::new(fetch_one(self.source.as_ref(), id).await?.into_branch()?);
        self.branches.lock().await.put(*id, Arc::clone(&branch), 1);
        Ok(branch)
    }

    /// Fills `buffer`, which begins at `at` within the segment.
    async fn read_segment(&self, segment: &OldSegment, at: u64, buffer: &mut [u8]) -> Result<()> {
        let end = at + buffer.len() as u64;
        let mut buffer = buffer;
        let mut wanted = Vec::new();
        for i in segment.holding(at)..segment.len() {
            let Some((range, item)) = segment.get(i).filter(|(r, _)| r.start < end) else {
                break;
            };
            let inside = range.start.max(at)..range.end.min(end);
            let length = usize::try_from(inside.end - inside.start).unwrap_or(usize::MAX);
            let (part, rest) = buffer.split_at_mut(length.min(buffer.len()));
            buffer = rest;
            match item {
                Item::Hole { .. } => part.fill(0),
                Item::Chunk { id, length } => {
                    let skip = usize::try_from(inside.start - range.start).unwrap_or(usize::MAX);
                    wanted.push((id, length, skip, part));
                }
            }
        }
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            let mut bytes = 0;
            let mut now = Vec::new();
            while bytes < FETCHED_AT_ONCE
                && let Some(next) = wanted.next()
            {
                bytes += u64::from(next.1);
                now.push(next);
            }
            let ids: Vec<ChunkId> = now.iter().map(|(id, ..)| *id).collect();
            for (data, (id, _, skip, part)) in self.chunks(&ids).await?.into_iter().zip(now) {
                let Some(slice) = data.get(skip..skip + part.len()) else {
                    return Err(Error::new(
                        Kind::Corrupt,
                        "read image",
                        "a chunk is shorter than its segment says",
                    )
                    .with("chunk", id));
                };
                part.copy_from_slice(slice);
            }
        }
        Ok(())
    }

    async fn chunks(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        let mut found: Vec<Option<Bytes>> = {
            let mut kept = self.data.lock().await;
            ids.iter().map(|id| kept.get(id)).collect()
        };
        let missing = ids.iter().zip(&found).filter(|(_, bytes)| bytes.is_none());
        let missing: Vec<ChunkId> = missing
            .map(|(id, _)| *id)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if !missing.is_empty() {
            let fetched = self.source.get(&missing).await?;
            let fetched: BTreeMap<ChunkId, Bytes> = missing.into_iter().zip(fetched).collect();
            let mut kept = self.data.lock().await;
            for (id, bytes) in &fetched {
                kept.put(*id, bytes.clone(), bytes.len());
            }
            for (id, slot) in ids.iter().zip(&mut found) {
                if slot.is_none() {
                    *slot = fetched.get(id).cloned();
                }
            }
        }
        let found: Vec<Bytes> = found.into_iter().flatten().collect();
        if found.len() == ids.len() {
            Ok(found)
        } else {
            Err(Error::new(
                Kind::Internal,
                "read image",
                "the chunk source did not answer for each name",
            ))
        }
    }
}

#[async_trait]
impl DiskReader for ImageReader {
    fn size(&self) -> u64 {
        self.root.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        self.check(&range)?;
        let mut extents: Vec<Extent> = Vec::new();
        for index in self.touched(&range) {
            let start = segment_range(self.root.segment_size, self.root.size, index).start;
            for (place, item) in self.segment(index).await?.iter() {
                let inside =
                    (start + place.start).max(range.start)..(start + place.end).min(range.end);
                if inside.is_empty() {
                    continue;
                }
                let kind = match item {
                    Item::Hole { .. } => ExtentKind::Hole,
                    Item::Chunk { .. } => ExtentKind::Data,
                };
                match extents.last_mut() {
                    Some(last) if last.kind == kind => last.range.end = inside.end,
                    _ => extents.push(Extent {
                        range: inside,
                        kind,
                    }),
                }
            }
        }
        Ok(extents)
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let range = offset..offset.saturating_add(buffer.len() as u64);
        self.check(&range)?;
        let mut rest: &mut [u8] = &mut buffer;
        for index in self.touched(&range) {
            let place = segment_range(self.root.segment_size, self.root.size, index);
            let inside = place.start.max(range.start)..place.end.min(range.end);
            let length = usize::try_from(inside.end.saturating_sub(inside.start)).unwrap_or(0);
            let (part, behind) = rest.split_at_mut(length.min(rest.len()));
            rest = behind;
            if !part.is_empty() {
                let segment = self.segment(index).await?;
                let read = self.read_segment(&segment, inside.start - place.start, part);
                read.await
                    .map_err(|e| e.with("disk offset", inside.start))?;
            }
        }
        Ok(buffer)
    }
}

/// What was used last, up to some weight. A list is fast enough for the few dozen entries it holds.
struct Recent<K, V> {
    entries: VecDeque<(K, V, usize)>,
    weight: usize,
    most: usize,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    fn new(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            weight: 0,
            most,
        }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let i = self.entries.iter().position(|(k, ..)| k == key)?;
        let entry = self.entries.remove(i)?;
        let value = entry.1.clone();
        self.entries.push_front(entry);
        Some(value)
    }

    fn put(&mut self, key: K, value: V, weight: usize) {
        if self.entries.iter().any(|(k, ..)| *k == key) {
            return;
        }
        self.entries.push_front((key, value, weight));
        self.weight += weight;
        while self.weight > self.most
            && self.entries.len() > 1
            && let Some((.., gone)) = self.entries.pop_back()
        {
            self.weight -= gone;
        }
    }
}
