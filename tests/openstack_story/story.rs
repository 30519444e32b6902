//! The cases in their cloud, and what can be done with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raksha_tests::{Lab, Line, Place, Program, text, wait};
use serde_json::Value;

/// There is one cloud for all tests.
static CLOUD: Mutex<()> = Mutex::new(());

pub(crate) const SERVERS: [&str; 4] = ["case1", "case2", "case3a", "case3b"];

/// Where the root file system begins on a guest's first disk, and how long it is (`tests/lab/guest-image.sh`).
const ROOT: (u64, u64) = (25 << 20, 134 << 20);

pub(crate) struct Story {
    pub(crate) lab: Lab,
    /// The cloud in clouds.yaml in whose project the cases are.
    pub(crate) cloud: String,
    pub(crate) place: Place,
    _alone: MutexGuard<'static, ()>,
}

impl Story {
    /// The three cases are up and write; a repository is there, and `raksha` works in their cloud with these options.
    pub(crate) fn begin(options: &str) -> Self {
        let alone = CLOUD.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::find();
        let cloud = std::env::var("RAKSHA_CASES").unwrap_or_else(|_| "raksha-demo".to_owned());
        lab.script("openstack-cases.sh", &[]);
        let mut place = Place::new();
        place.raksha = (place.raksha)
            .with("RAKSHA_CLOUD", format!("openstack:{cloud}{options}"))
            .with("OS_CLIENT_CONFIG_FILE", lab.clouds());
        let story = Self {
            lab,
            cloud,
            place,
            _alone: alone,
        };
        // Of earlier tests that failed.
        story.lose_snapshots();
        for server in SERVERS {
            story.writes(server);
        }
        story
    }

    pub(crate) fn id(&self, server: &str) -> String {
        let shown = ["server", "show", server, "-f", "value", "-c", "id"];
        self.lab.openstack(&self.cloud, &shown).trim().to_owned()
    }

    /// The id of the project in which the cases are.
    pub(crate) fn project(&self) -> String {
        let issue = ["token", "issue", "-f", "value", "-c", "project_id"];
        self.lab.openstack(&self.cloud, &issue).trim().to_owned()
    }

    /// `raksha` at the same repository, in another cloud of clouds.yaml, with these options.
    pub(crate) fn raksha_of(&self, cloud: &str, options: &str) -> Program {
        let raksha = self.place.raksha.clone();
        raksha.with("RAKSHA_CLOUD", format!("openstack:{cloud}{options}"))
    }

    /// Waits until a guest has written three more lines; gives the last.
    pub(crate) fn writes(&self, server: &str) -> Line {
        let id = self.id(server);
        self.lab
            .console_shows(&self.cloud, server, &["raksha-guest: up"]);
        self.lab.agent_answers(&id);
        let last = || {
            let tail = self.lab.inside(&id, "tail -n 1 /journal.txt");
            raksha_tests::lines(&tail).pop()
        };
        let what = format!("{server} to write");
        let began = wait(&what, Duration::from_secs(300), last);
        wait(&what, Duration::from_secs(300), || {
            last().filter(|line| line.0 >= began.0 + 3 || line.1 < began.1)
        })
    }

    pub(crate) fn run(&self, job: &str) -> Value {
        let report = self.place.raksha.json(&["job", "run", job]);
        println!("{}: {}", report["run"], report["counts"]);
        println!("{}", report["ledger"]);
        let warnings = report["warnings"].as_array().unwrap();
        // What a tenant may not see is said, and is no fault.
        let faults: Vec<&Value> = warnings
            .iter()
            .filter(|w| w["warning"] != "omitted")
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        report
    }

    /// Deletes what snapshots there are.
    pub(crate) fn lose_snapshots(&self) {
        let listed = || {
            let list = ["volume", "snapshot", "list", "-f", "value", "-c", "ID"];
            self.lab.openstack(&self.cloud, &list)
        };
        let listed_first = listed();
        let mut delete = vec!["volume", "snapshot", "delete"];
        delete.extend(listed_first.split_whitespace());
        if delete.len() > 3 {
            self.lab.openstack(&self.cloud, &delete);
        }
        wait("the snapshots to go", Duration::from_secs(300), || {
            listed().trim().is_empty().then_some(())
        });
    }

    /// The journals of a server's disks in the point of a run, in the order in which the guest writes them.
    pub(crate) fn journals(&self, report: &Value, server: &str) -> Vec<Vec<Line>> {
        let point = report["point"].as_str().unwrap();
        let shown = self.place.raksha.json(&["point", point]);
        let servers = shown["graph"]["servers"].as_array().unwrap();
        let found = servers.iter().find(|s| s["name"] == server).unwrap();
        let attachments = found["attachments"].as_array().unwrap();
        let copies = attachments.iter().enumerate().map(|(n, attachment)| {
            let disk = match &attachment["source"]["volume"] {
                Value::String(volume) => format!("volume:{volume}"),
                _ => format!("server:{}/root", found["id"].as_str().unwrap()),
            };
            let copy = self.place.path(&format!("{server}-{n}"));
            let path = text(&copy);
            self.place
                .raksha
                .ok(&["disk", "restore", point, &path, "--disk", &disk, "--force"]);
            if n == 0 { cut_out(&copy, ROOT) } else { copy }
        });
        copies.map(|copy| self.lab.journal(&copy)).collect()
    }

    /// Checks that ledger and data agree; gives the last number that each server had written.
    pub(crate) fn one_instant(&self, report: &Value) -> BTreeMap<&'static str, u64> {
        SERVERS
            .iter()
            .map(|server| {
                let journals = self.journals(report, server);
                let last: Vec<u64> = journals
                    .iter()
                    .map(|lines| lines.last().unwrap().0)
                    .collect();
                println!("{server}: the last numbers on its disks are {last:?}");
                let steps = last.windows(2).all(|pair| pair[0] >= pair[1]);
                assert!(
                    steps && last[0] - last[last.len() - 1] <= 1,
                    "{server} is not of one instant: {last:?}"
                );
                (*server, last[0])
            })
            .collect()
    }
}

/// A part of a file, in a file of its own.
fn cut_out(disk: &Path, (from, length): (u64, u64)) -> PathBuf {
    let mut whole = File::open(disk).unwrap();
    whole.seek(SeekFrom::Start(from)).unwrap();
    let part = disk.with_extension("root");
    let mut bytes = Vec::new();
    whole.take(length).read_to_end(&mut bytes).unwrap();
    fs::write(&part, bytes).unwrap();
    part
}
