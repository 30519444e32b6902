//! Verifying: is everything there, and is it what it must be?
//!
//! Without a key, every object is checked against its name or the hash that it ends with, the log against its chain and signatures, and what the
//! log says is live against what is there. With the key, every chunk is opened and hashed, every point read, and every disk tree walked.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Serialize;

use super::checkpoint;
use super::entry::LogHome;
use super::fold::State;
use super::frame::unframe;
use super::names::{CHECKPOINTS, KEYS, LOG, ObjectKind, PARAMETERS, StoredName};
use super::parameters::Described;
use super::sign::Verifier;
use super::target::Target;
use crate::budget::Budget;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectHash, PointId};
use crate::store::ObjectCatalog;

/// Objects read at once.
const IN_FLIGHT: usize = 4;

/// What a verification without a key may hold in memory of packs, index objects and points.
const KEYLESS_MEMORY: u64 = 64 << 20;

/// Larger objects are hashed as they come, and never held as a whole.
const WHOLE: u64 = 16 << 20;

/// Log entries read at a time.
const BATCH: usize = 256;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Objects that were read in full.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Log entries whose chain and signature were checked.
    pub log_entries: u64,
    /// Chunks that were opened and hashed.
    pub chunks: u64,
    /// Points whose trees were walked.
    pub points: u64,
    /// What is damaged or missing.
    pub damage: Vec<Damage>,
    /// Objects that no version of this library made; nothing relies on them.
    pub foreign: Vec<String>,
    /// If only a sample of the packs was read: how large it was, and what it may have missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Sampled>,
    /// If it ended before all packs were read: where to go on, for [`VerifyOptions::after`](super::VerifyOptions::after).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<StoredName>,
}

/// A sample of the packs, drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sampled {
    /// Packs that were read.
    pub packs: u64,
    /// Packs that there are.
    pub of: u64,
    /// The probability that this missed all of the damage, if one pack in a hundred is damaged (or one, if there are fewer).
    pub missed_one_in_a_hundred: f64,
    /// The probability that this missed it, if a single pack is damaged.
    pub missed_single: f64,
}

impl Sampled {
    /// A sample of `packs` out of `of`: drawn without putting back, so that the damaged packs it holds are distributed hypergeometrically.
    pub(crate) fn new(packs: u64, of: u64) -> Self {
        let missed = |damaged: u64| -> f64 {
            let factors = (0..damaged.min(of)).map(|n| {
                let (left, all) = ((of - packs).saturating_sub(n), of - n);
                left as f64 / all as f64
            });
            factors.product()
        };
        Self {
            packs,
            of,
            missed_one_in_a_hundred: missed(of.div_ceil(100)),
            missed_single: missed(1),
        }
    }
}

impl Verified {
    /// Whether everything is as it must be.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Something that is damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The object in the target.
    pub object: String,
    /// What is wrong with it.
    pub reason: String,
    /// The points that it hurts, with the disks and the offsets in bytes where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hurts: Vec<Hurt>,
}

/// A place in a disk of a point that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hurt {
    /// The point.
    pub point: PointId,
    /// The disk, if the point could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// The servers that have the disk, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// The first byte that cannot be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)?;
        for hurt in &self.hurts {
            write!(f, "; hurts point {}", hurt.point)?;
            for server in &hurt.servers {
                write!(f, " server {server}")?;
            }
            if let Some(disk) = &hurt.disk {
                write!(f, " {disk}")?;
            }
            if let Some(offset) = hurt.offset {
                write!(f, " at {offset}")?;
            }
        }
        Ok(())
    }
}

/// Verifies a repository without any key.
///
/// # Errors
/// Only what keeps the verification from going on: no repository there, or a target that fails. Damage is reported, not returned as an error.
pub async fn verify_keyless(target: &Target) -> Result<Verified> {
    verify_within(target, &Budget::new(KEYLESS_MEMORY), &ObjectKind::ALL).await
}

/// The same, with what is read under `budget`, and of packs, index objects and points only those `kinds` read.
pub(crate) async fn verify_within(
    target: &Target,
    budget: &Budget,
    kinds: &[ObjectKind],
) -> Result<Verified> {
    let mut found = Verified::default();
    let Some(described) = read_parameters(target, &mut found).await? else {
        return Ok(found);
    };
    let mut state = follow_log(target, &described, &mut found).await?;
    check_framed(target, KEYS, &mut found, |_, bytes| {
        unframe(bytes, "key slot").map(drop)
    })
    .await?;
    check_framed(target, CHECKPOINTS, &mut found, |location, bytes| {
        let number = checkpoint::number(location).ok_or_else(|| {
            Error::new(Kind::Corrupt, "read checkpoint", "its name is not a number")
        })?;
        checkpoint::decode(bytes, number, &described.1.verifier).map(drop)
    })
    .await?;
    let verifier = &described.1.verifier;
    check_stored(target, verifier, &mut state, (budget, kinds), &mut found).await?;
    Ok(found)
}

async fn read_parameters(
    target: &Target,
    found: &mut Verified,
) -> Result<Option<(ObjectHash, Described)>> {
    let location = Path::from(PARAMETERS);
    let bytes = match get(&*target.objects, &location).await {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == Kind::NotFound => {
            return Err(Error::new(
                Kind::NotFound,
                "verify",
                "the target holds no repository: it has no raksha.json",
            ));
        }
        Err(e) => return Err(e),
    };
    found.count(&bytes);
    match Described::decode(&bytes) {
        Ok(described) => Ok(Some((
            ObjectHash::from_bytes(*blake3::hash(&bytes).as_bytes()),
            described,
        ))),
        Err(e) if e.kind() == Kind::Corrupt => {
            found.damage(&location, &e);
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Folds the whole log from its first entry; none if it is damaged somewhere.
async fn follow_log(
    target: &Target,
    (hash, described): &(ObjectHash, Described),
    found: &mut Verified,
) -> Result<Option<State>> {
    // Before the log is read: whatever is in it by now must be found.
    let least = known_entries(target).await?;
    let mut state: Option<State> = None;
    loop {
        let next = state.as_ref().map_or(0, |s| s.next);
        let entries = match target.catalog.read(next, BATCH).await {
            // One is missing somewhere ahead: up to there, each by itself.
            Err(e) if e.kind() == Kind::Corrupt => target.catalog.read(next, 1).await?,
            entries => entries?,
        };
        if entries.is_empty() {
            break;
        }
        if target.home() == LogHome::Catalog {
            compare_copies(target, next, &entries, found).await?;
        }
        for (number, bytes) in (next..).zip(entries) {
            found.count(&bytes);
            let folded =
                target
                    .known()
                    .decode(number, &bytes)
                    .and_then(|signed| match &mut state {
                        Some(state) => state.fold(&signed, &described.verifier),
                        None => State::begin(&signed, &described.verifier, *hash)
                            .map(|first| state = Some(first)),
                    });
            if let Err(error) = folded {
                found.damage(&log_location(number), &error);
                return Ok(None);
            }
            found.log_entries += 1;
        }
    }
    let next = state.as_ref().map_or(0, |s| s.next);
    if next < least.max(1) {
        let missing = Error::new(
            Kind::NotFound,
            "read log",
            "the entry is missing, and later ones are known",
        );
        found.damage(&log_location(next), &missing);
        return Ok(None);
    }
    Ok(state)
}

/// Where the log lies elsewhere, the target must have a copy of each entry.
async fn compare_copies(
    target: &Target,
    first: u64,
    entries: &[Bytes],
    found: &mut Verified,
) -> Result<()> {
    let copies = (first..)
        .zip(entries.iter().cloned())
        .map(|(number, entry)| async move {
            let location = log_location(number);
            let copy = get(&*target.objects, &location).await;
            (location, copy, entry)
        });
    let mut copies = stream::iter(copies).buffered(IN_FLIGHT);
    while let Some((location, copy, entry)) = copies.next().await {
        let wrong = match copy {
            Ok(copy) => {
                found.count(&copy);
                (copy != entry).then(|| {
                    Error::new(
                        Kind::Corrupt,
                        "verify",
                        "the copy of the log entry is not what the catalog has",
                    )
                })
            }
            Err(e) if e.kind() == Kind::NotFound => Some(e),
            Err(e) => return Err(e),
        };
        if let Some(error) = wrong {
            found.damage(&location, &error);
        }
    }
    Ok(())
}

/// How many entries the log has at least, as the names of later entries and of checkpoints tell. What its end lost that nothing else tells of
/// cannot be told from what was never there.
async fn known_entries(target: &Target) -> Result<u64> {
    let entries = list(&*target.objects, LOG).await?;
    let entries = entries.iter().filter_map(|location| {
        let number: u64 = location.filename()?.parse().ok()?;
        (*location == log_location(number)).then(|| number.saturating_add(1))
    });
    let checkpoints = list(&*target.objects, CHECKPOINTS).await?;
    let checkpoints = checkpoints.iter().filter_map(checkpoint::number);
    Ok(entries.chain(checkpoints).max().unwrap_or(0))
}

/// Where a log entry is, or would be if the log were kept in the target.
fn log_location(number: u64) -> Path {
    ObjectCatalog::location(number)
}

/// Reads every object under `prefix` and checks it.
async fn check_framed(
    target: &Target,
    prefix: &str,
    found: &mut Verified,
    check: impl Fn(&Path, &[u8]) -> Result<()>,
) -> Result<()> {
    for location in list(&*target.objects, prefix).await? {
        let bytes = match get(&*target.objects, &location).await {
            Ok(bytes) => bytes,
            // Key slots are removed, and checkpoints give way to newer ones, while they are looked at.
            Err(e) if e.kind() == Kind::NotFound => continue,
            Err(e) => return Err(e),
        };
        found.count(&bytes);
        if let Err(error) = check(&location, &bytes) {
            found.damage(&location, &error);
        }
    }
    Ok(())
}

/// Checks every pack, index object and point against its name, and whether all that is live is there.
async fn check_stored(
    target: &Target,
    verifier: &Verifier,
    state: &mut Option<State>,
    (budget, kinds): (&Budget, &[ObjectKind]),
    found: &mut Verified,
) -> Result<()> {
    let objects = &*target.objects;
    let mut live = state.as_ref().map(live_objects).unwrap_or_default();
    for kind in ObjectKind::ALL {
        let listed = list_all(objects, kind.prefix()).await?;
        if !kinds.contains(&kind) {
            for meta in listed {
                match StoredName::parse(&meta.location) {
                    Some(_) => drop(live.remove(&meta.location)),
                    None => found.foreign.push(meta.location.to_string()),
                }
            }
            continue;
        }
        let mut hashes = stream::iter(listed)
            .map(|meta| async move {
                let hash = hash_of(objects, &meta, budget).await;
                (meta.location, hash)
            })
            .buffered(IN_FLIGHT);
        while let Some((location, hash)) = hashes.next().await {
            let Some((_, name)) = StoredName::parse(&location) else {
                found.foreign.push(location.to_string());
                continue;
            };
            let (hash, bytes) = match hash {
                Ok(hash) => hash,
                // Deleted since it was listed; if it was live, it is missing, and reported below.
                Err(e) if e.kind() == Kind::NotFound => continue,
                Err(e) => return Err(e),
            };
            live.remove(&location);
            found.named(&location, &name, hash, bytes);
        }
    }
    // Whatever was not listed: lists may be late, or it is gone.
    let mut missing = Vec::new();
    for (location, (kind, name)) in live {
        let read = async {
            let head = objects.head(&location).await;
            let meta = head.map_err(|e| Error::object("verify", &location, e))?;
            hash_of(objects, &meta, budget).await
        };
        match read.await {
            Ok((hash, bytes)) => found.named(&location, &name, hash, bytes),
            Err(e) if e.kind() == Kind::NotFound => missing.push((location, kind, name)),
            Err(e) => return Err(e),
        }
    }
    let Some(state) = state.as_mut().filter(|_| !missing.is_empty()) else {
        return Ok(());
    };
    // Others may have retired, merged or forgotten it, and deleted it, since the log was folded.
    if let Err(error) = catch_up(target, verifier, state).await {
        match error.kind() {
            Kind::Corrupt | Kind::NotFound => found.damage(&log_location(state.next), &error),
            _ => return Err(error),
        }
    }
    let live = live_objects(state);
    for (location, kind, _) in missing {
        if live.contains_key(&location) {
            let error = Error::new(Kind::NotFound, "verify", format!("the {kind} is missing"));
            found.damage(&location, &error);
        }
    }
    Ok(())
}

/// Folds what was appended since.
async fn catch_up(target: &Target, verifier: &Verifier, state: &mut State) -> Result<()> {
    loop {
        let entries = target.catalog.read(state.next, BATCH).await?;
        if entries.is_empty() {
            return Ok(());
        }
        for bytes in entries {
            let signed = target.known().decode(state.next, &bytes)?;
            state.fold(&signed, verifier)?;
        }
    }
}

/// The BLAKE3 of an object and its length. What is held of it meanwhile is under `budget`.
async fn hash_of(
    objects: &dyn ObjectStore,
    meta: &ObjectMeta,
    budget: &Budget,
) -> Result<(ObjectHash, u64)> {
    let location = &meta.location;
    let mut hasher = blake3::Hasher::new();
    let mut length = 0;
    if meta.size <= WHOLE {
        let _permit = budget.take(meta.size).await;
        let bytes = get(objects, location).await?;
        hasher.update(&bytes);
        length = bytes.len() as u64;
    } else {
        let failed = |e| Error::object("read", location, e);
        let mut body = objects.get(location).await.map_err(failed)?.into_stream();
        while let Some(piece) = body.try_next().await.map_err(failed)? {
            hasher.update(&piece);
            length += piece.len() as u64;
        }
    }
    Ok((
        ObjectHash::from_bytes(*hasher.finalize().as_bytes()),
        length,
    ))
}

pub(crate) fn misnamed() -> Error {
    Error::new(
        Kind::Corrupt,
        "verify",
        "its bytes are not those that its name says",
    )
}

/// Checks a single object by itself, without any key: a pack, an index object or a point against its name, anything else against the hash that it
/// ends with. Whether it belongs where it is, and whether others are missing, [`verify_keyless`] tells.
///
/// # Errors
/// [`Kind::Corrupt`] if it is not what it was, [`Kind::Invalid`] if there is no such object in a repository.
pub fn verify_object(location: &Path, bytes: &[u8]) -> Result<()> {
    if let Some((_, name)) = StoredName::parse(location) {
        return match StoredName::of(name.session, bytes) == name {
            true => Ok(()),
            false => Err(misnamed().with("object", location)),
        };
    }
    let framed = [KEYS, LOG, CHECKPOINTS];
    let mut parts = location.as_ref().splitn(2, '/');
    let known = match (parts.next(), parts.next()) {
        (Some(PARAMETERS), None) => true,
        (Some(prefix), Some(_)) => framed.contains(&prefix),
        _ => false,
    };
    if !known {
        let why = "a repository has no object of this name";
        return Err(Error::new(Kind::Invalid, "verify", why).with("object", location));
    }
    unframe(bytes, "object")
        .map(drop)
        .map_err(|e| e.with("object", location))
}

/// Where the objects are that the log says are live.
fn live_objects(state: &State) -> BTreeMap<Path, (ObjectKind, StoredName)> {
    let packs = state.packs.keys().map(|n| (ObjectKind::Pack, *n));
    let indexes = state.indexes.keys().map(|n| (ObjectKind::Index, *n));
    let points = state.points.iter().map(|(id, point)| {
        let hash = ObjectHash::from_bytes(*id.as_bytes());
        (ObjectKind::Point, StoredName::new(point.session, hash))
    });
    let all = packs.chain(indexes).chain(points);
    all.map(|(kind, name)| (name.location(kind), (kind, name)))
        .collect()
}

impl Verified {
    pub(crate) fn count(&mut self, bytes: &Bytes) {
        self.objects += 1;
        self.bytes += bytes.len() as u64;
    }

    /// An object of this name was read and has this hash.
    fn named(&mut self, location: &Path, name: &StoredName, hash: ObjectHash, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
        if hash != name.hash {
            self.damage(location, &misnamed());
        }
    }

    pub(crate) fn damage(&mut self, object: &Path, reason: &Error) {
        self.damage.push(Damage {
            object: object.to_string(),
            reason: reason.to_string(),
            hurts: Vec::new(),
        });
    }

    /// Objects already known to be damaged.
    pub(crate) fn damaged(&self) -> HashSet<String> {
        self.damage.iter().map(|d| d.object.clone()).collect()
    }
}

pub(crate) async fn get(objects: &dyn ObjectStore, location: &Path) -> Result<Bytes> {
    let read = async { objects.get(location).await?.bytes().await }.await;
    read.map_err(|e| Error::object("read", location, e))
}

pub(crate) async fn list(objects: &dyn ObjectStore, prefix: &str) -> Result<Vec<Path>> {
    let listed = list_all(objects, prefix).await?.into_iter();
    Ok(listed.map(|meta| meta.location).collect())
}

/// What lies under `prefix`, in the order of names.
pub(crate) async fn list_all(objects: &dyn ObjectStore, prefix: &str) -> Result<Vec<ObjectMeta>> {
    let prefix = Path::from(prefix);
    let listed = objects.list(Some(&prefix)).try_collect().await;
    let mut listed: Vec<ObjectMeta> = listed.map_err(|e| Error::object("list", &prefix, e))?;
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(listed)
}
