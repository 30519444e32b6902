//! Taking damaged packs out of use, so that what they lost is stored anew.
//!
//! A chunk whose record is damaged stays known for as long as its pack is live, and nobody would store it again. So whatever can still be read in a damaged
//! pack is copied into a new one, and the pack is retired. From then on what it lost is in no pack: the next backup that meets
//! the same bytes stores them, under the same name, and so heals every older point that lacks them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use serde::Serialize;

use super::entry::{Action, Purpose};
use super::handle::Repository;
use super::lookup::Place;
use super::names::{ObjectKind, PackName, StoredName};
use super::pack::slice;
use super::reach;
use super::reader::PlainSource;
use super::session::Session;
use super::shared::Shared;
use super::verify::{Verified, get};
use super::writer::packer;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, PointId};
use crate::store::Role;

/// What became of damaged packs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Salvaged {
    /// Packs that were retired.
    pub retired_packs: u64,
    /// Chunks that were still whole in them, and were copied.
    pub saved_chunks: u64,
    /// Chunks that are in no pack any more. Points that need them are not whole until the same bytes are stored again.
    pub lost_chunks: u64,
    /// Packs that could not be retired, since the session that stored them is still open: wait for it, or fence it off.
    pub in_use: Vec<StoredName>,
}

/// Records of a pack by where they lie.
type Records = BTreeMap<Place, ChunkId>;

impl Repository {
    /// Takes the packs out of use that a verification found damaged or missing, and saves what is still whole in them. Who does
    /// it is noted in the log.
    ///
    /// # Errors
    /// Those of the target. What was saved until then stays, and nothing is retired.
    pub async fn retire_damaged(&self, verified: &Verified, who: &str) -> Result<Salvaged> {
        let shared = &self.shared;
        let state = shared.refresh().await?;
        let named = verified.damage.iter().filter_map(|damage| {
            match StoredName::parse(&Path::from(damage.object.as_str())) {
                Some((ObjectKind::Pack, name)) => Some(name),
                _ => None,
            }
        });
        let damaged: BTreeSet<PackName> = named.filter(|p| state.packs.contains_key(p)).collect();
        let (in_use, damaged): (BTreeSet<_>, BTreeSet<_>) = damaged
            .into_iter()
            .partition(|pack| state.sessions.contains_key(&pack.session));
        let mut done = Salvaged {
            in_use: in_use.into_iter().collect(),
            ..Salvaged::default()
        };
        if damaged.is_empty() {
            return Ok(done);
        }
        let session = Session::open(Arc::clone(shared), Purpose::Collect, &[], who).await?;
        let session = Arc::new(session);
        let outcome = salvage(&session, damaged, &mut done).await;
        let closed = session.close().await;
        outcome.and(closed)?;
        Ok(done)
    }

    /// Whether everything that a point reaches is in some pack. At once unless damaged packs were ever retired; then its trees are walked. A point
    /// that is not whole is no base to go by: what it lacks would be missing in the next one as well.
    ///
    /// # Errors
    /// Those of the target. A point that is gone or cannot be read is not whole.
    pub async fn is_whole(&self, point: PointId) -> Result<bool> {
        let shared = &self.shared;
        let state = shared.refresh().await?;
        if state.last_damage == 0 {
            return Ok(true);
        }
        let walked = async {
            let point = shared.load_point(&state, &point).await?;
            let roots = point.disks.iter().map(|d| d.root);
            let missing = reach::missing(shared, &PlainSource(shared), roots).await?;
            Ok::<_, Error>(missing == 0)
        };
        match walked.await {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => Ok(false),
            walked => walked,
        }
    }
}

/// Copies what is whole in `damaged`, retires them, and counts what is lost.
async fn salvage(
    session: &Arc<Session>,
    damaged: BTreeSet<PackName>,
    done: &mut Salvaged,
) -> Result<()> {
    let shared = &session.shared;
    let mut records: BTreeMap<PackName, Records> = BTreeMap::new();
    shared.lookup.view().for_each(|id, at| {
        if damaged.contains(&at.place.pack) {
            let pack = records.entry(at.place.pack).or_default();
            pack.insert(at.place, id);
        }
        Ok(())
    })?;
    let packer = packer(session);
    let mut doubtful: HashSet<ChunkId> = HashSet::new();
    for pack in &damaged {
        let records = records.remove(pack).unwrap_or_default();
        doubtful.extend(records.values());
        for (role, whole) in whole_records(shared, pack, records).await? {
            done.saved_chunks += whole.len() as u64;
            packer.copy(role, whole).await?;
        }
    }
    packer.flush().await?;
    loop {
        let state = shared.refresh().await?;
        let live = damaged.iter().filter(|p| state.packs.contains_key(p));
        let packs: Vec<PackName> = live.copied().collect();
        if packs.is_empty() {
            break;
        }
        done.retired_packs = packs.len() as u64;
        let retire = session.append(|_| {
            Ok(Action::PacksRetired {
                packs: packs.clone(),
                checked: state.next,
                damaged: true,
            })
        });
        match retire.await {
            Ok(_) => break,
            // Somebody committed or retired meanwhile. What is whole is saved, so there is nothing to think over.
            Err(e) if e.kind() == Kind::Conflict => {}
            Err(e) => return Err(e),
        }
    }
    shared.refresh().await?;
    for id in doubtful {
        done.lost_chunks += u64::from(shared.lookup.locate(&id)?.is_none());
    }
    Ok(())
}

/// The records of a pack that can still be opened, by role.
async fn whole_records(
    shared: &Arc<Shared>,
    pack: &PackName,
    records: Records,
) -> Result<Vec<(Role, Vec<(ChunkId, Bytes)>)>> {
    let live = shared
        .log
        .seen()
        .await
        .packs
        .get(pack)
        .map_or(0, |p| p.bytes);
    let _permit = shared.shares.fetching().take(live).await;
    let bytes = match get(&*shared.target.objects, &pack.location(ObjectKind::Pack)).await {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == Kind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let opener = Arc::clone(&shared.records);
    let open = move || {
        let mut whole: [(Role, Vec<(ChunkId, Bytes)>); 2] =
            [(Role::Data, Vec::new()), (Role::Tree, Vec::new())];
        for (place, id) in records {
            let Some(record) = slice(&bytes, place.offset, place.length) else {
                continue;
            };
            if opener.open_chunk(record, id, place.role).is_ok() {
                // A copy, so that the pack goes when this is stored.
                let record = Bytes::copy_from_slice(record);
                let of_role = whole.iter_mut().filter(|(role, _)| *role == place.role);
                of_role.for_each(|(_, records)| records.push((id, record.clone())));
            }
        }
        whole
            .into_iter()
            .filter(|(_, some)| !some.is_empty())
            .collect()
    };
    shared.env.compute(open).await
}
