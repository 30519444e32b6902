//! Where a run or a restore can die in a cloud: at each request that changes something there, before the cloud has done it and after. Cleaning up leaves
//! the cloud as it was. The points are printed.
//!
//! The cloud is the test cloud of `raksha-openstack`, in this process; the program is killed with SIGKILL while it waits for the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raksha_openstack::testkit::{Case, DevCloud, Inventory, Options, Pace, Trouble};
use raksha_tests::{Place, Program};

/// A cloud with servers of two kinds, and the program.
async fn site() -> (DevCloud, Place) {
    let mut options = Options::default();
    options.pace = Pace::all(Duration::from_millis(2));
    let cloud = DevCloud::start(options).await.unwrap();
    cloud.seed("demo", Case::LocalDisk).unwrap();
    cloud.seed("demo", Case::BootedFromVolume).unwrap();
    cloud.settle();
    let mut place = Place::new();
    let clouds = place.file("clouds.yaml", cloud.clouds_yaml().as_bytes());
    place.raksha = (place.raksha)
        .with("OS_CLIENT_CONFIG_FILE", clouds)
        .with("RAKSHA_PROJECT", "demo")
        .with("RAKSHA_CLOUD", "openstack:devcloud-demo");
    (cloud, place)
}

/// The requests that changed something, as patterns of requests that are alike, with how many there were of each.
fn changes(cloud: &DevCloud) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for request in cloud.requests() {
        let path = request.path.split('?').next().unwrap();
        if request.method == "GET" || path.ends_with("/auth/tokens") {
            continue;
        }
        // Ids are what has digits, but for the versions of APIs.
        let segments = path.split('/').map(|segment| {
            let version = segment.len() < 5 && segment.starts_with('v');
            match !version && segment.contains(|c: char| c.is_ascii_digit()) {
                true => "*",
                false => segment,
            }
        });
        let mut pattern = format!(
            "{} {}",
            request.method,
            segments.collect::<Vec<_>>().join("/")
        );
        if let Some(action) = request.action.filter(|_| path.ends_with("/action")) {
            pattern += &format!("#{action}");
        }
        *found.entry(pattern).or_default() += 1;
    }
    found
}

/// What a call that nothing happens to changes in the cloud.
fn points(cloud: &DevCloud, raksha: &Program, call: &[&str]) -> BTreeMap<String, u32> {
    cloud.forget_requests();
    raksha.ok(call);
    cloud.settle();
    let found = changes(cloud);
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// What is there more or less than before. The default security group is not: Neutron gives it to a project that is first seen, and nobody can delete it.
fn difference(before: &Inventory, cloud: &DevCloud) -> Vec<String> {
    let mut lines = before.difference(&cloud.state());
    lines.retain(|line| !(line.contains("security_group") && line.ends_with(" default")));
    lines
}

/// Lets `call` die at each of these points in turn. Nothing may be left in the cloud that was not there before.
fn die_at(points: &BTreeMap<String, u32>, cloud: &DevCloud, raksha: &Program, call: &[&str]) {
    let before = cloud.state();
    for (pattern, times) in points {
        // Of many that are alike the first, one in the middle and the last.
        let chosen = BTreeSet::from([0, times / 2, times - 1]).into_iter();
        for (at, done) in chosen.flat_map(|at| [(at, false), (at, true)]) {
            let what = format!("{pattern}, {} of {times}, done: {done}", at + 1);
            cloud.faults().clear();
            cloud.forget_requests();
            let trouble = Trouble::Hangs { done };
            cloud.faults().once_after(pattern, at, trouble).unwrap();
            let hangs = || cloud.requests().iter().any(|request| request.status == 0);
            raksha.killed(call, Duration::from_millis(2), hangs);
            cloud.settle();
            let had = difference(&before, cloud).len();
            raksha.ok(&["reap", "--all"]);
            cloud.settle();
            let left = difference(&before, cloud);
            println!("{what}: {had} things too many, then {}", left.len());
            assert!(left.is_empty(), "{what}: {left:#?}");
        }
    }
    cloud.faults().clear();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_at_any_change_leaves_the_cloud_as_it_was() {
    let (cloud, place) = site().await;
    let raksha = &place.raksha;
    let job = raksha.ok(&["job", "create", "all", "--server", "all"]);
    let run = ["job", "run", &job];
    // What is stored is stored: the runs that are to die have little to do but for the cloud.
    raksha.ok(&run);
    let before = cloud.state();
    let points = points(&cloud, raksha, &run);
    let left = difference(&before, &cloud);
    assert!(left.is_empty(), "a run that nothing happens to: {left:#?}");
    die_at(&points, &cloud, raksha, &run);
    raksha.ok(&run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_dies_at_any_change_leaves_the_cloud_as_it_was() {
    // What a restore does is seen in one cloud; in another one, which is the same, it dies.
    let mut seen = None;
    for dies in [false, true] {
        let (cloud, place) = site().await;
        let raksha = &place.raksha;
        raksha.ok(&["job", "create", "all", "--server", "all"]);
        let run = raksha.ok(&["job", "run", "all"]);
        // Into a project that has nothing.
        let raksha = raksha.clone();
        let raksha = raksha.with("RAKSHA_CLOUD", "openstack:devcloud-other");
        let restore = ["restore", &run];
        match (&seen, dies) {
            (Some(seen), true) => die_at(seen, &cloud, &raksha, &restore),
            _ => seen = Some(points(&cloud, &raksha, &restore)),
        }
        if dies {
            raksha.ok(&restore);
        }
    }
}
