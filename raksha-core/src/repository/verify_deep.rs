//! Verifying with the key: every chunk is opened and hashed, every point read, every disk tree walked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use object_store::path::Path;

use super::fold::State;
use super::names::{ObjectKind, PackName};
use super::pack::{Directory, slice};
use super::shared::Shared;
use super::verify::{Damage, Hurt, Verified, get, verify_within};
use crate::cloud::DiskId;
use crate::error::{Error, Kind, Result};
use crate::format::tree::{FANOUT, Item, Node, Root};
use crate::id::{ChunkId, PointId};

/// Packs opened at once.
const IN_FLIGHT: usize = 2;

/// How to verify.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Only these points and the chunks that they reach; none for all, and every chunk.
    pub points: Option<Vec<PointId>>,
}

/// Chunks that cannot be had, with the objects that should hold them.
type Bad = HashMap<ChunkId, Path>;

pub(crate) async fn verify(shared: &Arc<Shared>, options: &VerifyOptions) -> Result<Verified> {
    let mut found = verify_within(&shared.target, &shared.shares.fetching()).await?;
    let state = shared.refresh().await?;
    let bad = open_packs(shared, &state, &mut found).await?;
    let mut whole = HashSet::new();
    for id in state.points.keys() {
        if options
            .points
            .as_ref()
            .is_some_and(|wanted| !wanted.contains(id))
        {
            continue;
        }
        check_point(shared, &state, id, &bad, &mut whole, &mut found).await?;
        found.points += 1;
    }
    Ok(found)
}

/// Opens every chunk of every live pack.
async fn open_packs(shared: &Arc<Shared>, state: &State, found: &mut Verified) -> Result<Bad> {
    let known = found.damaged();
    let budget = &shared.shares.fetching();
    let mut bad = Bad::new();
    let mut unreadable = HashSet::new();
    let packs: Vec<PackName> = state.packs.keys().copied().collect();
    let mut reads = stream::iter(packs)
        .map(|pack| async move {
            let bytes = state.packs.get(&pack).map_or(0, |live| live.bytes);
            let _permit = budget.take(bytes).await;
            (pack, open_pack(shared, &pack).await)
        })
        .buffer_unordered(IN_FLIGHT);
    while let Some((pack, outcome)) = reads.next().await {
        let location = pack.location(ObjectKind::Pack);
        let new = !known.contains(location.as_ref());
        match outcome {
            Ok(opened) => {
                found.chunks += opened.chunks;
                if let Some((_, error)) = opened.damaged.first().filter(|_| new) {
                    found.damage(&location, error);
                }
                bad.extend(
                    opened
                        .damaged
                        .into_iter()
                        .map(|(id, _)| (id, location.clone())),
                );
            }
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {
                if new {
                    found.damage(&location, &e);
                }
                unreadable.insert(pack);
            }
            Err(e) => return Err(e),
        }
    }
    drop(reads);
    if !unreadable.is_empty() {
        shared.lookup.view().for_each(|id, at| {
            if unreadable.contains(&at.place.pack) {
                bad.insert(id, at.place.pack.location(ObjectKind::Pack));
            }
            Ok(())
        })?;
    }
    keep_lost(shared, bad)
}

/// Drops those chunks of which another pack holds a copy.
fn keep_lost(shared: &Shared, mut bad: Bad) -> Result<Bad> {
    let mut copied = Vec::new();
    for (id, location) in &bad {
        let places = shared.lookup.view().locate_all(id)?;
        if places
            .iter()
            .any(|at| at.place.pack.location(ObjectKind::Pack) != *location)
        {
            copied.push(*id);
        }
    }
    for id in copied {
        bad.remove(&id);
    }
    Ok(bad)
}

struct Opened {
    chunks: u64,
    damaged: Vec<(ChunkId, Error)>,
}

async fn open_pack(shared: &Arc<Shared>, pack: &PackName) -> Result<Opened> {
    let location = pack.location(ObjectKind::Pack);
    let bytes = get(&*shared.target.objects, &location).await?;
    let records = Arc::clone(&shared.records);
    let open = move || -> Result<Opened> {
        let directory = Directory::of_pack(&bytes)?;
        let mut opened = Opened {
            chunks: 0,
            damaged: Vec::new(),
        };
        for entry in &directory.entries {
            let record = slice(&bytes, entry.offset, entry.length).unwrap_or_default();
            match records.open_chunk(record, entry.id, directory.role) {
                Ok(_) => opened.chunks += 1,
                Err(e) => opened.damaged.push((entry.id, e)),
            }
        }
        Ok(opened)
    };
    shared.env.compute(open).await?
}

/// Reads a point and walks the trees of its disks.
async fn check_point(
    shared: &Arc<Shared>,
    state: &State,
    id: &PointId,
    bad: &Bad,
    whole: &mut HashSet<ChunkId>,
    found: &mut Verified,
) -> Result<()> {
    let point = match shared.load_point(state, id).await {
        Ok(point) => point,
        Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {
            let hurt = Hurt {
                point: *id,
                disk: None,
                offset: None,
            };
            note(found, format!("point {id}"), e.to_string(), hurt);
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    for disk in &point.disks {
        check_tree(shared, (id, &disk.disk), disk.root, bad, whole, found).await?;
    }
    Ok(())
}

/// Walks a tree with offsets, so that what is damaged can be named by where it lies on the disk.
async fn check_tree(
    shared: &Arc<Shared>,
    (point, disk): (&PointId, &DiskId),
    root: Root,
    bad: &Bad,
    whole: &mut HashSet<ChunkId>,
    found: &mut Verified,
) -> Result<()> {
    let mut hurt: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen = HashSet::new();
    // Nodes to read: where they begin on the disk, and how many bytes each of their children covers.
    let mut stack = vec![(root.node, 0u64, 0u64)];
    let mut segment_size = 0;
    while let Some((id, offset, covers)) = stack.pop() {
        // Points share most of their segments: one that was found whole needs no second look.
        if whole.contains(&id) || !seen.insert((id, offset)) {
            continue;
        }
        let node = match bad.get(&id) {
            Some(location) => Err(location.to_string()),
            None => match shared.fetcher.get(&[id], None).await {
                Ok(bytes) => bytes
                    .first()
                    .map(|b| Node::decode(b))
                    .transpose()?
                    .ok_or_else(String::new),
                Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {
                    Err(format!("chunk {id}"))
                }
                Err(e) => return Err(e),
            },
        };
        let node = match node {
            Ok(node) => node,
            Err(object) => {
                hurt.entry(object).or_insert(offset);
                continue;
            }
        };
        match node {
            Node::Root(node) => {
                segment_size = node.segment_size;
                let covers =
                    segment_size.saturating_mul((FANOUT as u64).saturating_pow(node.height()));
                push_children(&mut stack, node.children, 0, covers);
            }
            Node::Branch(children) => {
                push_children(&mut stack, children, offset, covers / FANOUT as u64)
            }
            Node::Segment(items) => {
                let (mut at, mut is_whole) = (offset, true);
                for item in items {
                    if let Item::Chunk { id, .. } = item {
                        if let Some(location) = bad.get(&id) {
                            is_whole = false;
                            hurt.entry(location.to_string()).or_insert(at);
                        } else if shared.lookup.locate(&id)?.is_none() {
                            is_whole = false;
                            hurt.entry(format!("chunk {id}")).or_insert(at);
                        }
                    }
                    at += u64::from(item.length());
                }
                if is_whole {
                    whole.insert(id);
                }
            }
        }
    }
    debug_assert!(segment_size > 0 || !hurt.is_empty());
    for (object, offset) in hurt {
        let hurt = Hurt {
            point: *point,
            disk: Some(disk.to_string()),
            offset: Some(offset),
        };
        note(
            found,
            object,
            "a chunk of a recovery point cannot be had".into(),
            hurt,
        );
    }
    Ok(())
}

fn push_children(
    stack: &mut Vec<(ChunkId, u64, u64)>,
    children: Vec<Option<ChunkId>>,
    offset: u64,
    covers: u64,
) {
    for (n, child) in (0u64..).zip(children) {
        if let Some(id) = child {
            stack.push((id, offset.saturating_add(n.saturating_mul(covers)), covers));
        }
    }
}

/// Adds whom it hurts to the damage of an object, or the damage itself.
fn note(found: &mut Verified, object: String, reason: String, hurt: Hurt) {
    match found.damage.iter_mut().find(|d| d.object == object) {
        Some(damage) => damage.hurts.push(hurt),
        None => found.damage.push(Damage {
            object,
            reason,
            hurts: vec![hurt],
        }),
    }
}
