//! What each credential can do, and what it cannot: the rows of the table in `docs/OPERATING.md`.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_core::Kind;
use raksha_core::id::PointId;
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless,
};
use raksha_tests::{Place, Random, Rights, back_up, failed, options, restore, small};

fn secret() -> Secret {
    Secret::passphrase("secret")
}

async fn open(objects: &Arc<dyn ObjectStore>) -> Repository {
    let target = Target::new(Arc::clone(objects));
    Repository::open(target, &secret(), options())
        .await
        .unwrap()
}

/// A repository of two points, of which the first was forgotten since, and what the second holds.
async fn filled(objects: &Arc<dyn ObjectStore>, random: &mut Random) -> (PointId, Vec<u8>) {
    let target = Target::new(Arc::clone(objects));
    let made = Repository::create(target, small(), &secret(), options()).await;
    let repository = made.unwrap();
    let other = Secret::passphrase("other");
    let added = repository.add_key("other", &other, &secret(), "test").await;
    added.unwrap();
    let mut disk = random.bytes(2 << 20);
    let first = back_up(&repository, "disk", &disk).await.unwrap();
    disk[..1 << 20].copy_from_slice(&random.bytes(1 << 20));
    let second = back_up(&repository, "disk", &disk).await.unwrap();
    repository.forget(&[first], "test").await.unwrap();
    (second, disk)
}

/// Whoever has the key and may read.
async fn can_read(reads: &Arc<dyn ObjectStore>, point: PointId) {
    let repository = open(reads).await;
    assert!(
        repository
            .points()
            .await
            .unwrap()
            .iter()
            .any(|p| p.id == point)
    );
    assert!(repository.stats().await.unwrap().points > 0);
    assert!(!repository.key_slots().await.unwrap().is_empty());
    let found = repository.verify(&VerifyOptions::default()).await.unwrap();
    assert!(found.is_whole(), "{:?}", found.damage);
    let target = Target::new(Arc::clone(reads));
    assert!(verify_keyless(&target).await.unwrap().is_whole());
}

/// A backup-only principal, which may create and not delete: it does all that nights are made of, and cannot take anything away.
async fn creates_and_takes_nothing_away(
    creates: &Arc<dyn ObjectStore>,
    all: &Arc<dyn ObjectStore>,
    (point, disk): (PointId, Vec<u8>),
    random: &mut Random,
) {
    can_read(creates, point).await;
    let repository = open(creates).await;
    assert!(restore(&repository, point).await.unwrap() == Some(disk.clone()));
    let mut newer = disk;
    newer[5000..9000].copy_from_slice(&random.bytes(4000));
    let incremental = back_up(&repository, "disk", &newer).await.unwrap();
    repository.forget(&[point], "test").await.unwrap();

    let mut careful = CollectOptions::default();
    careful.delete = false;
    let retired = repository.collect(&careful).await.unwrap();
    assert!(retired.retired_packs > 0 && retired.deleted_objects == 0);
    let before = raksha_tests::objects(&**all).await.len();
    let denied = [Kind::Denied];
    failed(
        repository.collect(&CollectOptions::default()).await,
        &denied,
        &[],
    );
    let removed = repository.remove_key("other", &secret(), "test").await;
    failed(removed, &denied, &[]);
    let location = raksha_tests::objects(&**all).await[0].0.clone();
    let deleted = creates.delete(&location).await;
    assert!(deleted.is_err(), "{location} was deleted");
    assert!(raksha_tests::objects(&**all).await.len() >= before);

    // Somebody else, with the right to delete, collects; nothing that is needed goes.
    let collected = open(all).await.collect(&CollectOptions::default()).await;
    assert!(collected.unwrap().deleted_objects > 0);
    let fresh = open(creates).await;
    assert!(restore(&fresh, incremental).await.unwrap() == Some(newer));
    can_read(creates, incremental).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_alone_looks_and_verifies_and_restores() {
    let random = &mut Random::announced("credentials");
    let all: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (point, disk) = filled(&all, random).await;
    let before = raksha_tests::objects(&*all).await;
    let reads: Arc<dyn ObjectStore> = Arc::new(Rights::to_read(Arc::clone(&all)));
    can_read(&reads, point).await;
    let repository = open(&reads).await;
    let denied = [Kind::Denied];
    // Without a pin, that nobody collects meanwhile.
    assert!(restore(&repository, point).await.unwrap() == Some(disk));
    failed(back_up(&repository, "disk", &[1; 5000]).await, &denied, &[]);
    failed(repository.forget(&[point], "test").await, &denied, &[]);
    let collected = repository.collect(&CollectOptions::default()).await;
    failed(collected, &denied, &[]);
    let other = Secret::passphrase("third");
    let added = repository.add_key("third", &other, &secret(), "test").await;
    failed(added, &denied, &[]);
    assert!(raksha_tests::objects(&*all).await == before, "it wrote");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_without_deleting_backs_up_and_restores() {
    let random = &mut Random::announced("credentials");
    let all: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let filled = filled(&all, random).await;
    let creates: Arc<dyn ObjectStore> = Arc::new(Rights::to_create(Arc::clone(&all)));
    creates_and_takes_nothing_away(&creates, &all, filled, random).await;
}

/// Without a key, whatever the rights: no names, no contents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_one_verifies_and_opens_nothing() {
    let random = &mut Random::announced("credentials");
    let all: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    filled(&all, random).await;
    let target = Target::new(Arc::clone(&all));
    assert!(verify_keyless(&target).await.unwrap().is_whole());
    let guessed = Secret::passphrase("guessed");
    let opened = Repository::open(target, &guessed, options()).await;
    failed(opened, &[Kind::WrongKey], &[]);
}

/// The same on a real service, whose policy knows two users.
#[cfg(feature = "lab")]
mod lab {
    use std::time::Duration;

    use raksha_core::Timestamp;
    use raksha_core::cloud::SecretText;
    use raksha_core::env::Env;
    use raksha_targets::{Credentials, OpenOptions};
    use raksha_tests::{Bucket, Program, Service, ready, text};

    use super::*;

    /// The two users of the bucket: its owner, and one who may not delete.
    fn users() -> [(String, String); 2] {
        let ready = ready("RGW");
        ["RGW_S3", "RGW_FULL"].map(|user| {
            let get = |what: &str| ready[&format!("{user}_{what}")].clone();
            (get("ACCESS_KEY"), get("SECRET_KEY"))
        })
    }

    async fn seen_by((id, key): &(String, String), address: &str) -> Arc<dyn ObjectStore> {
        let keys = Credentials::Keys {
            access_key: id.clone(),
            secret_key: SecretText::new(key.clone()),
            session_token: None,
        };
        let options = OpenOptions::default().credentials(keys);
        raksha_targets::open(address, &options)
            .await
            .unwrap()
            .objects
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_writer_without_the_right_to_delete_suffices_for_backup() {
        let random = &mut Random::announced("credentials");
        let bucket = Bucket::new("rights", false);
        let address = bucket.address(&Service::RgwS3.site("rights").address);
        let [owner, writer] = users();
        let all = seen_by(&owner, &address).await;
        let creates = seen_by(&writer, &address).await;
        let filled = filled(&all, random).await;
        creates_and_takes_nothing_away(&creates, &all, filled, random).await;
    }

    /// On a bucket with object lock, with the program: the log must lie elsewhere, since this gateway takes a second version of a name where it should
    /// refuse it. Then incremental backups go on, and what their points need cannot be deleted by anybody.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_locked_bucket_needs_a_catalog_and_then_serves() {
        let mut random = Random::announced("credentials");
        let bucket = Bucket::new("lock", true);
        let address = bucket.address(&Service::RgwS3.site("lock").address);
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("key");
        std::fs::write(&key, random.bytes(32)).unwrap();
        let [owner, writer] = users();
        let program = |(id, secret): &(String, String)| {
            Program::find(raksha_tests::Build::Newest)
                .at_home(home.path())
                .with("RAKSHA_TARGET", &address)
                .with("RAKSHA_KEY_FILE", &key)
                .with("AWS_ACCESS_KEY_ID", id)
                .with("AWS_SECRET_ACCESS_KEY", secret)
        };
        let refused = program(&owner).fails(&["init"]);
        assert!(refused.contains("--catalog"), "{refused}");

        let catalog = format!("sqlite:{}", home.path().join("catalog").display());
        let all = program(&owner).with("RAKSHA_CATALOG", &catalog);
        let creates = program(&writer).with("RAKSHA_CATALOG", &catalog);
        all.ok(&["init"]);
        let (disk, out) = (home.path().join("disk"), home.path().join("out"));
        let mut content = random.bytes(3 << 20);
        let mut points = Vec::new();
        let mut objects = 0;
        for night in 0..3 {
            content[night << 20..][..5000].copy_from_slice(&random.bytes(5000));
            std::fs::write(&disk, &content).unwrap();
            let backup = ["disk", "backup", &text(&disk), "--name", "disk"];
            points.push((creates.ok(&backup), content.clone()));
            // The owner keeps all that is needed, packs of earlier nights included; what is kept for long enough is left as it is.
            let now = Env::system().now();
            let kept = all.json(&["keep", "--for", "2h"]);
            let count = |what: &str| kept[what].as_u64().unwrap();
            assert_eq!(count("extended"), count("objects") - objects, "{kept}");
            objects = count("objects");
            let horizons = kept["horizons"].as_object().unwrap();
            assert_eq!(horizons.len(), points.len(), "{kept}");
            for until in horizons.values() {
                let until: Timestamp = until.as_str().unwrap().parse().unwrap();
                let safe = until.since(now);
                assert!(safe > Duration::from_secs(3600) && safe < Duration::from_secs(7300));
            }
        }
        let longer = all.json(&["keep", "--for", "5h"]);
        assert_eq!(longer["extended"], longer["objects"], "{longer}");

        let (gone, left) = bucket.attack();
        println!("{gone} versions are gone, {left} are left");
        assert!(left >= objects);
        creates.ok(&["forget", &points[0].0]);
        let collected = creates.call(&["collect"]);
        assert_eq!(collected.code, Some(1), "{collected:?}");
        all.ok(&["collect"]);
        all.ok(&["verify"]);
        for (point, content) in &points[1..] {
            creates.ok(&["disk", "restore", point, &text(&out), "--force"]);
            assert!(std::fs::read(&out).unwrap() == *content);
        }
    }
}

/// What cannot keep objects says so.
#[test]
fn a_directory_keeps_nothing_from_being_deleted() {
    let place = Place::new();
    let refused = place.raksha.fails(&["keep", "--for", "1h"]);
    assert!(refused.contains("object lock"), "{refused}");
}
