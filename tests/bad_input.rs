//! Whatever comes from outside and is not what it must be ends in an error that says what to do and names the thing; nothing is
//! harmed, and nothing half done looks whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_core::cloud::{DiskReader, Extent, ExtentKind};
use raksha_core::disk_file::{FileReader, FileWriter};
use raksha_core::env::Env;
use raksha_core::id::PointId;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless,
};
use raksha_core::{Error, Kind, PointSummary, RecoveryPoint, Result};
use raksha_tests::{Overlay, Random, back_up, back_up_disk, objects, options, restore, small};

struct Stored {
    overlay: Arc<Overlay>,
    secret: Secret,
    points: Vec<(PointId, Vec<u8>)>,
}

impl Stored {
    /// A repository of three points, of which the first and second share much.
    async fn new(random: &mut Random) -> Self {
        let overlay = Arc::new(Overlay::new(Arc::new(InMemory::new())));
        let secret = Secret::passphrase("secret");
        let mut stored = Self {
            overlay,
            secret,
            points: Vec::new(),
        };
        let repository = Repository::create(stored.target(), small(), &stored.secret, options())
            .await
            .unwrap();
        let mut disk = random.bytes(3 << 20);
        for n in 0..3 {
            disk[(n << 20)..(n << 20) + 5000].copy_from_slice(&random.bytes(5000));
            let id = back_up(&repository, "disk", &disk).await.unwrap();
            stored.points.push((id, disk.clone()));
        }
        stored
    }

    fn target(&self) -> Target {
        Target::new(Arc::clone(&self.overlay) as Arc<dyn ObjectStore>)
    }

    async fn open(&self) -> Result<Repository> {
        Repository::open(self.target(), &self.secret, options()).await
    }

    /// The names of the objects under a prefix, with their bytes.
    async fn of(&self, prefix: &str) -> Vec<(Path, Vec<u8>)> {
        let all = objects(&*self.overlay).await.into_iter();
        all.filter(|(l, _)| l.as_ref().starts_with(prefix))
            .map(|(l, b)| (l, b.to_vec()))
            .collect()
    }

    /// Everything is there and intact, and comes back.
    async fn is_whole(&self) {
        let keyless = verify_keyless(&self.target()).await.unwrap();
        assert!(keyless.is_whole(), "{:?}", keyless.damage);
        let repository = self.open().await.unwrap();
        let deep = repository.verify(&VerifyOptions::default()).await.unwrap();
        assert!(deep.is_whole(), "{:?}", deep.damage);
        for (id, bytes) in &self.points {
            let back = restore(&repository, *id).await.unwrap();
            assert!(
                back.as_ref() == Some(bytes),
                "point {id} came back different"
            );
        }
    }
}

#[track_caller]
fn failed<T: std::fmt::Debug>(result: Result<T>, kinds: &[Kind], words: &[&str]) -> Error {
    let error = match result {
        Err(error) => error,
        Ok(done) => panic!("it must fail with {kinds:?}, and gave {done:?}"),
    };
    assert!(
        kinds.contains(&error.kind()),
        "{kinds:?} expected: {error:?}"
    );
    let text = error.to_string();
    assert!(!text.contains('\n'), "an error is one line: {text}");
    for word in words {
        assert!(text.contains(word), "`{word}` must be in: {text}");
    }
    error
}

#[tokio::test]
async fn the_wrong_key_and_the_wrong_place_are_said() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    for wrong in [
        Secret::passphrase("Secret"),
        Secret::passphrase(""),
        Secret::key_file(&[7; 32]),
        Secret::key_file(b"short"),
        Secret::key_file(b""),
    ] {
        let opened = Repository::open(stored.target(), &wrong, options()).await;
        failed(opened, &[Kind::WrongKey, Kind::Invalid], &[]);
    }
    let empty = Target::new(Arc::new(InMemory::new()));
    let opened = Repository::open(empty.clone(), &stored.secret, options()).await;
    failed(opened, &[Kind::NotFound], &["raksha.json"]);
    failed(
        verify_keyless(&empty).await,
        &[Kind::NotFound],
        &["raksha.json"],
    );
    let again = Repository::create(stored.target(), small(), &stored.secret, options()).await;
    failed(again, &[Kind::AlreadyExists], &["open it"]);
    let repository = stored.open().await.unwrap();
    failed(
        repository.find_point("00000000").await,
        &[Kind::NotFound],
        &["00000000"],
    );
    let unknown = PointId::from_bytes([0; 32]);
    failed(repository.point(unknown).await, &[Kind::NotFound], &[]);
    failed(
        repository.forget(&[unknown], "test").await,
        &[Kind::NotFound],
        &[],
    );
    failed(
        repository.read(&[unknown], "test").await,
        &[Kind::NotFound],
        &[],
    );
    stored.is_whole().await;
}

/// An object's checksum line made anew, as whoever writes it honestly would.
fn framed(text: &str) -> Vec<u8> {
    format!(
        "{text}\nblake3 {}\n",
        blake3::hash(text.as_bytes()).to_hex()
    )
    .into_bytes()
}

#[tokio::test]
async fn what_a_newer_version_made_is_refused_by_name() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let (location, bytes) = stored.of("raksha.json").await.remove(0);
    let text = String::from_utf8(bytes).unwrap();
    let json = &text[..text.rfind("\nblake3 ").unwrap()];
    assert_eq!(framed(json), text.as_bytes(), "this is how it is framed");
    for (old, new, name) in [
        ("\"format\": 1", "\"format\": 2", "format 2"),
        ("\"aligned\"", "\"wavelet\"", "wavelet"),
        ("\"fast_cdc\"", "\"slow_cdc\"", "slow_cdc"),
        ("\"zstd\"", "\"brotli\"", "brotli"),
        ("\"aes-256-gcm\"", "\"rot-13\"", "rot-13"),
        ("\"blake3-keyed\"", "\"md5\"", "md5"),
    ] {
        assert!(json.contains(old), "{old} is not in {json}");
        let newer = framed(&json.replacen(old, new, 1));
        stored.overlay.replace(&location, newer).await;
        failed(
            stored.open().await,
            &[Kind::Unsupported],
            &[name, "newer version"],
        );
        failed(
            verify_keyless(&stored.target()).await,
            &[Kind::Unsupported],
            &[name],
        );
    }
    // What is no parameter that anybody could have chosen.
    for (old, new) in [
        ("\"segment_size\": 1048576", "\"segment_size\": 1000000"),
        ("\"pack_size\": 1048576", "\"pack_size\": 7"),
        ("\"level\": 1", "\"level\": 99"),
    ] {
        assert!(json.contains(old), "{old} is not in {json}");
        stored
            .overlay
            .replace(&location, framed(&json.replacen(old, new, 1)))
            .await;
        failed(
            stored.open().await,
            &[Kind::Invalid, Kind::Corrupt, Kind::Unsupported],
            &[],
        );
    }
    // What could have been chosen, but was not: the log vouches for what was.
    let other = json.replacen("\"pack_size\": 1048576", "\"pack_size\": 2097152", 1);
    stored.overlay.replace(&location, framed(&other)).await;
    failed(stored.open().await, &[Kind::Corrupt], &["raksha.json"]);
    stored.overlay.repair();
    stored.is_whole().await;
}

#[tokio::test]
async fn changed_parameters_are_noticed_behind_a_checkpoint_too() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let repository = stored.open().await.unwrap();
    for n in 0..64 {
        repository
            .hold(stored.points[0].0, n % 2 == 0, "test")
            .await
            .unwrap();
    }
    assert!(
        !stored.of("checkpoint/").await.is_empty(),
        "there should be one by now"
    );
    let (location, bytes) = stored.of("raksha.json").await.remove(0);
    let text = String::from_utf8(bytes).unwrap();
    let json = &text[..text.rfind("\nblake3 ").unwrap()];
    // Whoever can write to the target could have the next backups stored unsealed.
    let unsealed = json.replacen("\"aes-256-gcm\"", "\"none\"", 1);
    assert_ne!(unsealed, json);
    stored.overlay.replace(&location, framed(&unsealed)).await;
    failed(stored.open().await, &[Kind::Corrupt], &["raksha.json"]);
    stored.overlay.repair();
    stored.is_whole().await;
}

/// What befalls an object.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Missing,
    Flipped,
    CutOff,
    Empty,
}

const HARMS: [Harm; 4] = [Harm::Missing, Harm::Flipped, Harm::CutOff, Harm::Empty];

impl Stored {
    async fn harm(&self, location: &Path, bytes: &[u8], harm: Harm) {
        let mut changed = bytes.to_vec();
        match harm {
            Harm::Missing => return self.overlay.remove(location),
            Harm::Flipped => changed[bytes.len() / 3] ^= 4,
            Harm::CutOff => changed.truncate(bytes.len() * 2 / 3),
            Harm::Empty => changed.clear(),
        }
        self.overlay.replace(location, changed).await;
    }
}

const DAMAGED: [Kind; 2] = [Kind::Corrupt, Kind::NotFound];

#[tokio::test]
async fn damage_to_what_opening_needs_is_named() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let mut needed = stored.of("raksha.json").await;
    needed.extend(stored.of("keys/").await);
    needed.extend(stored.of("index/").await);
    // The first entry, one in the middle: all are read where there is no checkpoint.
    let log = stored.of("log/").await;
    assert!(
        stored.of("checkpoint/").await.is_empty(),
        "so far there should be none"
    );
    needed.extend([log[0].clone(), log[5].clone()]);
    for (location, bytes) in &needed {
        for harm in HARMS {
            stored.harm(location, bytes, harm).await;
            let opened = stored.open().await.map(drop);
            let name = location.filename().unwrap();
            let number = name.trim_start_matches('0');
            match (location.as_ref().split('/').next().unwrap(), harm) {
                // The only slot is gone: no key fits.
                ("keys", Harm::Missing) => drop(failed(opened, &[Kind::WrongKey], &[])),
                // No log at all.
                ("log", Harm::Missing) if *location == log[0].0 => {
                    drop(failed(opened, &[Kind::Corrupt], &["no log"]));
                }
                // A hole in the log: what comes behind it is not followed, and nothing can be appended.
                ("log", Harm::Missing) => {
                    let repository = stored.open().await.unwrap();
                    let hold = repository.hold(stored.points[0].0, true, "test").await;
                    failed(hold, &[Kind::Corrupt, Kind::NotFound, Kind::Conflict], &[]);
                    // What was appended into the hole is not what was there.
                    stored.overlay.remove(location);
                }
                ("log", _) if !number.is_empty() => {
                    drop(failed(opened, &[Kind::Corrupt], &["log", number]));
                }
                ("log", _) => drop(failed(opened, &[Kind::Corrupt], &["log"])),
                _ => drop(failed(opened, &DAMAGED, &[name])),
            }
            stored.overlay.repair();
        }
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn damage_to_what_is_stored_is_named_by_all_who_meet_it() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    for prefix in ["points/", "packs/"] {
        for (location, bytes) in stored.of(prefix).await {
            for harm in HARMS {
                stored.harm(&location, &bytes, harm).await;
                let repository = stored.open().await.unwrap();
                let keyless = verify_keyless(&stored.target()).await.unwrap();
                assert!(
                    keyless.damage.iter().any(|d| d.object == location.as_ref()),
                    "{harm:?}: {keyless:?}"
                );
                let deep = repository.verify(&VerifyOptions::default()).await.unwrap();
                let named = deep.damage.iter().find(|d| d.object == location.as_ref());
                assert!(named.is_some(), "{location} {harm:?}: {:?}", deep.damage);

                // Every point comes back as it was, or not at all: then the error names what is damaged.
                let name = location.filename().unwrap();
                let mut hurt = Vec::new();
                for (id, bytes) in &stored.points {
                    match restore(&repository, *id).await {
                        Ok(back) => assert!(
                            back.as_ref() == Some(bytes),
                            "{location} {harm:?}: other bytes came back"
                        ),
                        Err(error) => {
                            hurt.push(*id);
                            failed(Err::<(), _>(error), &DAMAGED, &[name]);
                        }
                    }
                }
                let told: Vec<PointId> = deep
                    .damage
                    .iter()
                    .flat_map(|d| &d.hurts)
                    .map(|h| h.point)
                    .collect();
                for id in &hurt {
                    assert!(
                        told.contains(id),
                        "{location} {harm:?}: {id} is hurt, and verify tells of {told:?}"
                    );
                }
                if prefix == "points/" {
                    assert_eq!(hurt.len(), 1, "{location} {harm:?}");
                    // Whether something is needed cannot be told without the point: nothing may be given up.
                    let collected = repository.collect(&CollectOptions::default()).await;
                    failed(collected, &DAMAGED, &[name]);
                }
                stored.overlay.repair();
            }
        }
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn collecting_gives_nothing_up_while_something_is_damaged() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let before = stored.of("packs/").await;
    for (location, bytes) in &before {
        for harm in HARMS {
            stored.harm(location, bytes, harm).await;
            let mut how = CollectOptions::default();
            // Everything is rewritten that can be.
            how.rewrite_below = 1.0;
            if let Err(error) = stored.open().await.unwrap().collect(&how).await {
                failed(
                    Err::<(), _>(error),
                    &DAMAGED,
                    &[location.filename().unwrap()],
                );
            }
            stored.overlay.repair();
            let after = stored.of("packs/").await;
            assert!(after.iter().any(|(l, _)| l == location) || after.len() >= before.len());
        }
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn a_backup_goes_on_beside_damage() {
    let random = &mut Random::announced("bad input");
    let mut stored = Stored::new(random).await;
    let (last, mut disk) = stored.points.last().unwrap().clone();
    let point = stored.of("points/").await;
    let (location, bytes) = point
        .iter()
        .find(|(l, _)| l.as_ref().ends_with(&last.to_string()))
        .unwrap();
    // A point that cannot be read must not stand in the way of the next one.
    for harm in HARMS {
        stored.harm(location, bytes, harm).await;
        let repository = stored.open().await.unwrap();
        disk[70_000..71_000].copy_from_slice(&random.bytes(1000));
        let id = back_up(&repository, "disk", &disk).await.unwrap();
        let back = restore(&repository, id).await.unwrap();
        assert!(
            back.as_ref() == Some(&disk),
            "{harm:?}: the new point came back different"
        );
        stored.points.push((id, disk.clone()));
        stored.overlay.repair();
        stored
            .open()
            .await
            .unwrap()
            .forget(&[id], "test")
            .await
            .unwrap();
        stored.points.pop();
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn a_target_that_is_full_or_read_only_fails_a_backup_and_harms_nothing() {
    let random = &mut Random::announced("bad input");
    let mut stored = Stored::new(random).await;
    let errors = [
        (io::ErrorKind::StorageFull, Kind::Full),
        (io::ErrorKind::QuotaExceeded, Kind::Full),
        (io::ErrorKind::PermissionDenied, Kind::Denied),
        (io::ErrorKind::ReadOnlyFilesystem, Kind::Denied),
    ];
    for (error, kind) in errors {
        // The session, packs, the index, the log, the point: each is the one that does not fit any more.
        for more in 0..9 {
            let repository = stored.open().await.unwrap();
            let disk = random.bytes(2_500_000);
            stored.overlay.refuse_writes(error, more);
            let done = back_up(&repository, "disk", &disk).await;
            stored.overlay.repair();
            match done {
                // With so many writes allowed it is committed, and what is refused is only the end of the session.
                Ok(id) => {
                    assert!(more >= 5, "a backup takes more than {more} writes");
                    stored.points.push((id, disk));
                }
                Err(e) => drop(failed(Err::<(), _>(e), &[kind], &["object", "target"])),
            }
            let listed = repository.points().await.unwrap().len();
            assert_eq!(
                listed,
                stored.points.len(),
                "after {more} writes: half a backup is no point"
            );
        }
        stored.is_whole().await;
        let disk = random.bytes(100_000);
        let id = back_up(&stored.open().await.unwrap(), "disk", &disk)
            .await
            .unwrap();
        stored.points.push((id, disk));
    }
    // Deleting is refused as well: then nothing was lost either.
    let repository = stored.open().await.unwrap();
    let (first, _) = stored.points.remove(0);
    repository.forget(&[first], "test").await.unwrap();
    for more in 0..12 {
        stored
            .overlay
            .refuse_writes(io::ErrorKind::PermissionDenied, more);
        if let Err(e) = repository.collect(&CollectOptions::default()).await {
            failed(Err::<(), _>(e), &[Kind::Denied], &["object"]);
        }
        stored.overlay.repair();
        stored.is_whole().await;
    }
}

/// A disk of which some cannot be read.
#[derive(Debug)]
struct Bad {
    size: u64,
    bad: u64,
    kind: io::ErrorKind,
}

#[async_trait]
impl DiskReader for Bad {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        Ok(vec![Extent {
            range,
            kind: ExtentKind::Data,
        }])
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        if (offset..offset + buffer.len() as u64).contains(&self.bad) {
            let error = Error::io("read disk", io::Error::from(self.kind));
            return Err(error.with("disk offset", offset));
        }
        buffer.fill(7);
        Ok(buffer)
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_or_shrinks_makes_no_point() {
    let random = &mut Random::announced("bad input");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    for bad in [0, 1, 1_500_000, (4 << 20) - 1] {
        for kind in [io::ErrorKind::Other, io::ErrorKind::UnexpectedEof] {
            let disk = Bad {
                size: 4 << 20,
                bad,
                kind,
            };
            let done = back_up_disk(&repository, "bad", &disk).await;
            failed(
                done,
                &[Kind::Unavailable, Kind::Corrupt],
                &["disk offset", "bad"],
            );
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinking.raw");
    for data in [true, false] {
        std::fs::write(&path, random.bytes(3 << 20)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // The end is data, or a hole.
        file.set_len(if data { 3 << 20 } else { 6 << 20 }).unwrap();
        let reader = FileReader::open(&path, Env::system()).await.unwrap();
        file.set_len(1 << 20).unwrap();
        let done = back_up_disk(&repository, "shrinking", &reader).await;
        failed(done, &[Kind::Corrupt], &["shrinking.raw", "disk offset"]);
    }
    let listed = repository.points().await.unwrap();
    assert_eq!(listed.len(), stored.points.len(), "half a disk is no point");
    stored.is_whole().await;
}

#[tokio::test]
async fn disks_of_every_odd_size_come_back() {
    let random = &mut Random::announced("bad input");
    let mut stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let powers = [9, 12, 16, 18, 20, 21].map(|n| 1usize << n);
    let around = powers
        .into_iter()
        .flat_map(|size| [size - 1, size, size + 1]);
    for size in [0, 1, 2, 511].into_iter().chain(around) {
        for zero in [false, true] {
            let bytes = if zero {
                vec![0; size]
            } else {
                random.bytes(size)
            };
            let path = folder.path().join(format!("{size}-{zero}.raw"));
            std::fs::write(&path, &bytes).unwrap();
            let reader = FileReader::open(&path, Env::system()).await.unwrap();
            let id = back_up_disk(&repository, "odd", &reader).await.unwrap();
            assert_eq!(
                repository.point(id).await.unwrap().disks[0].root.size,
                size as u64
            );
            let back = export(&repository, id, &folder.path().join("back"), true).await;
            back.unwrap();
            assert!(
                std::fs::read(folder.path().join("back")).unwrap() == bytes,
                "{size} bytes came back different"
            );
            stored.points.push((id, bytes));
        }
    }
    stored.is_whole().await;
}

/// Writes the only disk of a point to a file.
async fn export(
    repository: &Repository,
    id: PointId,
    path: &std::path::Path,
    overwrite: bool,
) -> Result<()> {
    let point = repository.point(id).await?;
    let only = disk::pick(&point, None)?;
    let writer = FileWriter::create(path, only.root.size, overwrite, Env::system()).await?;
    disk::restore(repository, id, &only.disk, &writer, DiskOptions::default())
        .await
        .map(drop)
}

#[tokio::test]
async fn what_is_there_stays_and_half_a_restore_has_no_name() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let repository = stored.open().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let (id, bytes) = &stored.points[1];

    std::fs::write(&path, "precious").unwrap();
    failed(
        export(&repository, *id, &path, false).await,
        &[Kind::AlreadyExists],
        &["disk.raw"],
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    failed(
        export(&repository, *id, folder.path(), true).await,
        &[Kind::Invalid],
        &[],
    );

    // The last pack of data is damaged: it fails in the middle, whether something is there or not.
    let packs = stored.of("packs/").await;
    let (pack, _) = packs.iter().max_by_key(|(_, b)| b.len()).unwrap();
    stored.overlay.remove(pack);
    for there in [true, false] {
        if !there {
            std::fs::remove_file(&path).unwrap();
        }
        let done = export(&repository, *id, &path, true).await;
        failed(done, &DAMAGED, &[pack.filename().unwrap(), &id.to_string()]);
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        match there {
            true => assert_eq!(std::fs::read(&path).unwrap(), b"precious"),
            false => assert_eq!(left.len(), 0, "{left:?} was left"),
        }
    }
    stored.overlay.repair();
    export(&repository, *id, &path, false).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == *bytes);
    stored.is_whole().await;
}

#[tokio::test]
async fn a_fenced_session_commits_nothing() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let repository = stored.open().await.unwrap();
    let (last, _) = stored.points.last().unwrap();
    let point = repository.point(*last).await.unwrap();
    let writer = repository.write(&[*last], "slow").await.unwrap();
    repository
        .fence(writer.session(), "operator")
        .await
        .unwrap();
    let again = RecoveryPoint {
        summary: PointSummary {
            name: "again".into(),
            ..point.summary
        },
        ..point
    };
    let error = failed(writer.commit(&again).await, &[Kind::Fenced], &[]);
    assert!(!error.is_retryable(), "the same session can never succeed");
    writer.close().await.unwrap();
    assert_eq!(
        repository.points().await.unwrap().len(),
        stored.points.len()
    );
    // Nobody else is hindered, and what the fenced one left goes.
    repository
        .collect(&CollectOptions::default())
        .await
        .unwrap();
    assert_eq!(stored.of("points/").await.len(), stored.points.len());
    stored.is_whole().await;
}

#[tokio::test]
async fn a_hole_in_the_log_is_damage() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let log = stored.of("log/").await;
    for (location, _) in &log[1..log.len() - 1] {
        stored.overlay.remove(location);
        let found = verify_keyless(&stored.target()).await.unwrap();
        let named: Vec<&str> = found.damage.iter().map(|d| d.object.as_str()).collect();
        assert_eq!(named, [location.as_ref()]);
        stored.overlay.repair();
    }
    assert!(stored.overlay.head(&log[1].0).await.is_ok());
    stored.is_whole().await;
}
