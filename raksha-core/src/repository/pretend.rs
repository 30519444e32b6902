//! Repositories of a size for which no test has the time or the disk.
//!
//! What is pretended is the bytes of packs and of points; index objects and log entries are real, written by the code that writes them otherwise. So opening,
//! looking up and marking meet what they would meet in a repository that grew to this size.

use std::sync::Arc;

use object_store::path::Path;

use super::Repository;
use super::entry::{Action, Purpose};
use super::index::{IndexObject, IndexPack};
use super::merging::merge_indexes;
use super::names::{ObjectKind, PackName};
use super::pack::PackEntry;
use super::packer::{Publish, UploadedPack};
use super::session::Session;
use super::writer::Publisher;
use crate::error::Result;
use crate::id::{ChunkId, ObjectHash, PointId};
use crate::point::PointSummary;
use crate::store::Role;

/// Where the first record of a pack lies.
const FIRST: u32 = 8;

/// Publishes packs of data that hold these chunks, with records of `record` bytes, a writer's session and one index object for all of them. The packs themselves
/// are not there: gives where they would lie, and how many bytes they would have.
///
/// # Errors
/// Those of a writer that publishes.
pub async fn pretend_packs(
    repository: &Repository,
    packs: Vec<Vec<ChunkId>>,
    record: u32,
) -> Result<Vec<(Path, u64)>> {
    let shared = Arc::clone(&repository.shared);
    let session = Arc::new(Session::open(shared, Purpose::Write, &[], "pretend").await?);
    let uploaded = (0u64..)
        .zip(packs)
        .map(|(n, ids)| pretend_pack(session.id, n, &ids, record));
    let uploaded: Vec<UploadedPack> = uploaded.collect();
    let index = IndexObject::build(uploaded.iter().map(|u| (u.pack, &u.entries[..])))?;
    Publisher(Arc::clone(&session))
        .publish(index, &uploaded)
        .await?;
    session.close().await?;
    let objects = uploaded.iter().map(|u| {
        let location = u.pack.name.location(ObjectKind::Pack);
        (location, u.pack.length)
    });
    Ok(objects.collect())
}

fn pretend_pack(
    session: crate::id::SessionId,
    number: u64,
    ids: &[ChunkId],
    record: u32,
) -> UploadedPack {
    let offsets = (FIRST..).step_by(record as usize);
    let entries = ids.iter().zip(offsets).map(|(id, offset)| PackEntry {
        id: *id,
        offset,
        length: record,
    });
    let mut name = blake3::Hasher::new();
    name.update(&session.0.to_le_bytes());
    name.update(&number.to_le_bytes());
    UploadedPack {
        pack: IndexPack {
            name: PackName::new(session, ObjectHash::from_bytes(*name.finalize().as_bytes())),
            role: Role::Data,
            // With a directory at its end, as long as packs have it.
            length: (ids.len() as u64) * (u64::from(record) + 36) + 40,
        },
        entries: entries.collect(),
    }
}

/// Commits points that are only named, all by one writer's session: their entries are in the log, their objects are not in the target. Gives their ids, in order.
///
/// # Errors
/// Those of a writer that commits.
pub async fn pretend_points(
    repository: &Repository,
    summaries: impl IntoIterator<Item = PointSummary>,
) -> Result<Vec<PointId>> {
    let shared = Arc::clone(&repository.shared);
    let session = Session::open(Arc::clone(&shared), Purpose::Write, &[], "pretend").await?;
    let mut ids = Vec::new();
    for summary in summaries {
        let point = PointId::from_bytes(shared.env.random()?);
        let summary = shared.seal_summary(&summary)?;
        let append = session.append(|state| {
            Ok(Action::PointCommitted {
                point,
                summary: summary.clone(),
                checked: state.next,
            })
        });
        append.await?;
        ids.push(point);
    }
    session.close().await?;
    Ok(ids)
}

/// Merges small index objects as a collection does when it is done, but collects nothing.
///
/// # Errors
/// Those of a collector.
pub async fn merge_small_indexes(repository: &Repository) -> Result<()> {
    let shared = Arc::clone(&repository.shared);
    let session = Arc::new(Session::open(shared, Purpose::Collect, &[], "pretend").await?);
    merge_indexes(&session).await?;
    session.close().await
}

/// How many of these chunks an open repository knows, as those who store chunks ask it. Reads local files: not for threads that drive input and output.
///
/// # Errors
/// If the local cache cannot be read.
pub fn known_chunks(repository: &Repository, ids: &[ChunkId]) -> Result<u64> {
    let found = repository.shared.lookup.locate_many(ids)?;
    Ok(found.iter().flatten().count() as u64)
}

/// What the index of an open repository takes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexFootprint {
    /// Its entries.
    pub chunks: u64,
    /// Packs that are listed.
    pub packs: u64,
    /// Sorted runs that are searched one after the other.
    pub runs: u64,
    /// Bytes of entries that lie in memory; the others lie in files.
    pub entries: u64,
    /// Bytes of filters and lists of packs.
    pub beside: u64,
}

/// What the index of an open repository takes in memory.
pub fn index_footprint(repository: &Repository) -> IndexFootprint {
    repository.shared.lookup.footprint()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::entry::AddedPack;
    use super::super::names::IndexName;
    use super::*;
    use crate::Kind;
    use crate::repository::{CollectOptions, EngineOptions, Happened, Parameters, Secret, Target};
    use crate::store::RunCounts;
    use crate::time::Timestamp;

    fn chunk(n: u64) -> ChunkId {
        ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn summary(n: u64) -> PointSummary {
        PointSummary {
            name: n.to_string(),
            taken: Timestamp::from_millis(n),
            project: None,
            principal: None,
            job: None,
            run: None,
            servers: 0,
            counts: RunCounts::default(),
        }
    }

    fn target() -> Target {
        Target::new(Arc::new(InMemory::new()))
    }

    async fn create(target: Target) -> Repository {
        let secret = Secret::key_file(&[7; 32]);
        let options = EngineOptions::default();
        Repository::create(target, Parameters::default(), &secret, options)
            .await
            .unwrap()
    }

    async fn open(target: Target) -> Repository {
        let secret = Secret::key_file(&[7; 32]);
        Repository::open(target, &secret, EngineOptions::default())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn thousands_of_packs_are_retired_by_entries_that_stay_small() {
        let target = target();
        let repository = create(target.clone()).await;
        for half in 0..2 {
            let packs = (0..4200).map(|n| vec![chunk(half * 4200 + n)]).collect();
            pretend_packs(&repository, packs, 100).await.unwrap();
        }
        let repository = open(target.clone()).await;
        let asked: Vec<ChunkId> = (8000..9000).map(chunk).collect();
        assert_eq!(known_chunks(&repository, &asked).unwrap(), 400);
        let footprint = index_footprint(&repository);
        assert_eq!((footprint.chunks, footprint.packs), (8400, 8400));

        let collected = repository
            .collect(&CollectOptions::default())
            .await
            .unwrap();
        assert_eq!((collected.retired_packs, collected.live_bytes), (8400, 0));
        assert_eq!(known_chunks(&repository, &asked).unwrap(), 0);
        let history = repository.history(0, 100).await.unwrap();
        let retired = |h: &&Happened| matches!(h.action, Action::PacksRetired { .. });
        assert_eq!(history.iter().filter(retired).count(), 2);
        for entry in target.catalog.read(0, 100).await.unwrap() {
            assert!(entry.len() <= 1 << 20, "an entry has {} bytes", entry.len());
        }
        assert_eq!(repository.stats().await.unwrap().void_entries, 0);
    }

    /// A process that slept between publishing packs and finding them itself, while its session was fenced off and the packs were retired.
    #[tokio::test]
    async fn what_was_retired_before_its_writer_found_it_is_not_found() {
        let target = target();
        let repository = create(target.clone()).await;
        let shared = Arc::clone(&repository.shared);
        let session = Session::open(Arc::clone(&shared), Purpose::Write, &[], "sleeps").await;
        let session = session.unwrap();
        let uploaded = [pretend_pack(session.id, 0, &[chunk(1)], 100)];
        let index = IndexObject::build(uploaded.iter().map(|u| (u.pack, &u.entries[..]))).unwrap();
        let name = IndexName::new(session.id, index.hash);
        let bytes = index.bytes.clone().into();
        shared
            .put_new(name, ObjectKind::Index, bytes)
            .await
            .unwrap();
        let added = vec![AddedPack {
            hash: uploaded[0].pack.name.hash,
            bytes: uploaded[0].pack.length,
            role: Role::Data,
        }];
        let append = session.append(|_| {
            Ok(Action::PacksAdded {
                index: index.hash,
                index_bytes: index.bytes.len() as u64,
                packs: added.clone(),
            })
        });
        let (number, _) = append.await.unwrap();

        let other = open(target).await;
        other.shared.fence(session.id, "test").await.unwrap();
        let collected = other.collect(&CollectOptions::default()).await.unwrap();
        assert_eq!(collected.retired_packs, 1);
        shared.refresh().await.unwrap();
        shared.find_own(number, index.clone()).await.unwrap();
        assert_eq!(known_chunks(&repository, &[chunk(1)]).unwrap(), 0);
        // Nothing was said of it by the log that the lookup knows: then it is found.
        let next = shared.followed().await;
        shared.find_own(next, index).await.unwrap();
        assert_eq!(known_chunks(&repository, &[chunk(1)]).unwrap(), 1);
    }

    #[tokio::test]
    async fn a_point_is_found_by_the_beginning_of_its_id() {
        let repository = create(target()).await;
        let ids = pretend_points(&repository, (0..300).map(summary))
            .await
            .unwrap();
        let forgotten = ids[0];
        repository.forget(&[forgotten], "test").await.unwrap();
        for id in &ids[1..] {
            for digits in [8, 31, 64] {
                let prefix = &id.to_string()[..digits];
                assert_eq!(repository.find_point(prefix).await.unwrap(), *id);
            }
        }
        let kind = async |prefix: &str| repository.find_point(prefix).await.unwrap_err().kind();
        for nothing in ["", "xyz", "0x", &forgotten.to_string(), &"0".repeat(65)] {
            assert_eq!(kind(nothing).await, Kind::NotFound, "{nothing:?}");
        }
        // Of 299 ids, several begin with any digit.
        assert_eq!(kind("f").await, Kind::Invalid);
        assert_eq!(kind("F").await, Kind::NotFound);
        assert_eq!(repository.points().await.unwrap().len(), 299);
    }
}
