//! Anyone who holds the stored bytes can check them, without any key: whichever bit of whichever object is flipped, whatever is cut
//! off or missing, `verify_keyless` says which object it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless, verify_object,
};
use raksha_core::store::{Appended, ManifestCatalog};
use raksha_core::{Kind, Result};
use raksha_tests::{Overlay, Random, back_up, objects, options, small};

/// Objects up to this size are flipped at every byte.
const SMALL: usize = 4096;

/// A log in memory, so that reading it costs nothing.
#[derive(Debug)]
struct Entries(Vec<Bytes>);

#[async_trait]
impl ManifestCatalog for Entries {
    async fn append(&self, _: u64, _: Bytes) -> Result<Appended> {
        unreachable!("verifying appends nothing")
    }

    async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>> {
        Ok(self
            .0
            .iter()
            .skip(number as usize)
            .take(limit)
            .cloned()
            .collect())
    }
}

struct Stored {
    overlay: Arc<Overlay>,
    objects: BTreeMap<Path, Bytes>,
    first: Secret,
    second: Secret,
}

/// A repository that has an object of every kind, and an entry of every kind in its log.
async fn stored(random: &mut Random) -> Stored {
    let overlay = Arc::new(Overlay::new(Arc::new(InMemory::new())));
    let target = Target::new(Arc::clone(&overlay) as Arc<dyn ObjectStore>);
    let (first, second) = (
        Secret::passphrase("one"),
        Secret::key_file(&random.bytes(32)),
    );
    let repository = Repository::create(target, small(), &first, options())
        .await
        .unwrap();
    repository
        .add_key("second", &second, &first, "flips")
        .await
        .unwrap();
    let mut disk = random.bytes(9000);
    let mut points = Vec::new();
    for n in 0..13 {
        disk[n * 500..n * 500 + 300].copy_from_slice(&random.bytes(300));
        points.push(
            back_up(&repository, &format!("disk {}", n % 2), &disk)
                .await
                .unwrap(),
        );
    }
    repository.hold(points[5], true, "flips").await.unwrap();
    repository.hold(points[5], false, "flips").await.unwrap();
    repository.forget(&points[..2], "flips").await.unwrap();
    let crashed = repository.write(&[], "flips").await.unwrap();
    repository.fence(crashed.session(), "flips").await.unwrap();
    repository
        .collect(&CollectOptions::default())
        .await
        .unwrap();
    for _ in 0..2 {
        points.push(
            back_up(&repository, "more", &random.bytes(5000))
                .await
                .unwrap(),
        );
    }
    let whole = repository.verify(&VerifyOptions::default()).await.unwrap();
    assert!(whole.is_whole() && whole.foreign.is_empty(), "{whole:?}");

    let happened = repository.history(0, 1000).await.unwrap();
    let kinds: BTreeSet<String> = happened
        .iter()
        .map(|h| serde_json::to_value(&h.action).unwrap()["kind"].to_string())
        .collect();
    assert_eq!(kinds.len(), 12, "every kind of entry there is: {kinds:?}");
    let objects: BTreeMap<Path, Bytes> = objects(&*overlay).await.into_iter().collect();
    for prefix in [
        "raksha.json",
        "keys/",
        "log/",
        "checkpoint/",
        "packs/",
        "index/",
        "points/",
    ] {
        let some = objects
            .keys()
            .filter(|l| l.as_ref().starts_with(prefix))
            .count();
        assert!(some > 0, "there is no {prefix}");
    }
    Stored {
        overlay,
        objects,
        first,
        second,
    }
}

impl Stored {
    fn target(&self) -> Target {
        Target::new(Arc::clone(&self.overlay) as Arc<dyn ObjectStore>)
    }

    async fn damaged(&self) -> BTreeSet<String> {
        let found = verify_keyless(&self.target()).await.unwrap();
        found.damage.into_iter().map(|d| d.object).collect()
    }

    fn of(&self, prefix: &str) -> Vec<(&Path, &Bytes)> {
        let all = self.objects.iter();
        all.filter(|(l, _)| l.as_ref().starts_with(prefix))
            .collect()
    }
}

/// Which bytes of an object are flipped: all, or of a large one the ends and every 97th.
fn places(length: usize) -> Vec<usize> {
    (0..length)
        .filter(|at| length <= SMALL || *at < 512 || at + 512 >= length || at % 97 == 0)
        .collect()
}

fn flipped(bytes: &Bytes, at: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << random.below(8);
    bytes
}

/// Each object by itself, as its name or its frame tells: every bit of the small ones, a bit of every byte of the large ones. None is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_of_every_object_is_covered_by_its_name_or_frame() {
    let random = &mut Random::announced("flips");
    let stored = stored(random).await;
    let (mut flips, mut bytes) = (0, 0);
    for (location, intact) in &stored.objects {
        verify_object(location, intact).unwrap();
        let mut object = intact.to_vec();
        bytes += object.len();
        for at in 0..object.len() {
            let bits = match object.len() <= SMALL {
                true => 0..8,
                false => {
                    let bit = random.below(8);
                    bit..bit + 1
                }
            };
            for bit in bits {
                object[at] ^= 1 << bit;
                let error = verify_object(location, &object).unwrap_err();
                assert_eq!(error.kind(), Kind::Corrupt, "{location}, byte {at}");
                object[at] ^= 1 << bit;
                flips += 1;
            }
        }
        assert_eq!(object, *intact);
    }
    let objects = stored.objects.len();
    println!("flips: {flips} bits in {bytes} bytes of {objects} objects");
    assert!(flips >= bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flipped_bit_is_found_without_a_key() {
    let random = &mut Random::announced("flips");
    let stored = stored(random).await;
    let began = Instant::now();

    // raksha.json by itself: nothing else can be checked without it.
    let (location, bytes) = stored.of("raksha.json")[0];
    for at in places(bytes.len()) {
        stored
            .overlay
            .replace(location, flipped(bytes, at, random))
            .await;
        let found = stored.damaged().await;
        assert!(found.contains("raksha.json"), "byte {at}: {found:?}");
    }
    stored.overlay.repair();

    // All other objects at the same time, each at its own next byte, and one entry of the log: behind the first that is damaged, no more are read.
    let others: Vec<(&Path, &Bytes)> = stored
        .objects
        .iter()
        .filter(|(l, _)| !l.as_ref().starts_with("log/") && l.as_ref() != "raksha.json")
        .collect();
    let entries = stored.of("log/");
    let rounds = others
        .iter()
        .map(|(_, b)| places(b.len()).len())
        .max()
        .unwrap();
    let mut flips = 0;
    for round in 0..rounds {
        stored.overlay.repair();
        let mut hurt = BTreeSet::new();
        for (location, bytes) in &others {
            if let Some(at) = places(bytes.len()).get(round) {
                stored
                    .overlay
                    .replace(location, flipped(bytes, *at, random))
                    .await;
                hurt.insert(location.to_string());
            }
        }
        if random.one_in(8) {
            let (location, bytes) = random.pick(&entries).unwrap();
            let at = random.below(bytes.len() as u64) as usize;
            stored
                .overlay
                .replace(location, flipped(bytes, at, random))
                .await;
            hurt.insert(location.to_string());
        }
        flips += hurt.len();
        assert_eq!(stored.damaged().await, hurt, "round {round}");
    }
    stored.overlay.repair();
    println!(
        "flips: {flips} of {} objects in {:?}",
        others.len(),
        began.elapsed()
    );
    assert_eq!(stored.damaged().await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flipped_bit_of_the_log_is_found_without_a_key() {
    let random = &mut Random::announced("flips");
    let stored = stored(random).await;
    // Nothing but raksha.json beside the log, so that each of many verifications is cheap.
    let alone = InMemory::new();
    let (location, bytes) = stored.of("raksha.json")[0];
    alone.put(location, bytes.clone().into()).await.unwrap();
    let alone: Arc<dyn ObjectStore> = Arc::new(alone);
    let entries: Vec<Bytes> = stored
        .of("log/")
        .into_iter()
        .map(|(_, b)| b.clone())
        .collect();

    // Every byte of the first entry of each kind; every 97th of the others, which have the same frame.
    let mut kinds = BTreeSet::new();
    let mut flips = Vec::new();
    for (number, bytes) in entries.iter().enumerate() {
        let text = String::from_utf8_lossy(bytes);
        let kind = text
            .split("\"kind\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        let step = if kinds.insert(kind) { 1 } else { 97 };
        let start = random.below(step as u64) as usize;
        flips.extend((start..bytes.len()).step_by(step).map(|at| (number, at)));
    }
    let began = Instant::now();
    let lanes = 2;
    let mut work = Vec::new();
    for lane in 0..lanes {
        let (alone, entries, mut random) = (Arc::clone(&alone), entries.clone(), random.clone());
        let flips: Vec<_> = flips.iter().copied().skip(lane).step_by(lanes).collect();
        work.push(tokio::spawn(async move {
            for (number, at) in flips {
                let mut entries = entries.clone();
                entries[number] = flipped(&entries[number], at, &mut random).into();
                let target = Target::with_catalog(Arc::clone(&alone), Arc::new(Entries(entries)));
                let found = verify_keyless(&target).await.unwrap();
                let named: Vec<&str> = found.damage.iter().map(|d| d.object.as_str()).collect();
                assert_eq!(named, [format!("log/{number:020}")], "byte {at}");
            }
        }));
    }
    for lane in work {
        lane.await.unwrap();
    }
    println!(
        "flips: {} of {} log entries of {} kinds in {:?}",
        flips.len(),
        entries.len(),
        kinds.len(),
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_cut_off_or_missing_is_found_without_a_key() {
    let random = &mut Random::announced("flips");
    let stored = stored(random).await;
    let overlay = &stored.overlay;
    for (location, bytes) in &stored.objects {
        let some = random.below(bytes.len() as u64) as usize;
        for length in [0, some, bytes.len() - 1] {
            overlay.replace(location, bytes[..length].to_vec()).await;
            let found = stored.damaged().await;
            assert!(
                found.contains(location.as_ref()),
                "{location} cut to {length}: {found:?}"
            );
        }
        overlay.repair();
    }

    let last = stored.of("log/").last().unwrap().0.clone();
    for location in stored.objects.keys() {
        overlay.remove(location);
        match location.as_ref().split('/').next().unwrap() {
            "raksha.json" => {
                let error = verify_keyless(&stored.target()).await.unwrap_err();
                assert_eq!(error.kind(), Kind::NotFound);
                assert!(error.to_string().contains("raksha.json"), "{error}");
            }
            // An end that nothing tells of was perhaps never there; all else is missed by what comes behind.
            "log" if *location == last => {}
            "log" | "packs" | "index" | "points" => {
                assert_eq!(
                    stored.damaged().await,
                    BTreeSet::from([location.to_string()])
                );
            }
            // Checkpoints are an optimisation, and a slot that is gone is a key that was taken away.
            "checkpoint" => {
                assert!(stored.damaged().await.is_empty());
                Repository::open(stored.target(), &stored.first, options())
                    .await
                    .unwrap();
            }
            "keys" => {
                let (gone, stays) = match location.filename() {
                    Some("second") => (&stored.second, &stored.first),
                    _ => (&stored.first, &stored.second),
                };
                let error = Repository::open(stored.target(), gone, options())
                    .await
                    .unwrap_err();
                assert_eq!(error.kind(), Kind::WrongKey);
                Repository::open(stored.target(), stays, options())
                    .await
                    .unwrap();
            }
            other => panic!("what is {other}?"),
        }
        overlay.repair();
    }
}
