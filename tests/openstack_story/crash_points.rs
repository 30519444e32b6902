//! Where a run or a restore can die in a real cloud: at each request that changes something there, before the cloud has done it and after. Cleaning up
//! leaves the cloud as it was. The points are printed.

use raksha_tests::{Gateway, Hangs, Lab, Points, die_at, points};
use serde_json::Value;

use crate::story::Story;

/// Where the server is restored to.
const OTHER: &str = "raksha-other";

/// A cloud of the lab, reached through a gateway.
struct Site {
    lab: Lab,
    cloud: String,
    gateway: Gateway,
}

impl Hangs for Site {
    type State = Value;

    fn state(&self) -> Value {
        self.lab.inventory(&self.cloud)["ids"].clone()
    }

    fn difference(&self, before: &Value) -> Vec<String> {
        let now = self.state();
        let ids = |of: &Value, kind: &str| -> Vec<String> {
            let listed = of[kind].as_array().into_iter().flatten();
            listed.map(|id| id.as_str().unwrap().to_owned()).collect()
        };
        let only = |kind: &str, here: &Value, there: &Value, sign: char| -> Vec<String> {
            let there = ids(there, kind);
            let mut here = ids(here, kind);
            here.retain(|id| !there.contains(id));
            here.iter()
                .map(|id| format!("{sign} {kind} {id}"))
                .collect()
        };
        let kinds = now.as_object().unwrap().keys();
        let lines = kinds.flat_map(|kind| {
            let more = only(kind, &now, before, '+');
            more.into_iter().chain(only(kind, before, &now, '-'))
        });
        lines.collect()
    }

    fn changes(&self) -> Points {
        self.gateway.changes()
    }

    fn forget(&self) {
        self.gateway.forget();
    }

    fn hang(&self, pattern: &str, after: u32, done: bool) {
        self.gateway.hang(pattern, after, done);
    }

    fn hangs(&self) -> bool {
        self.gateway.hangs()
    }
}

/// A cloud reached through a gateway, and the file that says so.
fn site(story: &Story, cloud: &str) -> (Site, String) {
    let (gateway, clouds) = Gateway::before(&story.lab, cloud);
    let file = format!("{cloud}-through-a-gateway.yaml");
    let clouds = story.place.file(&file, clouds.as_bytes());
    let site = Site {
        lab: story.lab.clone(),
        cloud: cloud.to_owned(),
        gateway,
    };
    (site, clouds)
}

/// As a plain tenant, by whose road most is changed.
#[test]
fn a_run_that_dies_at_any_change_leaves_the_cloud_as_it_was() {
    let story = Story::begin("");
    let (cloud, clouds) = site(&story, &story.cloud);
    let raksha = story.place.raksha.clone();
    let raksha = raksha.with("OS_CLIENT_CONFIG_FILE", clouds);
    // A server with an image and a volume, and one that was booted from a volume.
    let servers = ["--server", "case1", "--server", "case3a"];
    let job = raksha.ok(&[&["job", "create", "dies"], &servers[..]].concat());
    let run = ["job", "run", &job];
    raksha.ok(&run);
    let before = cloud.state();
    let points = points(&cloud, &raksha, &run);
    let left = cloud.difference(&before);
    assert!(left.is_empty(), "a run that nothing happens to: {left:#?}");
    die_at(&points, &cloud, &raksha, &run);
    raksha.ok(&run);
    raksha.ok(&["verify", "--keyless"]);
}

#[test]
fn a_restore_that_dies_at_any_change_leaves_the_cloud_as_it_was() {
    let story = Story::begin("?ceph_user=openstack");
    let raksha = &story.place.raksha;
    raksha.ok(&["job", "create", "dies", "--server", "case3a"]);
    let run = raksha.ok(&["job", "run", "dies"]);
    // Into a project that has nothing of it.
    let (cloud, clouds) = site(&story, OTHER);
    let into = story
        .raksha_of(OTHER, "?ceph_user=openstack")
        .with("RAKSHA_PROJECT", story.project())
        .with("OS_CLIENT_CONFIG_FILE", clouds);
    let restore = ["restore", &run];
    let before = story.lab.inventory(OTHER);
    let lose = || {
        let delete = ["server", "delete", "--wait", "case3a"];
        story.lab.openstack(OTHER, &delete);
        story.lab.remove_since(OTHER, &before);
    };
    let points = points(&cloud, &into, &restore);
    lose();
    die_at(&points, &cloud, &into, &restore);
    into.ok(&restore);
    lose();
}
