//! The whole story by the `raksha` command, on every target: a backup is killed in the middle and continued, the servers write, a second run
//! follows, everything is lost, and both runs come back byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::local::{LocalCloud, NewServer};
use raksha_tests::{Place, Program, Random, Service, Site, contents, disks, ready};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// The servers' disks: more than one publication (every 64 MiB), so that a run can be killed between two.
const DISKS: [(&str, u64); 2] = [("web", 72 * MIB), ("db", 40 * MIB)];
const ALL: u64 = 112 * MIB;

/// Fast enough to be tested, slow enough to be killed before the end.
const SLOWLY: u64 = 4 * MIB;

type Contents = BTreeMap<(String, usize), Vec<u8>>;

struct Story {
    place: Place,
    raksha: Program,
    cloud: LocalCloud,
    random: Random,
}

impl Story {
    /// A repository at the address, and a cloud with a job for all of its servers.
    async fn begin(address: Option<&str>, environment: &[(&'static str, String)]) -> Self {
        let place = Place::on(address, environment);
        let mut random = Random::announced("targets_story");
        let cloud = LocalCloud::create(place.path("here"), Env::system()).await;
        let cloud = cloud.unwrap();
        for (name, size) in DISKS {
            let server = NewServer::new(name).volume("data", size);
            cloud.add_server(server).await.unwrap();
        }
        for path in disks(&cloud).await.into_values() {
            let size = path.metadata().unwrap().len() as usize;
            fs::write(path, random.bytes(size)).unwrap();
        }
        let here = format!("local:{}", place.path("here").display());
        // The jobs' place must not depend on the options of an address.
        let jobs = format!("sqlite:{}", place.path("jobs.sqlite").display());
        let raksha = place
            .raksha
            .clone()
            .with("RAKSHA_CLOUD", here)
            .with("RAKSHA_JOBS", jobs);
        raksha.ok(&["job", "create", "nightly", "--server", "all"]);
        Self {
            place,
            raksha,
            cloud,
            random,
        }
    }

    /// Bytes of data packs that the log has.
    fn published(&self) -> u64 {
        let log = self.raksha.json(&["log"]);
        let entries = log.as_array().unwrap().iter();
        let packs = entries.filter_map(|entry| entry["action"]["packs"].as_array());
        packs
            .flatten()
            .filter(|pack| pack["role"] == "data")
            .map(|pack| pack["bytes"].as_u64().unwrap())
            .sum()
    }

    /// A run is killed after it published something; gives how much.
    fn killed_run(&self, address: &str) -> u64 {
        let limit = if address.contains('?') { '&' } else { '?' };
        let slow = format!("{address}{limit}bytes_per_second={SLOWLY}");
        let victim = self.raksha.clone().with("RAKSHA_TARGET", slow);
        let pause = Duration::from_millis(100);
        victim.killed(&["job", "run", "nightly"], pause, || self.published() > 0);
        let published = self.published();
        assert!(published < ALL, "it was killed too late");
        self.raksha.ok(&["reap", "--all"]);
        let points = self.raksha.json(&["points"]);
        assert_eq!(
            points,
            Value::Array(Vec::new()),
            "half a backup is no point"
        );
        published
    }

    /// Runs the job; gives the run's id and how many bytes were new.
    fn run(&self) -> (String, u64) {
        let id = self.raksha.ok(&["job", "run", "nightly"]);
        let run = self.raksha.json(&["run", "show", &id]);
        (id, run["counts"]["new_bytes"].as_u64().unwrap())
    }

    /// The servers write here and there.
    async fn write(&mut self) {
        for path in disks(&self.cloud).await.into_values() {
            let mut bytes = fs::read(&path).unwrap();
            for _ in 0..5 {
                let some = self.random.bytes(50_000);
                let at = self.random.below((bytes.len() - some.len()) as u64) as usize;
                bytes[at..at + some.len()].copy_from_slice(&some);
            }
            fs::write(&path, bytes).unwrap();
        }
    }

    async fn comes_back(&self, run: &str, expected: &Contents) {
        let there = self.place.path(&format!("there-{run}"));
        let cloud = LocalCloud::create(&there, Env::system()).await.unwrap();
        let into = format!("local:{}", there.display());
        self.raksha.ok(&["restore", run, "--into", &into]);
        assert!(
            contents(&cloud).await == *expected,
            "run {run} came back different"
        );
        fs::remove_dir_all(there).unwrap();
    }

    async fn tell(mut self, address: &str) {
        let before = self.killed_run(address);
        let (first, new) = self.run();
        println!(
            "{} MiB published before the kill, {} MiB new after",
            before / MIB,
            new / MIB
        );
        // Packs have directories and records have tags, some hundredths of their size.
        let together = before + new;
        assert!(
            together >= ALL,
            "{before} published + {new} new are less than there is"
        );
        assert!(
            together <= ALL + ALL / 50,
            "{before} published + {new} new: stored twice"
        );
        let as_first = contents(&self.cloud).await;

        self.write().await;
        let (second, new) = self.run();
        assert!(new < ALL / 4, "the second run stored {new} bytes");
        let as_second = contents(&self.cloud).await;

        fs::remove_dir_all(self.place.path("here")).unwrap();
        self.comes_back(&first, &as_first).await;
        self.raksha.ok(&["collect", "--fence-after", "0s"]);
        self.raksha.ok(&["verify"]);
        self.comes_back(&second, &as_second).await;
    }
}

/// The story in a service of the lab, with a catalog beside it where it needs one.
async fn in_service(service: Service, catalog: Option<(&str, Option<String>)>) {
    let site = service.site("story");
    let mut environment = site.environment.clone();
    if let Some((address, password)) = catalog {
        environment.push(("RAKSHA_CATALOG", address.to_owned()));
        environment.extend(password.map(|password| ("PGPASSWORD", password)));
    }
    told(&site, &environment).await;
}

async fn told(site: &Site, environment: &[(&'static str, String)]) {
    let story = Story::begin(Some(&site.address), environment).await;
    story.tell(&site.address).await;
    site.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directory() {
    let story = Story::begin(None, &[]).await;
    let target = format!("file://{}", story.place.path("target").display());
    story.tell(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_s3() {
    in_service(Service::RgwS3, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn light_s3() {
    in_service(Service::S3, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rados() {
    in_service(Service::Rados, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_with_a_catalog_in_postgresql() {
    let database = ready("POSTGRES");
    let (address, password) = (&database["RAKSHA_POSTGRES"], &database["PGPASSWORD"]);
    let catalog = Some((address.as_str(), Some(password.clone())));
    in_service(Service::Swift, catalog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_swift_with_a_catalog_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
    in_service(Service::RgwSwift, Some((&catalog, None))).await;
}
