//! Two machines' worth of processes on one repository: eight writers, a collector and a prober, killed at random. In the end, everything that was
//! committed comes back byte for byte.
//!
//! `RAKSHA_SOAK_SECONDS` says for how long (20 unless set); `RAKSHA_SEED` repeats a choice of kills and writes, though not their timing:
//!
//! ```text
//! RAKSHA_SOAK_SECONDS=600 cargo test -p raksha-tests --features lab --test soak rgw -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use raksha_tests::{Place, Program, Random, Service, ready, text};

const WRITERS: usize = 8;
const DISK: usize = 6 << 20;

/// What came of a process.
enum Ended {
    Well(String),
    Killed,
}

/// What is known of the points of the repository.
#[derive(Debug, Default)]
struct Known {
    /// Points whose writers were told, and the hash of what is in them.
    points: BTreeMap<String, blake3::Hash>,
    /// Points that somebody began to forget.
    forgotten: BTreeSet<String>,
    /// The hashes of all that a writer ever tried to store, by its name.
    tried: BTreeMap<String, BTreeSet<[u8; 32]>>,
}

#[derive(Debug, Default)]
struct Counts {
    backups: AtomicU64,
    killed: AtomicU64,
    collections: AtomicU64,
    forgets: AtomicU64,
    probes: AtomicU64,
}

struct Soak {
    place: Place,
    known: Mutex<Known>,
    counts: Counts,
    until: Instant,
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// A file's hash.
fn hash(path: &Path) -> blake3::Hash {
    blake3::hash(&fs::read(path).unwrap())
}

impl Soak {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// The program on one of two machines, which share nothing but the target.
    fn on_machine(&self, number: usize) -> Program {
        let home = self.place.path(&format!("machine{}", number % 2));
        fs::create_dir_all(&home).unwrap();
        let raksha = self.place.raksha.clone().at_home(&home);
        raksha
            .with("RAKSHA_MEMORY", "64M")
            .with("USER", format!("machine{}", number % 2))
    }

    /// Runs a process to its end, or kills it after a while. What ends badly by itself is a failure, unless `excuse` says why it may.
    fn run(
        &self,
        raksha: &Program,
        arguments: &[&str],
        killed_after: Option<Duration>,
        excuse: impl Fn() -> bool,
    ) -> Ended {
        let mut command: Command = raksha.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child: Child = command.spawn().unwrap();
        if let Some(after) = killed_after {
            thread::sleep(after);
            // It may have ended already: then this does nothing.
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => Ended::Well(
                String::from_utf8(output.stdout)
                    .unwrap()
                    .trim_end()
                    .to_owned(),
            ),
            None => {
                count(&self.counts.killed);
                Ended::Killed
            }
            Some(code) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(excuse(), "raksha {arguments:?} ended with {code}: {said}");
                Ended::Killed
            }
        }
    }

    /// Changes a disk and backs it up, again and again.
    fn write(&self, number: usize, mut random: Random) {
        let raksha = self.on_machine(number);
        let name = format!("writer{number}");
        let disk = self.place.path(&format!("{name}.raw"));
        let mut bytes = random.bytes(DISK);
        while self.goes_on() {
            let length = random.below(2 << 20) as usize + 1;
            let at = random.below((DISK - length) as u64) as usize;
            bytes[at..at + length].copy_from_slice(&random.bytes(length));
            fs::write(&disk, &bytes).unwrap();
            let hash = blake3::hash(&bytes);
            {
                let mut known = self.known();
                let tried = known.tried.entry(name.clone()).or_default();
                tried.insert(*hash.as_bytes());
            }
            let patience = Duration::from_millis(random.below(4000));
            let killed = random.one_in(3).then_some(patience);
            let backup = [
                "disk",
                "backup",
                &text(&disk),
                "--name",
                &name,
                "--quiet",
                "--json",
            ];
            if let Ended::Well(out) = self.run(&raksha, &backup, killed, || false) {
                let told: serde_json::Value = serde_json::from_str(&out).unwrap();
                let point = told["point"].as_str().unwrap().to_owned();
                self.known().points.insert(point, hash);
                count(&self.counts.backups);
            }
        }
    }

    /// Forgets points and frees space, again and again. Writers that are silent for a while are fenced off, alive or not.
    fn collect(&self, mut random: Random) {
        let raksha = self.on_machine(0);
        while self.goes_on() {
            let points: Vec<String> = self.known().points.keys().cloned().collect();
            if points.len() > 12
                && let Some(point) = random.pick(&points)
            {
                {
                    let mut known = self.known();
                    known.forgotten.insert(point.clone());
                    known.points.remove(point);
                }
                if let Ended::Well(_) = self.run(&raksha, &["forget", point], None, || false) {
                    count(&self.counts.forgets);
                }
            }
            let killed = random
                .one_in(3)
                .then(|| Duration::from_millis(random.below(3000)));
            let collect = ["collect", "--fence-after", "15s", "--rewrite-below", "0.8"];
            if let Ended::Well(_) = self.run(&raksha, &collect, killed, || false) {
                count(&self.counts.collections);
            }
        }
    }

    /// Restores points and compares them, again and again. Only of a point that was forgotten meanwhile may a restore fail.
    fn probe(&self, mut random: Random) {
        let raksha = self.on_machine(1);
        let out = self.place.path("probed.raw");
        while self.goes_on() {
            let points: Vec<(String, blake3::Hash)> = self
                .known()
                .points
                .iter()
                .map(|(p, h)| (p.clone(), *h))
                .collect();
            let Some((point, expected)) = random.pick(&points) else {
                thread::sleep(Duration::from_millis(200));
                continue;
            };
            let killed = random
                .one_in(4)
                .then(|| Duration::from_millis(random.below(2000)));
            let restore = ["disk", "restore", point, &text(&out), "--force"];
            let forgotten = || self.known().forgotten.contains(point);
            if let Ended::Well(_) = self.run(&raksha, &restore, killed, forgotten)
                && out.exists()
            {
                assert!(hash(&out) == *expected, "point {point} came back different");
                count(&self.counts.probes);
            }
            for left in [
                out.clone(),
                PathBuf::from(format!("{}.partial", out.display())),
            ] {
                let _ = fs::remove_file(left);
            }
        }
    }

    /// All that was committed is there and comes back, and nothing is damaged.
    fn is_whole(&self) {
        let raksha = self.on_machine(0);
        raksha.ok(&["collect", "--fence-after", "0s"]);
        raksha.ok(&["verify"]);
        let listed = raksha.json(&["points"]);
        let known = self.known();
        let mut ids = BTreeSet::new();
        let out = self.place.path("last.raw");
        for point in listed.as_array().unwrap() {
            let id = point["id"].as_str().unwrap();
            raksha.ok(&["disk", "restore", id, &text(&out), "--force"]);
            let hash = hash(&out);
            match known.points.get(id) {
                Some(expected) => assert!(hash == *expected, "point {id} came back different"),
                // Its writer was killed before it was told: it is one of the states that it meant to store.
                None => {
                    let name = point["summary"]["name"].as_str().unwrap();
                    let one = known.tried[name].contains(hash.as_bytes());
                    assert!(one, "point {id} of {name} is nothing that was ever stored");
                }
            }
            ids.insert(id.to_owned());
        }
        for id in known.points.keys() {
            assert!(ids.contains(id), "point {id} was committed and is gone");
        }
        for id in &known.forgotten {
            assert!(!ids.contains(id), "point {id} was forgotten and is there");
        }
        println!("{} points are whole; {:?}", ids.len(), self.counts);
    }
}

async fn soak(service: Service, catalog: &[(&'static str, String)]) {
    let site = service.site("soak");
    let environment = [site.environment.as_slice(), catalog].concat();
    let seconds = std::env::var("RAKSHA_SOAK_SECONDS").map_or(20, |s| s.parse().unwrap());
    let mut random = Random::announced("soak");
    let soak = Soak {
        place: Place::on(Some(&site.address), &environment),
        known: Mutex::default(),
        counts: Counts::default(),
        until: Instant::now() + Duration::from_secs(seconds),
    };
    thread::scope(|scope| {
        let soak = &soak;
        for number in 0..WRITERS {
            let random = Random::new(random.number());
            scope.spawn(move || soak.write(number, random));
        }
        let (collector, prober) = (Random::new(random.number()), Random::new(random.number()));
        scope.spawn(move || soak.collect(collector));
        scope.spawn(move || soak.probe(prober));
    });
    soak.is_whole();
    site.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_s3() {
    soak(Service::RgwS3, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rados() {
    soak(Service::Rados, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_with_a_catalog_in_postgresql() {
    let database = ready("POSTGRES");
    let catalog = [
        ("RAKSHA_CATALOG", database["RAKSHA_POSTGRES"].clone()),
        ("PGPASSWORD", database["PGPASSWORD"].clone()),
    ];
    soak(Service::Swift, &catalog).await;
}
