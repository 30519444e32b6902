//! Fetches chunks: neighbours together, several requests at once, everything checked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;

use super::lookup::{Lookup, Place};
use super::names::{ObjectKind, PackName};
use super::packer::{Held, Packer};
use super::record::Records;
use crate::budget::Budget;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::store::Role;

/// Records closer to each other than this are fetched with one request. A request costs a millisecond or more even in one's own data
/// centre, in which a connection of 1 Gbit/s brings 128 KiB.
const GAP: u64 = 128 << 10;

/// No request gets larger than this unless a single record is: so that there is something to do at the same time.
const RANGE: u64 = 4 << 20;

/// Requests under way at once.
const REQUESTS: usize = 16;

/// Gets chunks of a repository. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    objects: Arc<dyn ObjectStore>,
    lookup: Arc<Lookup>,
    records: Arc<Records>,
    env: Env,
    budget: Budget,
    requests: Arc<Semaphore>,
}

/// Some records of a pack that are fetched together.
struct Range {
    pack: PackName,
    start: u64,
    end: u64,
    records: Vec<(ChunkId, Place)>,
}

/// Where chunks are.
#[derive(Default)]
struct Found {
    /// In the target.
    places: Vec<(ChunkId, Place)>,
    /// Their records, which are in memory still.
    in_memory: Vec<(ChunkId, Bytes, Role)>,
}

/// What came of each chunk that was asked for.
type Opened = Vec<(ChunkId, Result<Bytes>)>;

impl Fetcher {
    /// Fetches from `objects` with a `budget` of its own, for what was received and is not opened yet.
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        lookup: Arc<Lookup>,
        records: Arc<Records>,
        env: Env,
        budget: Budget,
    ) -> Self {
        Self {
            objects,
            lookup,
            records,
            env,
            budget,
            requests: Arc::new(Semaphore::new(REQUESTS)),
        }
    }

    /// The bytes of these chunks, in the order asked for; those that `own` is still storing too. If a record cannot be had or
    /// is damaged and there is another of the same chunk, that one is taken.
    ///
    /// # Errors
    /// As [`ChunkSource::get`](crate::store::ChunkSource::get) says; the errors name pack and chunk.
    pub(crate) async fn get(&self, ids: &[ChunkId], own: Option<&Packer>) -> Result<Vec<Bytes>> {
        let mut got: HashMap<ChunkId, Bytes> = HashMap::with_capacity(ids.len());
        let mut seen = HashSet::with_capacity(ids.len());
        let wanted: Vec<_> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        let Found { places, in_memory } = self.places(wanted, own).await?;

        let records = Arc::clone(&self.records);
        let open = move || open_all(&records, in_memory);
        for (id, bytes) in self.env.compute(open).await? {
            got.insert(id, bytes?);
        }
        let mut fetches = stream::iter(ranges(places))
            .map(|range| self.fetch(range))
            .buffer_unordered(REQUESTS);
        let mut failed = Vec::new();
        while let Some(opened) = fetches.next().await {
            for (id, bytes) in opened? {
                match bytes {
                    Ok(bytes) => drop(got.insert(id, bytes)),
                    Err(e) => failed.push((id, e)),
                }
            }
        }
        drop(fetches);
        for (id, error) in failed {
            got.insert(id, self.elsewhere(id, error).await?);
        }
        let in_order = ids
            .iter()
            .map(|id| got.get(id).cloned().ok_or_else(|| nowhere(id)));
        in_order.collect()
    }

    /// Where chunks are.
    async fn places(&self, wanted: Vec<ChunkId>, own: Option<&Packer>) -> Result<Found> {
        let mut found = Found::default();
        // First what is being stored, then the lookup: in this order nothing slips through that is published meanwhile.
        let held = match own {
            Some(packer) => packer.held(&wanted).await?,
            None => wanted.iter().map(|_| None).collect(),
        };
        let mut unknown = Vec::new();
        for (id, held) in wanted.into_iter().zip(held) {
            match held {
                Some(Held::Record(bytes, role)) => found.in_memory.push((id, bytes, role)),
                Some(Held::At(place)) => found.places.push((id, place)),
                Some(Held::Claimed) | None => unknown.push(id),
            }
        }
        let lookup = Arc::clone(&self.lookup);
        let locate = move || lookup.locate_many(&unknown).map(|found| (unknown, found));
        let (unknown, located) = self.env.compute(locate).await??;
        for (id, location) in unknown.into_iter().zip(located) {
            let location = location.ok_or_else(|| nowhere(&id))?;
            found.places.push((id, location.place));
        }
        Ok(found)
    }

    /// Fetches and opens the records of a range. What may concern single records is said of those; another error is that of all.
    async fn fetch(&self, range: Range) -> Result<Opened> {
        let permit = self.budget.take(range.end - range.start).await;
        match self.bytes(&range.pack, range.start, range.end).await {
            Ok(bytes) => {
                let records = Arc::clone(&self.records);
                let pack = range.pack;
                let open = move || open_all(&records, range.cut(&bytes));
                let opened = self.env.compute(open).await?.into_iter();
                drop(permit);
                let named = opened.map(|(id, bytes)| (id, bytes.map_err(|e| e.with("pack", pack))));
                Ok(named.collect())
            }
            Err(e) if e.kind() == Kind::NotFound => {
                let lost = |(id, _): &(ChunkId, Place)| (*id, Err(lost(id, &range.pack)));
                Ok(range.records.iter().map(lost).collect())
            }
            Err(e) if e.kind() == Kind::Corrupt => match range.records.as_slice() {
                [(id, _)] => Ok(vec![(*id, Err(e.with("chunk", id)))]),
                // Part of it may be there: each by itself.
                _ => {
                    drop(permit);
                    let mut opened = Vec::new();
                    for record in range.records {
                        let single = Box::pin(self.fetch(Range::of(record)));
                        opened.extend(single.await?);
                    }
                    Ok(opened)
                }
            },
            Err(e) => Err(e),
        }
    }

    /// The chunk from any of its records, after one failed with `error`. That one is tried again too: damage may have happened on the way.
    async fn elsewhere(&self, id: ChunkId, error: Error) -> Result<Bytes> {
        let lookup = Arc::clone(&self.lookup);
        let locate = move || lookup.view().locate_all(&id);
        for location in self.env.compute(locate).await?? {
            let again = self.fetch(Range::of((id, location.place))).await?;
            for (_, bytes) in again {
                if let Ok(bytes) = bytes {
                    return Ok(bytes);
                }
            }
        }
        Err(error)
    }

    /// The bytes of a pack from `start` to `end`.
    async fn bytes(&self, pack: &PackName, start: u64, end: u64) -> Result<Bytes> {
        let _turn = self.requests.acquire().await;
        let location = pack.location(ObjectKind::Pack);
        let short = || {
            Error::new(
                Kind::Corrupt,
                "fetch chunks",
                "the pack is shorter than it was",
            )
            .with("pack", pack)
        };
        match self.objects.get_range(&location, start..end).await {
            Ok(bytes) if bytes.len() as u64 == end - start => Ok(bytes),
            Ok(_) => Err(short()),
            Err(e @ object_store::Error::NotFound { .. }) => {
                Err(Error::object("fetch chunks", &location, e))
            }
            // Stores disagree about what they answer when a range is not there.
            Err(e) => match self.objects.head(&location).await {
                Ok(meta) if meta.size < end => Err(short()),
                _ => Err(Error::object("fetch chunks", &location, e)),
            },
        }
    }
}

impl Range {
    fn of((id, place): (ChunkId, Place)) -> Self {
        let start = u64::from(place.offset);
        Self {
            pack: place.pack,
            start,
            end: start + u64::from(place.length),
            records: vec![(id, place)],
        }
    }

    /// The records of this range, which are `bytes`.
    fn cut(&self, bytes: &Bytes) -> Vec<(ChunkId, Bytes, Role)> {
        let records = self.records.iter().map(|(id, place)| {
            let start = u64::from(place.offset) - self.start;
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let record = bytes.slice(start..start + place.length as usize);
            (*id, record, place.role)
        });
        records.collect()
    }
}

/// Puts records that lie close to each other together.
fn ranges(mut places: Vec<(ChunkId, Place)>) -> Vec<Range> {
    places.sort_unstable_by_key(|(_, place)| *place);
    let mut ranges: Vec<Range> = Vec::new();
    for record in places {
        let next = Range::of(record);
        match ranges.last_mut() {
            Some(last)
                if last.pack == next.pack
                    && next.start <= last.end + GAP
                    && next.end - last.start <= RANGE =>
            {
                last.end = last.end.max(next.end);
                last.records.extend(next.records);
            }
            _ => ranges.push(next),
        }
    }
    ranges
}

/// Opens records. For threads that compute.
fn open_all(records: &Records, found: Vec<(ChunkId, Bytes, Role)>) -> Opened {
    let opened = found
        .into_iter()
        .map(|(id, record, role)| (id, records.open_chunk(&record, id, role)));
    opened.collect()
}

fn lost(id: &ChunkId, pack: &PackName) -> Error {
    Error::new(
        Kind::NotFound,
        "fetch chunk",
        "its pack is not in the target",
    )
    .with("pack", pack)
    .with("chunk", id)
}

fn nowhere(id: &ChunkId) -> Error {
    Error::new(
        Kind::NotFound,
        "find chunk",
        "the repository does not hold it",
    )
    .with("chunk", id)
}
