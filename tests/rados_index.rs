//! The index of names of a target in RADOS after accidents, made with Ceph's own tool: writers that died between two steps, objects of the index
//! that are lost, objects that others put there.

use std::collections::BTreeMap;
use std::process::Command;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_targets::reindex;
use raksha_tests::{Service, Site, ready};

/// A namespace of its own.
struct Namespace {
    name: String,
    pool: String,
    user: String,
    site: Site,
}

impl Namespace {
    fn new() -> Self {
        let ready = ready("CEPH");
        let mut site = Service::Rados.site("index");
        let name = format!("raksha-tests-index-{}", std::process::id());
        site.address = site.address.replace("raksha-tests", &name);
        Self {
            name,
            pool: ready["CEPH_RAKSHA_POOL"].clone(),
            user: ready["CEPH_RAKSHA_USER"].clone(),
            site,
        }
    }

    fn rados(&self, arguments: &[&str]) -> String {
        let place = ["--id", &self.user, "-p", &self.pool, "-N", &self.name];
        let output = Command::new("/usr/bin/rados")
            .args(place)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "rados {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn shards(&self) -> Vec<String> {
        let all = self.rados(&["ls"]);
        let shards = all.lines().filter(|name| name.starts_with("/index/"));
        shards.map(str::to_owned).collect()
    }

    /// The shard that has a name.
    fn shard_of(&self, name: &str) -> String {
        let has = |shard: &String| {
            let keys = self.rados(&["listomapkeys", shard]);
            keys.lines().any(|key| key.ends_with(name))
        };
        self.shards().into_iter().find(has).unwrap()
    }

    /// The name of an object of the target in the pool.
    fn full(&self, name: &str) -> String {
        let all = self.rados(&["ls"]);
        let mut names = all.lines().filter(|n| n.ends_with(name));
        names.next().unwrap().to_owned()
    }
}

async fn listed(objects: &dyn ObjectStore) -> BTreeMap<String, u64> {
    let all = objects
        .list(None)
        .map_ok(|m| (m.location.to_string(), m.size));
    all.try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn accidents_do_not_hide_objects() {
    let space = Namespace::new();
    let target = space.site.open().await;
    let objects = &*target.objects;
    let mut expected = BTreeMap::new();
    for n in 0..30u64 {
        let name = format!("packs/{}/{n:02}", n % 3);
        let bytes = vec![7; 100 + n as usize];
        objects
            .put(&Path::from(name.as_str()), bytes.into())
            .await
            .unwrap();
        expected.insert(name, 100 + n);
    }
    assert_eq!(listed(objects).await, expected);

    // A writer died after it had opened an entry, long ago: the object is asked, and the entry closed.
    let (name, shard) = (space.full("packs/1/13"), space.shard_of("packs/1/13"));
    space.rados(&["setomapval", &shard, &name, "open 1000 dead"]);
    assert_eq!(listed(objects).await, expected);
    let entry = space.rados(&["getomapval", &shard, &name]);
    assert!(entry.contains("is 113"), "the entry is still open: {entry}");

    // Two died before they had stored anything: one just now, one long ago. Neither object is listed, and the older entry goes.
    let now = raksha_core::env::Env::system().now().as_millis() / 1000;
    for (short, since) in [("packs/1/young", now), ("packs/1/old", 1000)] {
        objects.put(&Path::from(short), "x".into()).await.unwrap();
        let (name, shard) = (space.full(short), space.shard_of(short));
        space.rados(&["rm", &name]);
        space.rados(&["setomapval", &shard, &name, &format!("open {since} dead")]);
    }
    assert_eq!(listed(objects).await, expected);
    let shards = space.shards();
    let keys = shards.iter().map(|s| space.rados(&["listomapkeys", s]));
    let keys: String = keys.collect();
    assert!(keys.contains("/young") && !keys.contains("/old"), "{keys}");

    // Half of the index is lost, an object goes behind its back, and others put one there.
    let gone = "packs/2/20";
    let told = space.shard_of(gone);
    let others = space.shards().into_iter().filter(|shard| *shard != told);
    for shard in others.take(8) {
        space.rados(&["rm", &shard]);
    }
    space.rados(&["rm", &space.full(gone)]);
    expected.remove(gone);
    let prefix = name.strip_suffix("packs/1/13").unwrap();
    space.rados(&["put", &format!("{prefix}holiday"), "/etc/hostname"]);
    let holiday = std::fs::metadata("/etc/hostname").unwrap().len();
    expected.insert("holiday".to_owned(), holiday);
    let error = objects
        .list(None)
        .try_collect::<Vec<_>>()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("reindex"), "{error}");
    let done = reindex(&space.site.address, &space.site.options())
        .await
        .unwrap();
    assert_eq!(done.objects, expected.len() as u64, "{done:?}");
    assert!(done.added >= 2 && done.removed >= 1, "{done:?}");
    assert_eq!(listed(objects).await, expected);

    space.site.clear().await;
    assert_eq!(listed(objects).await, BTreeMap::new());
    for left in space.rados(&["ls"]).lines() {
        assert!(left.starts_with("/index"), "{left} was left behind");
        space.rados(&["rm", left]);
    }
}
