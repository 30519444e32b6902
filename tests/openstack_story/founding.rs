//! Two runs of all three cases, everything lost, both runs back: as an operator and as a plain tenant.

use std::collections::BTreeMap;
use std::time::Duration;

use raksha_tests::wait;
use serde_json::Value;

use crate::story::{SERVERS, Story};

impl Story {
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

fn the_whole_story(options: &str) {
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
