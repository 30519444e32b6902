//! The founding workflow on a real OpenStack cloud: servers that keep writing are backed up twice, lost, and both runs come back.
//!
//! The guests number what they write, round all their disks (`tests/lab/guest/raksha-writer`), so a point whose ledger claims one
//! instant must show the same last number on all disks of a server, and a restored guest must go on counting from it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use raksha_tests::{Lab, Line, Place, text, wait};
use serde_json::Value;

/// There is one cloud for all tests.
static CLOUD: Mutex<()> = Mutex::new(());

const SERVERS: [&str; 4] = ["case1", "case2", "case3a", "case3b"];

/// Where the root file system begins on a guest's first disk, and how long it is (`tests/lab/guest-image.sh`).
const ROOT: (u64, u64) = (25 << 20, 134 << 20);

struct Story {
    lab: Lab,
    /// The cloud in clouds.yaml in whose project the cases are.
    cloud: String,
    place: Place,
}

impl Story {
    /// The three cases are up and write; a repository is there, and `raksha` works in their cloud with these options.
    fn begin(options: &str) -> Self {
        let lab = Lab::find();
        let cloud = std::env::var("RAKSHA_CASES").unwrap_or_else(|_| "raksha-demo".to_owned());
        lab.script("openstack-cases.sh", &[]);
        let mut place = Place::new();
        place.raksha = (place.raksha)
            .with("RAKSHA_CLOUD", format!("openstack:{cloud}{options}"))
            .with("OS_CLIENT_CONFIG_FILE", lab.clouds());
        let story = Self { lab, cloud, place };
        // Of earlier tests that failed.
        story.lose_snapshots();
        for server in SERVERS {
            story.writes(server);
        }
        story
    }

    fn id(&self, server: &str) -> String {
        let shown = ["server", "show", server, "-f", "value", "-c", "id"];
        self.lab.openstack(&self.cloud, &shown).trim().to_owned()
    }

    /// Waits until a guest has written three more lines; gives the last.
    fn writes(&self, server: &str) -> Line {
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

    fn run(&self, job: &str) -> Value {
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
    fn lose_snapshots(&self) {
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

    /// Loses every server, volume, network, router and security group of the cases, and what snapshots there are.
    fn lose_everything(&self) {
        self.lose_snapshots();
        self.lab.script("openstack-cases.sh", &["delete"]);
        wait("everything to go", Duration::from_secs(300), || {
            let left = self.lab.inventory(&self.cloud);
            ["server", "volume", "network"]
                .iter()
                .all(|kind| left["ids"][kind] == Value::Array(vec![]))
                .then_some(())
        });
    }

    /// The journals of a server's disks in the point of a run, in the order in which the guest writes them.
    fn journals(&self, report: &Value, server: &str) -> Vec<Vec<Line>> {
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
    fn one_instant(&self, report: &Value) -> BTreeMap<&'static str, u64> {
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

    /// Restores a run and checks that everything is as it was.
    fn restore(&self, report: &Value, shape: &Value, numbers: &BTreeMap<&str, u64>) {
        let run = report["run"].as_str().unwrap();
        println!("{}", self.place.raksha.ok(&["restore", run, "--plan"]));
        self.place.raksha.ok(&["restore", run]);
        assert_same(&self.lab.inventory(&self.cloud)["shape"], shape);
        for server in SERVERS {
            let (number, _) = self.writes(server);
            assert!(
                number > numbers[server],
                "{server} goes on from {number}, but had written {}",
                numbers[server]
            );
        }
        let to = shape["servers"]["case3b"]["ports"][0]["addresses"][0]
            .as_str()
            .unwrap();
        let heard = self
            .lab
            .inside(&self.id("case3a"), &format!("ping -c 3 -W 20 {to}"));
        assert!(
            heard.contains(" 0% packet loss") || heard.contains("bytes from"),
            "case3a does not reach case3b: {heard}"
        );
    }
}

/// Compares, naming what differs. Which floating IP a tenant gets is for the cloud to say: there must be as many as there were.
fn assert_same(now: &Value, then: &Value) {
    let counted = |inventory: &Value| {
        let mut servers = inventory["servers"].clone();
        for server in servers.as_object_mut().unwrap().values_mut() {
            for port in server["ports"].as_array_mut().unwrap() {
                port["floating"] = port["floating"].as_array().unwrap().len().into();
            }
        }
        servers
    };
    assert_eq!(counted(now), counted(then), "servers");
    for part in ["networks", "routers"] {
        assert_eq!(now[part], then[part], "{part}");
    }
    assert_eq!(
        now["security groups"]["lab"],
        then["security groups"]["lab"]
    );
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

fn the_whole_story(options: &str) {
    let _alone = CLOUD.lock().unwrap_or_else(PoisonError::into_inner);
    let story = Story::begin(options);
    let before = story.lab.inventory(&story.cloud);
    let mut create = vec![
        "job",
        "create",
        "founding",
        "--consistency",
        "crash-across-disks",
    ];
    create.extend(SERVERS.iter().flat_map(|server| ["--server", server]));
    let job = story.place.raksha.ok(&create);

    let first = story.run(&job);
    for server in SERVERS {
        story.writes(server);
    }
    let second = story.run(&job);
    let after = story.lab.inventory(&story.cloud);
    for kind in before["ids"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|kind| *kind != "volume snapshot")
    {
        assert_eq!(
            after["ids"][kind], before["ids"][kind],
            "what the runs left behind"
        );
    }
    let anchors = after["ids"]["volume snapshot"].as_array().unwrap().len();
    let volumes = before["ids"]["volume"].as_array().unwrap().len();
    assert!(
        anchors <= volumes,
        "{anchors} snapshots of {volumes} volumes stay behind"
    );

    let numbers = [story.one_instant(&first), story.one_instant(&second)];
    for server in SERVERS {
        assert!(
            numbers[0][server] < numbers[1][server],
            "{server} wrote between the runs"
        );
        let id = story.id(server);
        let lines = raksha_tests::lines(&story.lab.inside(&id, "cat /journal.txt"));
        // From the first run's snapshot on: the end of that and the whole of the second.
        let stall = lines
            .windows(2)
            .filter(|pair| pair[0].0 >= numbers[0][server])
            .map(|pair| pair[1].1 - pair[0].1)
            .fold(0.0, f64::max);
        println!("{server}: its longest pause between two writes was {stall:.2} s");
    }
    for (report, numbers) in [(&first, &numbers[0]), (&second, &numbers[1])] {
        story.lose_everything();
        story.restore(report, &before["shape"], numbers);
    }
    story.place.raksha.ok(&["verify"]);
}

// case1 is on a local disk with a volume beside it: only standing still brings both to one instant.
#[test]
fn an_operator_brings_all_three_cases_back() {
    the_whole_story("?ceph_user=openstack&pause=true");
}

#[test]
fn a_plain_tenant_brings_all_three_cases_back() {
    the_whole_story("?pause=true");
}
