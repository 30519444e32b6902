//! The `raksha` program killed at random moments of all that it does (backups, restores, collections, forgetting, key changes), on a network that
//! resets, stalls and cuts short what comes. Whatever was told to be done is there afterwards, byte for byte; whatever else remains is cleaned up.
//!
//! `RAKSHA_KILLS` says how many processes there are (30 unless set); `RAKSHA_SEED` repeats a choice of work and moments, as far as time repeats.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use raksha_tests::{Place, Program, Proxy, Random, Trouble, text};
use serde_json::Value;

const DISK: usize = 5 << 20;

/// What is asked of a process.
const WORK: [&str; 8] = [
    "backup", "backup", "backup", "restore", "collect", "forget", "key", "verify",
];

/// What came of it.
#[derive(Debug, PartialEq)]
enum Ended {
    Well(String),
    Failed(String),
    Killed,
}

struct Life {
    place: Place,
    proxy: Option<Proxy>,
    random: Random,
    disk: Vec<u8>,
    /// Points that were told, and what they hold.
    told: BTreeMap<String, Vec<u8>>,
    /// How long each kind of work took at the longest.
    longest: BTreeMap<&'static str, Duration>,
    counts: BTreeMap<String, u64>,
}

impl Life {
    fn begin(place: Place, proxy: Option<Proxy>, mut random: Random) -> Self {
        let disk = random.bytes(DISK);
        Self {
            place,
            proxy,
            random,
            disk,
            told: BTreeMap::new(),
            longest: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    fn raksha(&self) -> &Program {
        &self.place.raksha
    }

    /// The network gets better or worse.
    fn weather(&mut self) {
        let Some(proxy) = &self.proxy else { return };
        let troubles = [
            Trouble::Reset,
            Trouble::AnswerLost,
            Trouble::CutShort,
            Trouble::Stalled,
            Trouble::Damaged,
        ];
        let trouble = self.random.pick(&troubles).copied();
        let (trouble, one_in) = match (self.random.one_in(2), trouble) {
            // A stall takes seconds each time.
            (true, Some(Trouble::Stalled)) => (Some(Trouble::Stalled), 60),
            (true, trouble) => (trouble, 4 + self.random.below(20)),
            (false, _) => (None, 1),
        };
        proxy.trouble(trouble, one_in);
    }

    fn calm(&self) {
        if let Some(proxy) = &self.proxy {
            proxy.trouble(None, 1);
        }
    }

    /// Runs a process, and kills it at a moment of its life, mostly.
    fn run(&mut self, work: &'static str, arguments: &[&str]) -> Ended {
        let longest = self.longest.get(work).copied();
        let longest = longest.unwrap_or(Duration::from_millis(400));
        let micros = u64::try_from(longest.as_micros()).unwrap();
        let moment = Duration::from_micros(self.random.below(micros * 5 / 4 + 1));
        let lives = self.random.one_in(3);
        let mut command = self.raksha().command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        while !lives && began.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !lives {
            // It may have ended just now.
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let ended = match output.status.code() {
            Some(0) => Ended::Well(said),
            Some(1) => Ended::Failed(complaint),
            None => Ended::Killed,
            code => panic!("raksha {arguments:?} ends with {code:?}: {complaint}"),
        };
        if let Ended::Well(_) = ended {
            let took = self.longest.entry(work).or_default();
            *took = (*took).max(began.elapsed());
        }
        let how = match &ended {
            Ended::Well(_) => "done",
            Ended::Failed(_) => "failed",
            Ended::Killed => "killed",
        };
        *self.counts.entry(format!("{work} {how}")).or_default() += 1;
        if let Ended::Failed(why) = &ended {
            self.is_fair(work, why);
        }
        ended
    }

    /// Where the network is good, nothing fails.
    fn is_fair(&self, work: &str, why: &str) {
        // A key that could not be added cannot be removed.
        let fair = self.proxy.is_some() || work == "key";
        assert!(fair, "{work} failed for no reason that there is: {why}");
    }

    fn round(&mut self) {
        self.weather();
        let work = *self.random.pick(&WORK).unwrap();
        let some = self.told.len() as u64;
        let point = (some > 0).then(|| self.random.below(some) as usize);
        let point = point.and_then(|n| self.told.keys().nth(n).cloned());
        match (work, point) {
            ("restore", Some(point)) => {
                let out = self.place.path("restored");
                // One that was killed leaves its work under another name.
                let _ = fs::remove_file(&out);
                let arguments = ["disk", "restore", &point, &text(&out), "--force"];
                let ended = self.run("restore", &arguments);
                let whole = fs::read(&out).ok();
                if let Some(bytes) = &whole {
                    assert!(*bytes == self.told[&point], "a half restored disk");
                }
                assert!(whole.is_some() || !matches!(ended, Ended::Well(_)));
            }
            ("forget", Some(point)) if some > 3 => {
                // Whether it was forgotten is not known if it was killed.
                self.told.remove(&point);
                self.run("forget", &["forget", &point]);
            }
            ("collect", _) => drop(self.run("collect", &["collect", "--fence-after", "0s"])),
            ("verify", _) => drop(self.run("verify", &["verify"])),
            ("key", _) => {
                let name = format!("slot-{}", self.random.number());
                let key = self.place.file("other", &self.random.bytes(32));
                self.run("key", &["key", "add", &name, "--new-key-file", &key]);
                if self.random.one_in(2) {
                    self.run("key", &["key", "remove", &name]);
                }
            }
            _ => self.backup(),
        }
        self.calm();
        self.all_is_told();
    }

    fn backup(&mut self) {
        let length = 1 + self.random.below(1 << 20) as usize;
        let at = self.random.below((DISK - length) as u64) as usize;
        let bytes = self.random.bytes(length);
        self.disk[at..at + length].copy_from_slice(&bytes);
        let path = self.place.file("disk", &self.disk);
        if let Ended::Well(point) = self.run("backup", &["disk", "backup", &path, "--name", "d"]) {
            self.told.insert(point, self.disk.clone());
        }
    }

    /// What was told to be there is listed.
    fn all_is_told(&self) {
        let listed = self.raksha().json(&["points"]);
        let listed = listed.as_array().unwrap().iter();
        let listed: Vec<&str> = listed.filter_map(|p| p["id"].as_str()).collect();
        for point in self.told.keys() {
            assert!(listed.contains(&point.as_str()), "{point} is gone");
        }
    }

    fn end(&self) {
        self.calm();
        let raksha = self.raksha();
        for _ in 0..2 {
            raksha.ok(&["collect", "--fence-after", "0s"]);
        }
        raksha.ok(&["verify"]);
        raksha.ok(&["verify", "--keyless"]);
        let out = text(&self.place.path("out"));
        for (point, content) in &self.told {
            raksha.ok(&["disk", "restore", point, &out, "--force"]);
            assert!(fs::read(&out).unwrap() == *content, "{point} is different");
        }
        // Nothing stays that nobody needs.
        let listed = raksha.json(&["points"]);
        let ids = listed.as_array().unwrap().iter();
        let ids: Vec<&str> = ids.filter_map(|p| p["id"].as_str()).collect();
        if !ids.is_empty() {
            raksha.ok(&[&["forget"], &ids[..]].concat());
        }
        for _ in 0..2 {
            raksha.ok(&["collect", "--fence-after", "0s"]);
        }
        let stats: Value = raksha.json(&["stats"]);
        let left = (&stats["stats"]["packs"], &stats["stats"]["open_sessions"]);
        assert_eq!(left, (&Value::from(0), &Value::from(0)), "{stats}");
        println!(
            "random_kills: {} points; {:?}",
            self.told.len(),
            self.counts
        );
    }

    fn live(mut self) {
        let rounds = std::env::var("RAKSHA_KILLS").map_or(30, |n| n.parse().unwrap());
        for _ in 0..rounds {
            self.round();
        }
        self.end();
        let killed = self
            .counts
            .iter()
            .filter(|(how, _)| how.ends_with("killed"));
        assert!(
            killed.count() > 1,
            "hardly anything was killed: {:?}",
            self.counts
        );
    }
}

#[test]
fn in_a_directory() {
    let random = Random::announced("random_kills");
    Life::begin(Place::new(), None, random).live();
}

#[cfg(feature = "lab")]
mod lab {
    use raksha_tests::{Service, ready};

    use super::*;

    /// In a service, behind a proxy that does what networks do.
    async fn in_service(service: Service, catalog: &[(&'static str, String)]) {
        let mut random = Random::announced("random_kills");
        let mut site = service.site("kills");
        let direct = site.clone();
        let proxy = Proxy::in_front_of(&mut site, Random::new(random.number()));
        let environment = [&site.environment[..], catalog].concat();
        let address = site.address.clone();
        let lived = tokio::task::spawn_blocking(move || {
            let place = Place::on(Some(&address), &environment);
            Life::begin(place, Some(proxy), random).live();
        });
        lived.await.unwrap();
        direct.clear().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_the_rados_gateway() {
        in_service(Service::RgwS3, &[]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_swift_with_a_catalog_in_postgresql() {
        let database = ready("POSTGRES");
        let catalog = [
            ("RAKSHA_CATALOG", database["RAKSHA_POSTGRES"].clone()),
            ("PGPASSWORD", database["PGPASSWORD"].clone()),
        ];
        in_service(Service::Swift, &catalog).await;
    }
}
