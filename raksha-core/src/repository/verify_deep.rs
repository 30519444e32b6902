//! Verifying with the key: every chunk is opened and hashed, every point read, every disk tree walked.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::names::{ObjectKind, PackName, StoredName};
use super::pack::{Directory, slice};
use super::shared::Shared;
use super::verify::{Damage, Hurt, Sampled, Verified, get, misnamed, verify_within};
use super::verify_trees::{Bad, Hurts, check_point, is_damage, packs_of};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ObjectHash, PointId};

/// Packs opened at once.
const IN_FLIGHT: usize = 2;

/// How to verify.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Only these points, the packs that hold what they reach, and the index objects that describe those packs; none for all that there is, the log included.
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

pub(crate) async fn verify(shared: &Arc<Shared>, options: &VerifyOptions) -> Result<Verified> {
    let wanted: Option<BTreeSet<PointId>> =
        (options.points.as_ref()).map(|points| points.iter().copied().collect());
    // Packs are read once, below: hashed and opened at the same time.
    let (mut found, packs) = match &wanted {
        None => {
            let kinds = [ObjectKind::Index, ObjectKind::Point];
            let budget = shared.shares.fetching();
            let found = verify_within(&shared.target, &budget, &kinds).await?;
            let state = shared.refresh().await?;
            (found, state.packs.keys().copied().collect())
        }
        Some(points) => verify_around(shared, points).await?,
    };
    let bad = open_packs(shared, packs, options, &mut found).await?;
    let state = shared.refresh().await?;
    let mut hurts = Hurts::new();
    let mut whole = HashSet::new();
    for id in state.points.keys() {
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(id)) {
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

/// Checks what these points need beside packs: their own objects, and the index objects that describe the packs. Gives the packs.
async fn verify_around(
    shared: &Arc<Shared>,
    points: &BTreeSet<PointId>,
) -> Result<(Verified, Vec<PackName>)> {
    let mut found = Verified::default();
    let state = shared.refresh().await?;
    let mut needed = Vec::new();
    for id in points {
        let session = state.live_point(id)?.session;
        let name = StoredName::new(session, ObjectHash::from_bytes(*id.as_bytes()));
        needed.push((ObjectKind::Point, name));
    }
    let packs = packs_of(shared, &state, points).await?;
    for (name, index) in &state.indexes {
        if index.packs.iter().any(|pack| packs.contains(pack)) {
            needed.push((ObjectKind::Index, *name));
        }
    }
    let mut lost = Vec::new();
    for (kind, name) in needed {
        let location = name.location(kind);
        match get(&*shared.target.objects, &location).await {
            Ok(bytes) => {
                found.count(&bytes);
                if StoredName::of(name.session, &bytes) != name {
                    lost.push((kind, name, misnamed()));
                }
            }
            Err(error) if error.kind() == Kind::NotFound => lost.push((kind, name, error)),
            Err(error) => return Err(error),
        }
    }
    let state = shared.refresh().await?;
    for (kind, name, error) in lost {
        // Others may have forgotten or merged it meanwhile.
        let is_live = match kind {
            ObjectKind::Index => state.indexes.contains_key(&name),
            _ => state
                .points
                .contains_key(&PointId::from_bytes(*name.hash.as_bytes())),
        };
        if !is_live {
            continue;
        }
        found.damage(&name.location(kind), &error);
        // Without it, whoever opens the repository finds nothing of what it describes.
        if kind == ObjectKind::Index
            && let Some(damage) = found.damage.last_mut()
        {
            damage.hurts.extend(points.iter().map(|point| Hurt {
                point: *point,
                disk: None,
                servers: Vec::new(),
                offset: None,
            }));
        }
    }
    Ok((found, packs.into_iter().collect()))
}

/// Opens every chunk of these packs, or of those of them that the options ask for.
async fn open_packs(
    shared: &Arc<Shared>,
    packs: Vec<PackName>,
    options: &VerifyOptions,
    found: &mut Verified,
) -> Result<Bad> {
    let known = found.damaged();
    let budget = &shared.shares.fetching();
    let began = tokio::time::Instant::now();
    let (packs, sampled) = chosen(shared, packs, options)?;
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
                for (id, _) in opened.damaged {
                    bad.entry(id).or_default().insert(location.clone());
                }
            }
            Err(e) if is_damage(&e) => {
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
                let location = at.place.pack.location(ObjectKind::Pack);
                bad.entry(id).or_default().insert(location);
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
    Ok(bad)
}

async fn budget_for(shared: &Shared, pack: &PackName) -> u64 {
    let state = shared.log.seen().await;
    state.packs.get(pack).map_or(0, |live| live.bytes)
}

/// The packs to read, in the order of their names, and what sample of all they are.
fn chosen(
    shared: &Shared,
    mut left: Vec<PackName>,
    options: &VerifyOptions,
) -> Result<(Vec<PackName>, Option<Sampled>)> {
    left.retain(|pack| options.after.is_none_or(|after| *pack > after));
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
