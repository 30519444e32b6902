//! Who must not learn what, and what must not be believed: secrets stay out of everything that is told or stored, and objects of one repository are
//! nothing to another.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use raksha_core::Kind;
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless,
};
use raksha_tests::{
    HARMS, Place, Random, Stored, back_up, failed, objects, options, restore, small,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const PASSPHRASE: &str = "planted-passphrase-8fQ2";
const OTHER: &str = "planted-other-passphrase-x7Lm";
const NAME: &str = "planted-name-of-a-disk-k3Vd";
const CONTENT: &str = "planted content of a disk, R9tb, ";

/// Collects everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for &Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let told = format!("{field}={value:?}\n");
        self.0.lock().unwrap().push_str(&told);
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut &*self);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut &*self);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test]
async fn secrets_are_in_no_log_no_error_and_no_object() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let random = &mut Random::announced("trust");
    let mut told = Vec::new();
    let memory = Arc::new(InMemory::new());
    let target = Target::new(memory.clone());
    let secret = Secret::passphrase(PASSPHRASE);
    let repository = Repository::create(target.clone(), small(), &secret, options())
        .await
        .unwrap();
    told.push(format!("{repository:?} {target:?}"));
    let content = CONTENT.repeat(3000).into_bytes();
    let id = back_up(&repository, NAME, &content).await.unwrap();
    let other = Secret::passphrase(OTHER);
    repository
        .add_key("other", &other, &secret, NAME)
        .await
        .unwrap();
    repository
        .collect(&CollectOptions::default())
        .await
        .unwrap();
    told.push(format!(
        "{:?}",
        repository.verify(&VerifyOptions::default()).await
    ));
    // Whatever can go wrong with a key or an object.
    let wrong = Repository::open(target.clone(), &Secret::passphrase("no"), options()).await;
    told.push(format!("{wrong:?}"));
    told.push(format!(
        "{:?}",
        repository.remove_key("nowhere", &other, NAME).await
    ));
    told.push(format!(
        "{:?}",
        repository.add_key("other", &other, &secret, NAME).await
    ));
    let stored = Stored::new(random).await;
    for (location, bytes) in stored.of("").await {
        for harm in HARMS {
            stored.harm(&location, &bytes, harm).await;
            match stored.open().await {
                Ok(repository) => {
                    let verified = repository.verify(&VerifyOptions::default()).await;
                    let restored = restore(&repository, stored.points[0].0).await;
                    told.push(format!("{verified:?} {:?}", restored.map(|_| ())));
                }
                Err(error) => told.push(format!("{error:?} {error}")),
            }
            stored.overlay.repair();
        }
    }
    for (location, bytes) in objects(&*memory).await {
        if !location.as_ref().starts_with("packs/") {
            memory
                .put(&location, bytes[..bytes.len() / 2].to_vec().into())
                .await
                .unwrap();
            let opened = Repository::open(target.clone(), &secret, options()).await;
            told.push(format!("{:?}", opened.map(|_| ())));
            memory.put(&location, bytes.into()).await.unwrap();
        }
    }
    drop(guard);
    told.push(log.0.lock().unwrap().clone());
    assert!(
        told.iter().any(|text| text.contains("WrongKey")),
        "nothing went wrong"
    );
    for text in &told {
        for secret in [PASSPHRASE, OTHER, CONTENT] {
            assert!(!text.contains(secret), "{secret} is told: {text}");
        }
    }
    // Nothing of a tenant can be read in the target, names included.
    for (location, bytes) in objects(&*memory).await {
        for secret in [PASSPHRASE, OTHER, CONTENT, NAME] {
            assert!(!contains(&bytes, secret), "{location} holds {secret}");
        }
    }
    assert_eq!(restore(&repository, id).await.unwrap(), Some(content));
}

#[test]
fn the_program_prints_no_secret() {
    let place = Place::new();
    let passphrase = place.file("passphrase", PASSPHRASE.as_bytes());
    let disk = place.file("disk", CONTENT.repeat(2000).as_bytes());
    let added = ["key", "add", "second", "--new-passphrase-file", &passphrase];
    let mut said = vec![place.raksha.call(&added)];
    assert_eq!(said[0].code, Some(0), "{said:?}");
    let with = place.raksha.clone().with("RUST_LOG", "trace");
    said.push(with.call(&["disk", "backup", &disk, "--name", "disk"]));
    let open = ["--passphrase-file", &passphrase];
    for verb in [
        &["points"][..],
        &["log"],
        &["verify"],
        &["stats"],
        &["key", "list"],
        &["collect"],
        &["disk", "restore", "nowhere", "x"],
    ] {
        said.push(with.call(&[verb, &open].concat()));
        said.push(with.call(&[verb, &open, &["--json"]].concat()));
    }
    let wrong = place.file("wrong", OTHER.as_bytes());
    said.push(with.call(&["points", "--passphrase-file", &wrong]));
    assert_eq!(said.last().unwrap().code, Some(1));
    for said in said {
        for secret in [PASSPHRASE, OTHER, CONTENT] {
            assert!(!format!("{said:?}").contains(secret), "{said:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_anothers_or_in_anothers_place_is_refused() {
    let random = &mut Random::announced("trust");
    let (mine, theirs) = (Stored::new(random).await, Stored::new(random).await);
    let of = |objects: Vec<(Path, Vec<u8>)>| -> BTreeMap<Path, Vec<u8>> {
        objects.into_iter().collect()
    };
    // An object of another repository, or another one of the same, under the name of ours: intact, but not ours.
    for prefix in [
        "points/",
        "packs/",
        "index/",
        "checkpoint/",
        "log/",
        "keys/",
        "raksha.json",
    ] {
        let (ours, others) = (of(mine.of(prefix).await), of(theirs.of(prefix).await));
        for (location, bytes) in &ours {
            let same = ours.values().find(|other| *other != bytes);
            for other in others.values().take(1).chain(same) {
                mine.overlay.replace(location, other.clone()).await;
                let found = verify_keyless(&mine.target()).await;
                let noticed = match (prefix, &found) {
                    // A key slot is intact wherever it is; only its secret tells whose it is.
                    ("keys/", _) => true,
                    // Which repository this is, raksha.json says; so then it is the log that does not fit.
                    (_, Ok(found)) => !found.is_whole(),
                    (_, Err(_)) => true,
                };
                assert!(noticed, "{location}: {found:?}");
                let opened = mine.open().await;
                let given = match &opened {
                    Ok(repository) => restore(repository, mine.points[0].0).await.ok().flatten(),
                    Err(_) => None,
                };
                let right = given.is_none() || given.as_ref() == Some(&mine.points[0].1);
                assert!(right, "{location}: something else was given out");
                mine.overlay.repair();
            }
        }
    }
    // A whole point of another repository, brought in with everything it has: this one's log does not know it.
    let (point, _) = &theirs.points[0];
    for prefix in ["points/", "packs/", "index/"] {
        for (location, bytes) in theirs.of(prefix).await {
            if !mine
                .of(prefix)
                .await
                .iter()
                .any(|(own, _)| *own == location)
            {
                mine.overlay.put(&location, bytes.into()).await.unwrap();
            }
        }
    }
    let repository = mine.open().await.unwrap();
    failed(restore(&repository, *point).await, &[Kind::NotFound], &[]);
    mine.is_whole().await;
}

/// Offline, without a key: whatever was taken out of the log, changed, or put in another order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_tampered_with_is_noticed_offline() {
    let random = &mut Random::announced("trust");
    let stored = Stored::new(random).await;
    let entries = stored.of("log/").await;
    let damaged = async || {
        let found = verify_keyless(&stored.target()).await.unwrap();
        let found = found.damage.into_iter().map(|d| d.object);
        found
            .filter(|object| object.starts_with("log/"))
            .collect::<Vec<_>>()
    };
    for (n, pair) in entries.windows(2).enumerate() {
        let [(first, one), (second, other)] = pair else {
            unreachable!()
        };
        // Put in another order.
        stored.overlay.replace(first, other.clone()).await;
        stored.overlay.replace(second, one.clone()).await;
        assert_eq!(
            damaged().await,
            [first.to_string()],
            "entries {n} and {}",
            n + 1
        );
        stored.overlay.repair();
        // Taken out, and the later ones moved up.
        for ((location, _), (_, bytes)) in entries[n..].iter().zip(&entries[n + 1..]) {
            stored.overlay.replace(location, bytes.clone()).await;
        }
        stored.overlay.remove(&entries.last().unwrap().0);
        assert_eq!(damaged().await, [first.to_string()], "without entry {n}");
        stored.overlay.repair();
        // Said twice.
        stored.overlay.replace(second, one.clone()).await;
        assert_eq!(damaged().await, [second.to_string()]);
        stored.overlay.repair();
    }
    // Another time, another name: the signature does not fit, even with a right checksum.
    for (location, bytes) in &entries {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let changed = text.replacen("\"nonce\":\"", "\"nonce\":\"f", 1);
        let (payload, _) = changed.rsplit_once("\nblake3 ").unwrap();
        let hash = blake3::hash(payload.as_bytes()).to_hex();
        let forged = format!("{payload}\nblake3 {hash}\n");
        stored.overlay.replace(location, forged.into_bytes()).await;
        assert_eq!(damaged().await, [location.to_string()]);
        stored.overlay.repair();
    }
}
