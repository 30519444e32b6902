//! Verifying with the key: every chunk is opened and hashed, every point read, every disk tree walked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use object_store::path::Path;

use super::fold::State;
use super::names::{ObjectKind, PackName, StoredName};
use super::pack::{Directory, slice};
use super::shared::Shared;
use super::verify::{Damage, Hurt, Sampled, Verified, get, misnamed, verify_within};
use crate::cloud::{DiskId, DiskSource, Server};
use crate::error::{Error, Kind, Result};
use crate::format::tree::{FANOUT, Item, Node, Root};
use crate::id::{ChunkId, PointId};
use crate::point::RecoveryPoint;

/// Packs opened at once.
const IN_FLIGHT: usize = 2;

/// How to verify.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Only these points and the chunks that they reach; none for all, and every chunk.
    pub points: Option<Vec<PointId>>,
    /// Read only this share of the packs, drawn at random: 0.05 for every twentieth. None for all of them.
    pub sample: Option<f64>,
    /// Read packs at no more than this rate, so that it can go on in the background.
    pub bytes_per_second: Option<u64>,
    /// End after so many bytes of packs, and say where to go on: [`Verified::next`].
    pub most_bytes: Option<u64>,
    /// Go on behind this pack: what an earlier verification gave as [`Verified::next`].
    pub after: Option<StoredName>,
}

/// Chunks that cannot be had, with the objects that should hold them.
type Bad = HashMap<ChunkId, Path>;

pub(crate) async fn verify(shared: &Arc<Shared>, options: &VerifyOptions) -> Result<Verified> {
    // Packs are read once, below: hashed and opened at the same time.
    let kinds = [ObjectKind::Index, ObjectKind::Point];
    let mut found = verify_within(&shared.target, &shared.shares.fetching(), &kinds).await?;
    let bad = open_packs(shared, options, &mut found).await?;
    let state = shared.refresh().await?;
    let mut hurts = Vec::new();
    let mut whole = HashSet::new();
    for id in state.points.keys() {
        if options
            .points
            .as_ref()
            .is_some_and(|wanted| !wanted.contains(id))
        {
            continue;
        }
        check_point(shared, &state, id, &bad, &mut whole, &mut hurts).await?;
        found.points += 1;
    }
    // What others forgot and collected meanwhile is not hurt.
    let state = shared.refresh().await?;
    for (object, reason, hurt) in hurts {
        if state.points.contains_key(&hurt.point) {
            note(&mut found, object, reason, hurt);
        }
    }
    Ok(found)
}

/// Opens every chunk of every live pack, or of those that the options ask for.
async fn open_packs(
    shared: &Arc<Shared>,
    options: &VerifyOptions,
    found: &mut Verified,
) -> Result<Bad> {
    let state = shared.refresh().await?;
    let known = found.damaged();
    let budget = &shared.shares.fetching();
    let began = tokio::time::Instant::now();
    let (packs, sampled) = chosen(shared, &state, options)?;
    found.sampled = sampled;
    let last = packs.last().copied();
    let mut read = 0;
    let mut damaged: Vec<(PackName, Error)> = Vec::new();
    let mut bad = Bad::new();
    let mut unreadable = HashSet::new();
    let mut reads = stream::iter(packs)
        .map(|pack| async move {
            let bytes = budget_for(shared, &pack).await;
            let _permit = budget.take(bytes).await;
            (pack, open_pack(shared, &pack).await)
        })
        .buffered(IN_FLIGHT);
    while let Some((pack, outcome)) = reads.next().await {
        let location = pack.location(ObjectKind::Pack);
        match outcome {
            Ok(opened) => {
                found.objects += 1;
                found.bytes += opened.bytes;
                found.chunks += opened.chunks;
                read += opened.bytes;
                let first = opened.damaged.first().map(|(_, error)| error);
                match (opened.named, first) {
                    (true, None) => {}
                    (_, Some(error)) => damaged.push((pack, told_again(error))),
                    (false, None) => damaged.push((pack, misnamed())),
                }
                let lost = opened.damaged.into_iter();
                bad.extend(lost.map(|(id, _)| (id, location.clone())));
            }
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {
                damaged.push((pack, e));
                unreadable.insert(pack);
            }
            Err(e) => return Err(e),
        }
        if options.most_bytes.is_some_and(|most| read >= most) && last != Some(pack) {
            found.next = Some(pack);
            break;
        }
        if let Some(rate) = options.bytes_per_second {
            let due = std::time::Duration::from_secs_f64(read as f64 / rate.max(1) as f64);
            tokio::time::sleep_until(began + due).await;
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
    // What others retired meanwhile is not missed: what it held is elsewhere, or nobody needs it.
    let state = shared.refresh().await?;
    for (pack, error) in damaged {
        let location = pack.location(ObjectKind::Pack);
        if state.packs.contains_key(&pack) && !known.contains(location.as_ref()) {
            found.damage(&location, &error);
        }
    }
    keep_lost(shared, bad)
}

async fn budget_for(shared: &Shared, pack: &PackName) -> u64 {
    let state = shared.log.seen().await;
    state.packs.get(pack).map_or(0, |live| live.bytes)
}

/// The packs to read, in the order of their names, and what sample of all they are.
fn chosen(
    shared: &Shared,
    state: &State,
    options: &VerifyOptions,
) -> Result<(Vec<PackName>, Option<Sampled>)> {
    let all = state.packs.keys().copied();
    let left: Vec<PackName> = all
        .filter(|pack| options.after.is_none_or(|after| *pack > after))
        .collect();
    let Some(share) = options.sample else {
        return Ok((left, None));
    };
    let of = left.len() as u64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of `of`
    let wanted = ((of as f64 * share.clamp(0.0, 1.0)).ceil() as u64).min(of);
    // Selection sampling (Knuth, algorithm 3.4.2 S): each set of that size is as likely as any other.
    let mut packs = Vec::new();
    for (seen, pack) in (0u64..).zip(left) {
        let missing = wanted - packs.len() as u64;
        let drawn = u128::from(u64::from_le_bytes(shared.env.random()?)) * u128::from(of - seen);
        if (drawn >> 64) < u128::from(missing) {
            packs.push(pack);
        }
    }
    let sampled = Sampled::new(packs.len() as u64, of);
    Ok((packs, Some(sampled)))
}

/// The same once more.
fn told_again(error: &Error) -> Error {
    Error::new(Kind::Corrupt, "verify", error.to_string())
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
    bytes: u64,
    /// Whether its bytes are those that its name says.
    named: bool,
    chunks: u64,
    damaged: Vec<(ChunkId, Error)>,
}

async fn open_pack(shared: &Arc<Shared>, pack: &PackName) -> Result<Opened> {
    let location = pack.location(ObjectKind::Pack);
    let bytes = get(&*shared.target.objects, &location).await?;
    let (records, name) = (Arc::clone(&shared.records), *pack);
    let open = move || -> Result<Opened> {
        let directory = Directory::of_pack(&bytes)?;
        let mut opened = Opened {
            bytes: bytes.len() as u64,
            named: StoredName::of(name.session, &bytes) == name,
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
    hurts: &mut Hurts,
) -> Result<()> {
    let point = match shared.load_point(state, id).await {
        Ok(point) => point,
        Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {
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

/// What is hurt: the object, why, and where.
type Hurts = Vec<(String, String, Hurt)>;

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
    while let Some((id, offset, covers)) = stack.pop() {
        // Points share most of their segments: one that was found whole needs no second look.
        if whole.contains(&id) || !seen.insert((id, offset)) {
            continue;
        }
        let node = match bad.get(&id) {
            Some(location) => Err(location.to_string()),
            None => match shared.get(&[id], None).await {
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
                first(&mut hurt, object, offset);
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
                            first(&mut hurt, location.to_string(), at);
                        } else if shared.lookup.locate(&id)?.is_none() {
                            is_whole = false;
                            first(&mut hurt, format!("chunk {id}"), at);
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
    Ok(hurt)
}

fn first(hurt: &mut BTreeMap<String, u64>, object: String, offset: u64) {
    let known = hurt.entry(object).or_insert(offset);
    *known = offset.min(*known);
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
