//! Targets in trouble, on real services: what passes does no harm, what stays is told with target, object and remedy, and the repository is whole
//! afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use raksha_core::cloud::{SecretText, Token, TokenSource};
use raksha_core::env::Env;
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless,
};
use raksha_core::store::ObjectCatalog;
use raksha_core::{Error, Kind, Result};
use raksha_targets::{Credentials, GuardOptions, OpenOptions, RetryOptions, Timeouts};
use raksha_tests::{
    Proxy, Random, Service, Site, Trouble, back_up, failed, options, ready, restore, small,
};

/// Little patience, so that what stays is told soon.
fn guard(give_up_after: Duration) -> GuardOptions {
    let mut guard = GuardOptions::remote();
    let mut retry = RetryOptions::default();
    retry.give_up_after = give_up_after;
    retry.longest_pause = Duration::from_millis(300);
    retry.burst = 1000;
    let mut timeouts = Timeouts::default();
    timeouts.attempt = Duration::from_secs(4);
    timeouts.stall = Duration::from_secs(2);
    (guard.retry, guard.timeouts) = (Some(retry), Some(timeouts));
    guard
}

/// A target behind a proxy.
struct Behind {
    proxy: Proxy,
    site: Site,
    /// For targets that cannot order writers.
    catalog: Option<Arc<ObjectCatalog>>,
}

impl Behind {
    fn new(service: Service, test: &str, random: Random) -> Self {
        let mut site = service.site(test);
        let proxy = Proxy::in_front_of(&mut site, random);
        let in_memory = || Arc::new(ObjectCatalog::new(Arc::new(InMemory::new())));
        let catalog = (service == Service::Swift).then(in_memory);
        Self {
            proxy,
            site,
            catalog,
        }
    }

    async fn target(&self, patience: Duration) -> Result<Target> {
        let options = self.site.options().guard(guard(patience));
        let opened = raksha_targets::open(&self.site.address, &options).await?;
        match &self.catalog {
            Some(catalog) => Ok(Target::with_catalog(opened.objects, catalog.clone())),
            None => opened.repository(),
        }
    }
}

fn secret() -> Secret {
    Secret::passphrase("secret")
}

async fn is_whole(target: Target, point: raksha_core::id::PointId, disk: &[u8]) {
    let keyless = verify_keyless(&target).await.unwrap();
    assert!(keyless.is_whole(), "{:?}", keyless.damage);
    let repository = Repository::open(target, &secret(), options())
        .await
        .unwrap();
    let deep = repository.verify(&VerifyOptions::default()).await.unwrap();
    assert!(deep.is_whole(), "{:?}", deep.damage);
    let back = restore(&repository, point).await.unwrap();
    assert!(
        back.as_deref() == Some(disk),
        "the disk came back different"
    );
}

/// One request in four meets trouble: the work is done all the same.
async fn troubles_pass(service: Service) {
    let mut random = Random::announced("bad_targets");
    let behind = Behind::new(service, "passing", Random::new(random.number()));
    let disk = random.bytes(3 << 20);
    let target = behind.target(Duration::from_secs(60)).await.unwrap();
    let secret = secret();
    let repository = Repository::create(target.clone(), small(), &secret, options());
    let repository = repository.await.unwrap();
    let mut point = None;
    for trouble in [
        Trouble::Refused(503),
        Trouble::Refused(429),
        Trouble::Reset,
        Trouble::AnswerLost,
        Trouble::CutShort,
        Trouble::Stalled,
    ] {
        // A stall takes seconds each time.
        let one_in = if trouble == Trouble::Stalled { 20 } else { 4 };
        behind.proxy.trouble(Some(trouble), one_in);
        let done = back_up(&repository, "disk", &disk).await;
        let id = done.unwrap_or_else(|e| panic!("{trouble:?}: {e}"));
        let back = restore(&repository, id).await;
        let back = back.unwrap_or_else(|e| panic!("{trouble:?}: {e}"));
        assert!(
            back.as_ref() == Some(&disk),
            "{trouble:?}: the disk came back different"
        );
        point = Some(id);
    }
    behind.proxy.trouble(None, 1);
    is_whole(target, point.unwrap(), &disk).await;
    behind.site.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_of_s3_pass() {
    troubles_pass(Service::RgwS3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_of_swift_pass() {
    troubles_pass(Service::Swift).await;
}

/// Every request meets trouble: the error says where, of what, and (as far as one can) what to do; afterwards all is as it was.
async fn troubles_stay(service: Service) {
    let mut random = Random::announced("bad_targets");
    let behind = Behind::new(service, "staying", Random::new(random.number()));
    let disk = random.bytes(2 << 20);
    let target = behind.target(Duration::from_secs(1)).await.unwrap();
    let secret = secret();
    let repository = Repository::create(target.clone(), small(), &secret, options());
    let repository = repository.await.unwrap();
    let point = back_up(&repository, "disk", &disk).await.unwrap();
    for (trouble, kinds, word) in [
        (Trouble::Refused(503), &[Kind::Unavailable][..], "503"),
        (Trouble::Refused(507), &[Kind::Full], "free space"),
        (Trouble::Reset, &[Kind::Unavailable], "raksha-tests"),
        (Trouble::Stalled, &[Kind::Timeout], "raksha-tests"),
    ] {
        behind.proxy.trouble(Some(trouble), 1);
        let other = random.bytes(1 << 20);
        let error = failed(back_up(&repository, "other", &other).await, kinds, &[word]);
        println!("{trouble:?}: {error}");
        assert!(
            error.to_string().contains("raksha-tests"),
            "which target? {error}"
        );
        assert!(
            error.to_string().contains("object"),
            "which object? {error}"
        );
    }
    behind.proxy.trouble(None, 1);
    // Bytes that were damaged or lost on their way are never taken for the right ones.
    for (trouble, kinds) in [
        (Trouble::CutShort, [Kind::Unavailable, Kind::Timeout]),
        (Trouble::Damaged, [Kind::Corrupt, Kind::Unavailable]),
    ] {
        let fresh = Repository::open(target.clone(), &secret, options())
            .await
            .unwrap();
        behind.proxy.trouble(Some(trouble), 1);
        let error = failed(restore(&fresh, point).await, &kinds, &["object"]);
        println!("{trouble:?}: {error}");
        behind.proxy.trouble(None, 1);
    }
    is_whole(target, point, &disk).await;
    behind.site.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_of_s3_that_stay_are_told() {
    troubles_stay(Service::RgwS3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_of_swift_that_stay_are_told() {
    troubles_stay(Service::Swift).await;
}

/// Opening must fail with one of `kinds` and say all of `words`.
async fn refused(address: &str, credentials: Credentials, kinds: &[Kind], words: &[&str]) {
    let options = OpenOptions::default()
        .credentials(credentials)
        .guard(guard(Duration::from_secs(1)));
    let opened = raksha_targets::open(address, &options).await;
    let error = failed(opened.map(|target| target.description), kinds, words);
    println!("{error}");
    assert!(!error.to_string().contains("geheim"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_missing_places_are_told_at_once() {
    let wrong = || SecretText::new("geheim");
    let denied = [Kind::Denied, Kind::Unauthenticated];
    for service in [Service::S3, Service::RgwS3] {
        let site = service.site("wrong");
        let Credentials::Keys { access_key, .. } = &site.credentials else {
            panic!("S3 has keys")
        };
        // The light server accepts all keys.
        if service == Service::RgwS3 {
            let keys = Credentials::Keys {
                access_key: access_key.clone(),
                secret_key: wrong(),
                session_token: None,
            };
            refused(&site.address, keys, &denied, &["raksha-tests"]).await;
        }
        let missing = site.address.replace("raksha-tests", "raksha-no-such");
        let words = ["raksha-no-such"];
        refused(&missing, site.credentials, &[Kind::NotFound], &words).await;
    }
    for service in [Service::Swift, Service::RgwSwift] {
        let site = service.site("wrong");
        let Credentials::Password { user, .. } = &site.credentials else {
            panic!("Swift has users")
        };
        let user = user.clone();
        let password = wrong();
        let credentials = Credentials::Password { user, password };
        refused(
            &site.address,
            credentials,
            &denied,
            &["key is not accepted"],
        )
        .await;
        let missing = site.address.replace("//raksha-tests", "//raksha-no-such");
        let words = ["raksha-no-such", "create it"];
        refused(&missing, site.credentials, &[Kind::NotFound], &words).await;
    }
    let rados = Service::Rados.site("wrong").address;
    for (address, kinds, word) in [
        (
            rados.replace("user=raksha", "user=nobody"),
            &denied[..],
            "keyring",
        ),
        (
            rados.replace("//raksha/", "//no-such-pool/"),
            &[Kind::NotFound],
            "no-such-pool",
        ),
        // This user may neither read nor write this one.
        (
            rados.replace("//raksha/", "//.rgw.root/"),
            &[Kind::Denied],
            "grant",
        ),
        (
            rados.replace("raksha-tests", "raksha-no-such"),
            &[Kind::NotFound],
            "create it",
        ),
        (
            rados.replace("/ceph.conf", "/no-such.conf"),
            &[Kind::NotFound],
            "no-such.conf",
        ),
    ] {
        refused(&address, Credentials::Environment, kinds, &[word]).await;
    }
}

/// Gives tokens as one whose time is up: first one that ends at once, then another, then one that the service does not take any
/// more, and at last the right one.
#[derive(Debug)]
struct Stale {
    right: Arc<dyn TokenSource>,
    renewed: AtomicU64,
}

#[async_trait]
impl TokenSource for Stale {
    async fn token(&self) -> Result<Token> {
        let mut token = self.right.token().await?;
        token.expires = Some(Env::system().now());
        Ok(token)
    }

    async fn renew(&self, _stale: &Token) -> Result<Token> {
        let mut token = self.right.token().await?;
        match self.renewed.fetch_add(1, Ordering::SeqCst) {
            // Opening the target asks for the first, the uploads for the second.
            0 => return self.token().await,
            1 => {
                token.value = SecretText::new("this one has expired");
                token.expires = None;
            }
            _ => {}
        }
        Ok(token)
    }
}

/// A token that ends in the middle of an upload is renewed, and the upload made again.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_in_the_middle() {
    let mut random = Random::announced("bad_targets");
    let site = Service::SwiftOfCloud.site("tokens");
    let Credentials::Tokens(right) = &site.credentials else {
        panic!("a cloud has tokens")
    };
    let stale = Arc::new(Stale {
        right: Arc::clone(right),
        renewed: AtomicU64::default(),
    });
    let options = OpenOptions::default()
        .create(true)
        .credentials(Credentials::Tokens(stale.clone()));
    let target = raksha_targets::open(&site.address, &options).await.unwrap();
    let bytes = random.bytes(4 << 20);
    let puts = (0..8).map(|n| {
        let (objects, bytes) = (Arc::clone(&target.objects), bytes.clone());
        async move {
            let location = Path::from(format!("upload/{n}"));
            objects.put(&location, bytes.into()).await.unwrap();
            objects.get(&location).await.unwrap().bytes().await.unwrap()
        }
    });
    for got in futures_util::future::join_all(puts).await {
        assert!(got == bytes, "it came back different");
    }
    let renewed = stale.renewed.load(Ordering::SeqCst);
    assert_eq!(renewed, 3, "one renewal for all eight uploads");
    site.clear().await;
}

/// What others put there is shown, left alone, and in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_objects_are_left_alone() {
    let mut random = Random::announced("bad_targets");
    for service in [Service::Rados, Service::RgwS3] {
        let site = service.site("foreign");
        let opened = site.open().await;
        let foreign = ["holiday.jpg", "packs/readme.txt", "raksha.json.bak"];
        for name in foreign {
            opened
                .objects
                .put(&Path::from(name), "mine".into())
                .await
                .unwrap();
        }
        let target = opened.repository().unwrap();
        let secret = secret();
        let repository = Repository::create(target.clone(), small(), &secret, options());
        let repository = repository.await.unwrap();
        let disk = random.bytes(1 << 20);
        let point = back_up(&repository, "disk", &disk).await.unwrap();
        repository
            .collect(&CollectOptions::default())
            .await
            .unwrap();
        let found = repository.verify(&VerifyOptions::default()).await.unwrap();
        assert!(!found.foreign.is_empty(), "{found:?}");
        for name in foreign {
            let there = opened.objects.get(&Path::from(name)).await.unwrap();
            assert_eq!(there.bytes().await.unwrap(), "mine");
        }
        is_whole(target, point, &disk).await;
        site.clear().await;
    }
}

/// A bucket at its quota: the error says so, and what was there before stays whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_is_told() {
    let mut random = Random::announced("bad_targets");
    let ready = ready("RGW");
    let mut site = Service::RgwS3.site("full");
    // The whole bucket, so that what is left of an earlier, failed test does not take up its room.
    let (_, options_of_it) = site.address.split_once('?').unwrap();
    site.address = format!("s3://raksha-tests-full?{options_of_it}");
    site.credentials = Credentials::Keys {
        access_key: ready["RGW_FULL_ACCESS_KEY"].clone(),
        secret_key: SecretText::new(ready["RGW_FULL_SECRET_KEY"].clone()),
        session_token: None,
    };
    site.clear().await;
    let target = site.open().await.repository().unwrap();
    let secret = secret();
    let repository = Repository::create(target.clone(), small(), &secret, options());
    let repository = repository.await.unwrap();
    let disk = random.bytes(1 << 20);
    let point = back_up(&repository, "disk", &disk).await.unwrap();
    // The quota is 16 MiB.
    let large = random.bytes(24 << 20);
    let error: Error = failed(
        back_up(&repository, "large", &large).await,
        &[Kind::Full],
        &["raksha-tests-full", "object", "quota"],
    );
    println!("{error}");
    is_whole(target, point, &disk).await;
    site.clear().await;
}
