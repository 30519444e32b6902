//! Copying what is live out of packs that are mostly garbage.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::collect::Marking;
use super::fold::State;
use super::names::{ObjectKind, PackName};
use super::pack::{Directory, slice};
use super::session::Session;
use super::shared::Shared;
use super::verify::get;
use super::writer::packer;
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::store::{Role, Stored};

/// What was copied out of packs.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Bytes of all copies.
    pub(super) bytes: u64,
    packs: BTreeMap<PackName, Copied>,
}

#[derive(Debug, Default)]
struct Copied {
    copied: HashSet<ChunkId>,
    left: Vec<ChunkId>,
}

/// Copies the marked chunks of `packs` into new packs of the session, as they are: sealed records mean the same in every pack.
/// Each is opened on the way: what is damaged is not passed on as whole.
///
/// # Errors
/// [`Kind::Corrupt`] or [`Kind::NotFound`] for a pack that cannot be read; nothing is retired then.
pub(super) async fn copy_live(
    session: &Arc<Session>,
    packs: &[PackName],
    marking: &Marking,
) -> Result<Copies> {
    let mut copies = Copies::default();
    if packs.is_empty() {
        return Ok(copies);
    }
    let shared = &session.shared;
    let packer = packer(session);
    for pack in packs {
        let (role, records, left) = match live_records(shared, pack, marking).await {
            Ok(found) => found,
            // Another collector retired and deleted it since: there is nothing left to do.
            Err(e) if e.kind() == Kind::NotFound => {
                match shared.refresh().await?.packs.contains_key(pack) {
                    true => return Err(e),
                    false => continue,
                }
            }
            Err(e) => return Err(e),
        };
        let entry = copies.packs.entry(*pack).or_default();
        entry.left = left;
        entry.copied = records.iter().map(|(id, _)| *id).collect();
        for stored in packer.copy(role, records).await? {
            if let Stored::New { stored_bytes } = stored {
                copies.bytes += stored_bytes;
            }
        }
    }
    packer.flush().await?;
    Ok(copies)
}

type Records = Vec<(ChunkId, Bytes)>;

/// The marked records of a pack, opened once, and the chunks that are not marked.
async fn live_records(
    shared: &Arc<Shared>,
    pack: &PackName,
    marking: &Marking,
) -> Result<(Role, Records, Vec<ChunkId>)> {
    let location = pack.location(ObjectKind::Pack);
    let bytes = get(&*shared.target.objects, &location).await?;
    let directory = Directory::of_pack(&bytes).map_err(|e| e.with("object", &location))?;
    let (mut live, mut left) = (Records::new(), Vec::new());
    for entry in &directory.entries {
        let places = marking.view.locate_all(&entry.id)?;
        let marked = places
            .iter()
            .any(|at| at.place.pack == *pack && marking.marks.is_marked(at.entry));
        match slice(&bytes, entry.offset, entry.length) {
            Some(record) if marked => live.push((entry.id, bytes.slice_ref(record))),
            _ => left.push(entry.id),
        }
    }
    let (records, role, opened) = (Arc::clone(&shared.records), directory.role, live.clone());
    let open = move || {
        opened
            .iter()
            .try_for_each(|(id, record)| records.open_chunk(record, *id, role).map(drop))
    };
    let opened: Result<()> = shared.env.compute(open).await?;
    opened.map_err(|e| {
        Error::new(
            Kind::Corrupt,
            "collect",
            "a pack holds a damaged chunk that a point needs; nothing was collected: run verify",
        )
        .with("object", location)
        .caused_by(e)
    })?;
    Ok((directory.role, live, left))
}

impl Copies {
    /// Those of `packs` that nothing needs by these marks, except for what was copied.
    pub(super) async fn still_garbage(
        &self,
        shared: &Shared,
        state: &State,
        marking: &Marking,
        packs: Vec<PackName>,
    ) -> Result<Vec<PackName>> {
        let usage: HashMap<_, _> = marking.usage(shared).await?;
        let mut garbage = Vec::new();
        for pack in packs {
            let live = usage.get(&pack).map_or(u64::MAX, |used| used.live_records);
            let needless = match self.packs.get(&pack) {
                None => live == 0,
                Some(copied) => !copied.leaves_out_any(&pack, marking)?,
            };
            if needless && state.packs.contains_key(&pack) {
                garbage.push(pack);
            }
        }
        Ok(garbage)
    }
}

impl Copied {
    /// Whether a chunk is marked in `pack` that was not copied.
    fn leaves_out_any(&self, pack: &PackName, marking: &Marking) -> Result<bool> {
        for id in self.left.iter().filter(|id| !self.copied.contains(id)) {
            let places = marking.view.locate_all(id)?;
            if places
                .iter()
                .any(|at| at.place.pack == *pack && marking.marks.is_marked(at.entry))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
