//! What points reach: the packs that hold it, and where damage hurts them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use object_store::path::Path;

use super::fold::State;
use super::locate::{locate_many, packs_that_hold};
use super::names::{ObjectKind, PackName};
use super::shared::Shared;
use super::verify::Hurt;
use crate::cloud::{DiskId, DiskSource, Server};
use crate::error::{Error, Kind, Result};
use crate::format::tree::{FANOUT, Item, Node, Root};
use crate::id::{ChunkId, PointId};
use crate::point::RecoveryPoint;

/// Nodes fetched together.
const BATCH: usize = 128;

/// Nodes of which all data is looked for together: it takes memory, and may be a thousand and more chunks each.
const TOGETHER: usize = 16;

/// Chunks of which a copy cannot be had, with the objects that should hold one.
pub(super) type Bad = HashMap<ChunkId, BTreeSet<Path>>;

/// What is hurt: the object, why, and where.
pub(super) type Hurts = Vec<(String, String, Hurt)>;

/// Whether something is not there, or not as it must be. Anything else is no damage.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), Kind::Corrupt | Kind::NotFound)
}

/// The packs that hold what the points reach: all of them, where a chunk lies in several. What lies below damage is not found; whoever reads these packs
/// finds the damage.
pub(super) async fn packs_of(
    shared: &Arc<Shared>,
    state: &State,
    points: &BTreeSet<PointId>,
) -> Result<BTreeSet<PackName>> {
    let mut stack = Vec::new();
    for id in points {
        match shared.load_point(state, id).await {
            Ok(point) => stack.extend(point.disks.iter().map(|disk| disk.root.node)),
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut packs = BTreeSet::new();
    let mut seen: HashSet<ChunkId> = stack.iter().copied().collect();
    while !stack.is_empty() {
        let batch = stack.split_off(stack.len().saturating_sub(BATCH));
        let view = shared.lookup.view();
        let nodes = read_nodes(shared, &batch).await?;
        for nodes in nodes.chunks(TOGETHER) {
            let mut reached = Vec::new();
            for node in nodes.iter().flatten() {
                let (below, data) = node.references();
                reached.extend(data);
                stack.extend(below.into_iter().filter(|id| seen.insert(*id)));
            }
            packs.extend(packs_that_hold(&shared.env, &view, reached).await?);
        }
    }
    let view = shared.lookup.view();
    packs.extend(packs_that_hold(&shared.env, &view, seen.into_iter().collect()).await?);
    Ok(packs)
}

/// The nodes, but for those that cannot be read.
async fn read_nodes(shared: &Arc<Shared>, ids: &[ChunkId]) -> Result<Vec<Option<Node>>> {
    let mut nodes = Vec::new();
    match shared.get(ids, None).await {
        Ok(read) => {
            for bytes in read {
                nodes.push(Some(Node::decode(&bytes)?));
            }
        }
        Err(error) if is_damage(&error) => {
            for id in ids {
                match shared.get(&[*id], None).await {
                    Ok(read) => nodes.push(read.first().map(|b| Node::decode(b)).transpose()?),
                    Err(error) if is_damage(&error) => nodes.push(None),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(error) => return Err(error),
    }
    Ok(nodes)
}

/// Reads a point and walks the trees of its disks.
pub(super) async fn check_point(
    shared: &Arc<Shared>,
    state: &State,
    id: &PointId,
    bad: &Bad,
    whole: &mut HashSet<ChunkId>,
    hurts: &mut Hurts,
) -> Result<()> {
    let point = match shared.load_point(state, id).await {
        Ok(point) => point,
        Err(e) if is_damage(&e) => {
            let hurt = Hurt {
                point: *id,
                disk: None,
                servers: Vec::new(),
                offset: None,
            };
            hurts.push((format!("point {id}"), e.to_string(), hurt));
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    for disk in &point.disks {
        let hurt = check_tree(shared, disk.root, bad, whole).await?;
        for (object, offset) in hurt {
            let hurt = Hurt {
                point: *id,
                disk: Some(disk.disk.to_string()),
                servers: servers_of(&point, &disk.disk),
                offset: Some(offset),
            };
            let reason = "a chunk of a recovery point cannot be had".to_owned();
            hurts.push((object, reason, hurt));
        }
    }
    Ok(())
}

/// The names of the servers that have the disk.
fn servers_of(point: &RecoveryPoint, disk: &DiskId) -> Vec<String> {
    let has = |server: &&Server| {
        server
            .attachments
            .iter()
            .any(|at| match (&at.source, disk) {
                (DiskSource::Volume(volume), DiskId::Volume(id)) => volume == id,
                (
                    DiskSource::Local { name, .. },
                    DiskId::Local {
                        server: of,
                        name: id,
                    },
                ) => *of == server.id && name == id,
                _ => false,
            })
    };
    let servers = point.graph.servers.iter().filter(has);
    servers.map(|server| server.name.clone()).collect()
}

/// Walks a tree with offsets, so that what is damaged can be named by where it lies on the disk. Gives the objects that hurt it, with the
/// first offset that each of them hurts.
async fn check_tree(
    shared: &Arc<Shared>,
    root: Root,
    bad: &Bad,
    whole: &mut HashSet<ChunkId>,
) -> Result<BTreeMap<String, u64>> {
    let mut hurt: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen = HashSet::new();
    // Nodes to read: where they begin on the disk, and how many bytes each of their children covers.
    let mut stack = vec![(root.node, 0u64, 0u64)];
    let mut segment_size = 0;
    while !stack.is_empty() {
        let mut batch = stack.split_off(stack.len().saturating_sub(BATCH));
        // Points share most of their segments: one that was found whole needs no second look.
        batch.retain(|(id, offset, _)| !whole.contains(id) && seen.insert((*id, *offset)));
        let ids: Vec<ChunkId> = batch.iter().map(|(id, ..)| *id).collect();
        let gone = lost(shared, bad, ids).await?;
        batch.retain(|(id, offset, _)| match gone.get(id) {
            Some(objects) => {
                first(&mut hurt, objects, *offset);
                false
            }
            None => true,
        });
        let ids: Vec<ChunkId> = batch.iter().map(|(id, ..)| *id).collect();
        let nodes = read_nodes(shared, &ids).await?;
        let mut read: VecDeque<_> = batch.into_iter().zip(nodes).collect();
        while !read.is_empty() {
            let some: Vec<_> = read.drain(..TOGETHER.min(read.len())).collect();
            let nodes = some.iter().filter_map(|(_, node)| node.as_ref());
            let data = nodes.flat_map(|node| node.references().1).collect();
            let gone = lost(shared, bad, data).await?;
            for ((id, offset, covers), node) in some {
                match node {
                    None => first(&mut hurt, &[format!("chunk {id}")], offset),
                    Some(Node::Root(node)) => {
                        segment_size = node.segment_size;
                        let covers = segment_size
                            .saturating_mul((FANOUT as u64).saturating_pow(node.height()));
                        push_children(&mut stack, node.children, 0, covers);
                    }
                    Some(Node::Branch(children)) => {
                        push_children(&mut stack, children, offset, covers / FANOUT as u64)
                    }
                    Some(Node::Segment(items)) => {
                        let (mut at, mut is_whole) = (offset, true);
                        for item in items {
                            if let Item::Chunk { id, .. } = item
                                && let Some(objects) = gone.get(&id)
                            {
                                is_whole = false;
                                first(&mut hurt, objects, at);
                            }
                            at += u64::from(item.length());
                        }
                        if is_whole {
                            whole.insert(id);
                        }
                    }
                }
            }
        }
    }
    debug_assert!(segment_size > 0 || !hurt.is_empty());
    Ok(hurt)
}

/// Those of these chunks of which no copy can be had, with what should hold one, by where their copies lie now: since a pack was found bad, others may have
/// retired it, and stored the chunk again.
async fn lost(
    shared: &Shared,
    bad: &Bad,
    ids: Vec<ChunkId>,
) -> Result<HashMap<ChunkId, Vec<String>>> {
    let mut lost = HashMap::new();
    let view = shared.lookup.view();
    for (id, found) in locate_many(&shared.env, &view, ids).await? {
        let places = match (found, bad.get(&id)) {
            (Some(_), None) => continue,
            (None, _) => Vec::new(),
            (Some(_), Some(_)) => view.locate_all(&id)?,
        };
        let places = places
            .iter()
            .map(|at| at.place.pack.location(ObjectKind::Pack));
        let places: BTreeSet<Path> = places.collect();
        if places.is_empty() {
            lost.insert(id, vec![format!("chunk {id}")]);
        } else if bad.get(&id).is_some_and(|bad| places.is_subset(bad)) {
            lost.insert(id, places.iter().map(Path::to_string).collect());
        }
    }
    Ok(lost)
}

fn first(hurt: &mut BTreeMap<String, u64>, objects: &[String], offset: u64) {
    for object in objects {
        let known = hurt.entry(object.clone()).or_insert(offset);
        *known = offset.min(*known);
    }
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
