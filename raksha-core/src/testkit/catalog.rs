//! What every catalog must do, as a suite to run against an implementation.
#![allow(clippy::unwrap_used, clippy::panic)] // a suite reports by panicking

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::store::{Appended, ManifestCatalog};

/// The largest entry that a catalog must take.
const LARGEST: usize = 1 << 20;

/// Who races, and for how many numbers.
const RACERS: u64 = 8;
const RACES: u64 = 25;

/// Runs the whole suite against the log that `open` opens: the same one each time, empty in the beginning. `refuses_gaps` says whether the catalog notices
/// an append whose number leaves a gap; the contract leaves that to the caller.
///
/// # Panics
/// If the catalog breaks its contract; the message says how.
pub async fn check_catalog<F>(open: impl Fn() -> F, refuses_gaps: bool)
where
    F: Future<Output = Arc<dyn ManifestCatalog>>,
{
    let catalog = open().await;
    nothing_in_the_beginning(&*catalog).await;
    if refuses_gaps {
        gaps_are_refused(&*catalog, 0).await;
    }
    let entries = entries_stay(&*catalog).await;
    if refuses_gaps {
        gaps_are_refused(&*catalog, entries.len() as u64).await;
    }
    drop(catalog);

    let again = open().await;
    assert_eq!(
        again.read(0, 100).await.unwrap(),
        entries,
        "what was appended is there when the catalog is opened again"
    );
    others_see_it(&*again, &*open().await, entries.len() as u64).await;
    let mut racers = Vec::new();
    for _ in 0..RACERS {
        racers.push(open().await);
    }
    one_wins_each_race(racers, entries.len() as u64 + 1).await;
}

/// Some bytes that no other call with other numbers gives, and that do not compress.
fn entry(who: u64, number: u64, length: usize) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&who.to_le_bytes())
        .update(&number.to_le_bytes());
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn nothing_in_the_beginning(catalog: &dyn ManifestCatalog) {
    for number in [0, 1, 7, u64::MAX >> 1] {
        let read = catalog.read(number, 10).await.unwrap();
        assert!(read.is_empty(), "an empty log has an entry {number}");
    }
}

async fn gaps_are_refused(catalog: &dyn ManifestCatalog, end: u64) {
    for number in [end + 1, end + 2, end + 1000] {
        let refused = catalog.append(number, entry(9, number, 40)).await;
        assert!(
            refused.is_err(),
            "entry {number} was appended behind entry {end}, which is not there: {refused:?}"
        );
    }
    let read = catalog.read(end, 10).await.unwrap();
    assert!(read.is_empty(), "a refused append left something behind");
}

/// Appends entries of all sizes, and tries to take their numbers again.
async fn entries_stay(catalog: &dyn ManifestCatalog) -> Vec<Bytes> {
    let lengths = [1, 300, LARGEST, 0, 4096, 70_000];
    let mut entries = Vec::new();
    for (number, length) in (0..).zip(lengths) {
        let entry = entry(0, number, length);
        let appended = catalog.append(number, entry.clone()).await.unwrap();
        assert_eq!(appended, Appended::Done, "nobody else has number {number}");
        entries.push(entry);
        let read = catalog.read(0, 100).await.unwrap();
        assert_eq!(read, entries, "after Done, a read sees the entry");
    }
    for (number, mine) in (0..).zip(&entries) {
        for bytes in [mine.clone(), entry(1, number, 50)] {
            let again = catalog.append(number, bytes).await.unwrap();
            assert_eq!(again, Appended::Taken, "number {number} was given away");
        }
    }
    for from in 0..=entries.len() {
        for limit in [0, 1, 2, entries.len() - from, 1000] {
            let read = catalog.read(from as u64, limit).await.unwrap();
            let expected = entries.iter().skip(from).take(limit).cloned();
            assert!(
                read == expected.collect::<Vec<_>>(),
                "reading {limit} entries from {from} gave {} entries, or others",
                read.len()
            );
        }
    }
    entries
}

async fn others_see_it(one: &dyn ManifestCatalog, other: &dyn ManifestCatalog, number: u64) {
    let mine = entry(2, number, 500);
    let appended = one.append(number, mine.clone()).await.unwrap();
    assert_eq!(appended, Appended::Done);
    assert_eq!(other.read(number, 10).await.unwrap(), [mine]);
    let late = other.append(number, entry(3, number, 500)).await.unwrap();
    assert_eq!(late, Appended::Taken);
}

/// Whether `entry` got the number. Answers that were lost are asked for again, as writers do.
async fn wins(catalog: &dyn ManifestCatalog, number: u64, entry: &Bytes) -> Result<bool> {
    let mut lost = 0;
    loop {
        match catalog.append(number, entry.clone()).await {
            Ok(Appended::Done) => return Ok(true),
            Ok(Appended::Taken) if lost == 0 => return Ok(false),
            Ok(Appended::Taken) => {
                return Ok(catalog.read(number, 1).await?.first() == Some(entry));
            }
            Err(error) if error.is_retryable() && lost < 100 => lost += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn one_wins_each_race(racers: Vec<Arc<dyn ManifestCatalog>>, first: u64) {
    let reader = Arc::clone(racers.first().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for (who, catalog) in (100..).zip(racers) {
        let reader = Arc::clone(&reader);
        tasks.spawn(async move {
            let mut won = Vec::new();
            for number in first..first + RACES {
                let mine = entry(who, number, 700);
                if wins(&*catalog, number, &mine).await.unwrap() {
                    let read = reader.read(number, 1).await.unwrap();
                    assert_eq!(read, [mine], "after Done, every read sees the entry");
                    won.push(number);
                }
            }
            (who, won)
        });
    }
    let mut winners = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (who, won) = done.unwrap();
        for number in won {
            let other = winners.insert(number, who);
            assert_eq!(
                other, None,
                "two appenders were told that {number} is theirs"
            );
        }
    }
    let read = reader.read(first, 1000).await.unwrap();
    assert_eq!(read.len() as u64, RACES, "each number was appended once");
    for (number, bytes) in (first..).zip(read) {
        let winner = winners.get(&number).copied();
        let winner = winner.unwrap_or_else(|| panic!("nobody was told that {number} is theirs"));
        assert_eq!(
            bytes,
            entry(winner, number, 700),
            "the winner's entry stays"
        );
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStore;
    use object_store::memory::InMemory;

    use super::*;
    use crate::store::{MirroredCatalog, ObjectCatalog};

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_in_memory_pass_also_with_a_copy() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let open = || async { Arc::new(ObjectCatalog::new(Arc::clone(&objects))) as _ };
        check_catalog(open, false).await;

        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let copies: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let open = || async {
            let catalog = Arc::new(ObjectCatalog::new(Arc::clone(&objects)));
            Arc::new(MirroredCatalog::new(catalog, Arc::clone(&copies))) as _
        };
        check_catalog(open, false).await;
        let copy = ObjectCatalog::new(copies).read(0, 1000).await.unwrap();
        let original = ObjectCatalog::new(objects).read(0, 1000).await.unwrap();
        assert_eq!(copy, original);
    }

    /// A catalog that tells everybody that they won.
    #[derive(Debug)]
    struct Flatterer(ObjectCatalog);

    #[async_trait::async_trait]
    impl ManifestCatalog for Flatterer {
        async fn append(&self, number: u64, entry: Bytes) -> Result<Appended> {
            self.0.append(number, entry).await.map(|_| Appended::Done)
        }

        async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>> {
            self.0.read(number, limit).await
        }
    }

    #[tokio::test]
    #[should_panic(expected = "was given away")]
    async fn who_flatters_is_found_out() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let open = || async {
            let catalog = ObjectCatalog::new(Arc::clone(&objects));
            Arc::new(Flatterer(catalog)) as _
        };
        check_catalog(open, false).await;
    }
}
