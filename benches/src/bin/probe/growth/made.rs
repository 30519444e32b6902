//! Repositories that are made up.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raksha_core::cloud::{ConsistencyLedger, DiskId, ResourceGraph};
use raksha_core::env::Env;
use raksha_core::format::Chunking;
use raksha_core::format::tree::{DEFAULT_SEGMENT, FANOUT, Item, Node, Root, RootNode};
use raksha_core::id::{ChunkId, JobId, ProjectId, RunId};
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target, Writer};
use raksha_core::store::{Chunk, ChunkSource, ChunkStore, Role, RunCounts};
use raksha_core::testkit::{Seeded, merge_small_indexes, pretend_packs};
use raksha_core::{PointDisk, PointSummary, RecoveryPoint, Timestamp};
use raksha_targets::Directory;

use super::quick::Quick;
use crate::Result;

/// The bytes of a disk that a chunk stands for.
const CHUNK: u32 = 48 << 10;
/// The bytes that its record takes in a pack.
const RECORD: u32 = 15 << 10;
/// Chunks of a pack: so it has nearly 16 MiB.
const PACK: u64 = 1024;
/// Packs that one index object lists: so it has nearly 64 MiB, which is where merging stops.
const LISTED: u64 = 1456;
/// Points of a disk.
const DAYS: u64 = 100;
/// Of so many packs, the last holds what no point needs any more.
const GARBAGE: u64 = 10;
/// Chunks of a segment.
const SEGMENT: u64 = DEFAULT_SEGMENT.div_ceil(CHUNK as u64);

/// The chunk of this number.
pub fn chunk(number: u64) -> ChunkId {
    // A sequence of its own for each, or one would be the other's, shifted by a word.
    let mut words = Seeded::new(Seeded::new(number).number());
    let mut bytes = [0; 32];
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&words.number().to_le_bytes());
    }
    ChunkId::from_bytes(bytes)
}

/// Whether no point needs the chunk of this number.
pub fn is_garbage(number: u64) -> bool {
    number / PACK % GARBAGE == GARBAGE - 1
}

/// The number of the chunk that comes after so many others that points need.
fn needed(nth: u64) -> u64 {
    let of_some = PACK * (GARBAGE - 1);
    nth / of_some * PACK * GARBAGE + nth % of_some
}

/// How many of the chunks before this number points need.
pub fn needed_before(number: u64) -> u64 {
    let some = number / (PACK * GARBAGE);
    let rest = (number % (PACK * GARBAGE)).min(PACK * (GARBAGE - 1));
    some * PACK * (GARBAGE - 1) + rest
}

/// The key of all made up repositories.
pub fn secret() -> Secret {
    Secret::key_file(&[7; 32])
}

/// Where a repository lies.
pub struct Place(PathBuf);

impl Place {
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub fn target(&self) -> PathBuf {
        self.0.join("target")
    }

    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// The directory as a target, for measuring.
    pub async fn directory(&self) -> Result<Arc<Directory>> {
        Ok(Arc::new(
            Directory::open(self.target(), true, Env::system()).await?,
        ))
    }

    /// The directory as objects, for making.
    pub async fn quick(&self) -> Result<Arc<Quick>> {
        Ok(Arc::new(Quick::new(self.directory().await?, self.target())))
    }

    /// The directory as a target, for making.
    pub async fn quick_target(&self) -> Result<Target> {
        let quick = self.quick().await?;
        Ok(Target::with_catalog(Arc::clone(&quick) as _, quick))
    }

    /// Opens the repository, with the local cache that processes before have left.
    pub async fn open(&self) -> Result<Repository> {
        let target = Target::new(self.directory().await?);
        Ok(Repository::open(target, &secret(), self.options()).await?)
    }

    fn options(&self) -> EngineOptions {
        let mut options = EngineOptions::default();
        options.cache = Some(self.cache());
        options
    }
}

/// Makes a repository of `points` recovery points and of no data. Their trees reach nearly all that is needed of the first `chunks` chunks; gives how many of those.
///
/// The points are real, a writer's session each, and so are their trees: [`DAYS`] days of as many disks as that takes. From day to day a disk loses some of its
/// segments and has others. Then small indexes are merged.
pub async fn make(place: &Place, points: u64, chunks: u64) -> Result<u64> {
    let (target, parameters) = (place.quick_target().await?, Parameters::default());
    let repository = Repository::create(target, parameters, &secret(), place.options()).await?;
    let reached = make_points(&repository, points, needed_before(chunks)).await?;
    // As the collections of a year would have: each names a limited number of them.
    let mut left = u64::MAX;
    loop {
        let indexes = repository.stats().await?.indexes;
        if indexes >= left {
            return Ok(reached);
        }
        left = indexes;
        merge_small_indexes(&repository).await?;
    }
}

/// Adds the chunks of these numbers to the repository. Their packs have the length that they should have, and no bytes.
pub async fn grow(place: &Place, chunks: Range<u64>) -> Result<()> {
    let target = place.quick_target().await?;
    let quick = place.quick().await?;
    let repository = Repository::open(target, &secret(), place.options()).await?;
    let mut next = chunks.start;
    while next < chunks.end {
        let mut packs = Vec::new();
        while next < chunks.end && (packs.len() as u64) < LISTED {
            let end = chunks.end.min((next / PACK + 1) * PACK);
            packs.push((next..end).map(chunk).collect());
            next = end;
        }
        for (location, bytes) in pretend_packs(&repository, packs, RECORD).await? {
            quick.pretend(&location, bytes)?;
        }
    }
    Ok(())
}

/// Commits one more point, of disks that reach these of the chunks that are needed: so many come to a repository as large disks do.
pub async fn reach(place: &Place, number: u64, nths: Range<u64>) -> Result<()> {
    let target = place.quick_target().await?;
    let repository = Repository::open(target, &secret(), place.options()).await?;
    let writer = repository.write(&[], "made up").await?;
    let mut disks = Vec::new();
    let mut next = nths.start;
    while next < nths.end {
        let mut children = Vec::new();
        while next < nths.end && children.len() < FANOUT {
            let end = nths.end.min(next + SEGMENT);
            children.push(Some(put(&writer, &segment_node(next..end)).await?));
            next = end;
        }
        disks.push((next, put_root(&writer, children).await?));
    }
    writer.commit(&point(number, disks)).await?;
    Ok(writer.close().await?)
}

async fn make_points(repository: &Repository, points: u64, needed: u64) -> Result<u64> {
    let segments = (needed / SEGMENT).max(1);
    let disks = (points.div_ceil(DAYS)).clamp(1, segments);
    let of_disk = segments / disks;
    let at_once = of_disk.div_ceil(2).min(FANOUT as u64);
    let mut stored = HashMap::new();
    for n in 0..points {
        let (day, disk) = (n / disks, n % disks);
        let first = disk * of_disk + day.min(DAYS - 1) * (of_disk - at_once) / (DAYS - 1);
        let writer = repository.write(&[], "made up").await?;
        let mut children = Vec::new();
        for segment in first..first + at_once {
            let node = match stored.get(&segment) {
                Some(node) => *node,
                None => {
                    let nths = segment * SEGMENT..(segment + 1) * SEGMENT;
                    put(&writer, &segment_node(nths)).await?
                }
            };
            stored.insert(segment, node);
            children.push(Some(node));
        }
        let root = put_root(&writer, children).await?;
        writer.commit(&point(n, vec![(disk, root)])).await?;
        writer.close().await?;
    }
    Ok(disks * of_disk * SEGMENT)
}

/// A segment that holds these of the chunks that are needed, at most [`SEGMENT`].
fn segment_node(nths: Range<u64>) -> Node {
    let starts = (0..DEFAULT_SEGMENT).step_by(CHUNK as usize);
    let items = nths.zip(starts).map(|(nth, start)| Item::Chunk {
        id: chunk(needed(nth)),
        length: u64::from(CHUNK).min(DEFAULT_SEGMENT - start) as u32,
    });
    Node::Segment(items.collect())
}

/// The root of a disk that has these segments.
async fn put_root(writer: &Writer, children: Vec<Option<ChunkId>>) -> Result<Root> {
    let size = children.len() as u64 * DEFAULT_SEGMENT;
    let root = Node::Root(RootNode {
        chunking: Chunking::DISK,
        segment_size: DEFAULT_SEGMENT,
        size,
        children,
    });
    let node = put(writer, &root).await?;
    Ok(Root { node, size })
}

async fn put(writer: &Writer, node: &Node) -> Result<ChunkId> {
    let bytes = node.encode();
    let id = writer.namer().name(&bytes);
    let chunk = Chunk {
        id,
        bytes: bytes.into(),
    };
    writer.put(Role::Tree, vec![chunk]).await?;
    Ok(id)
}

/// A point of disks of these numbers.
fn point(number: u64, disks: Vec<(u64, Root)>) -> RecoveryPoint {
    let summary = summary(number);
    let disk = |(disk, root)| PointDisk {
        disk: DiskId::Named(format!("disk-{disk}")),
        root,
        counts: summary.counts,
        anchor: None,
        hint_lies: 0,
    };
    RecoveryPoint {
        disks: disks.into_iter().map(disk).collect(),
        summary,
        graph: ResourceGraph::default(),
        ledger: ConsistencyLedger::default(),
    }
}

/// What a list shows of the point of this number: as much as of one that a job of a project made.
pub fn summary(number: u64) -> PointSummary {
    let mut random = Seeded::new(number);
    let mut id = || {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&random.bytes(16));
        bytes
    };
    PointSummary {
        name: format!("nightly backup {}", number % 1000),
        // An hour apart, from 2020 on.
        taken: Timestamp::from_millis(1_577_836_800_000 + number * 3_600_000),
        project: Some(ProjectId::new("5e1f7ac6b3a94c7e8e4f5d1a2b3c4d5e")),
        principal: Some("trust of the project's operator".into()),
        job: Some(JobId::from_bytes(id())),
        run: Some(RunId::from_bytes(id())),
        servers: 3,
        counts: RunCounts {
            logical_bytes: 300 << 30,
            read_bytes: 2 << 30,
            new_bytes: 1 << 30,
            stored_bytes: 400 << 20,
        },
    }
}
