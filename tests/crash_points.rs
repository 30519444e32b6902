//! Where a run or a restore can die in a cloud: at each request that changes something there, before the cloud has done it and after. Cleaning up leaves
//! the cloud as it was. The points are printed.
//!
//! The cloud is the test cloud of `raksha-openstack`, in this process; a real one is in `openstack_story`.

use std::time::Duration;

use raksha_openstack::testkit::{Case, DevCloud, Inventory, Options, Pace, Trouble};
use raksha_tests::{Hangs, Place, Points, alike, die_at, points};

struct Site(DevCloud);

impl Hangs for Site {
    type State = Inventory;

    fn state(&self) -> Inventory {
        self.0.settle();
        self.0.state()
    }

    /// The default security group does not count: Neutron gives it to a project that is first seen, and nobody can delete it.
    fn difference(&self, before: &Inventory) -> Vec<String> {
        let mut lines = before.difference(&self.state());
        lines.retain(|line| !(line.contains("security_group") && line.ends_with(" default")));
        lines
    }

    fn changes(&self) -> Points {
        let mut found = Points::new();
        for request in self.0.requests() {
            let action = request.action.as_deref();
            if let Some(pattern) = alike(&request.method, &request.path, action) {
                *found.entry(pattern).or_default() += 1;
            }
        }
        found
    }

    fn forget(&self) {
        self.0.faults().clear();
        self.0.forget_requests();
    }

    fn hang(&self, pattern: &str, after: u32, done: bool) {
        let trouble = Trouble::Hangs { done };
        self.0.faults().once_after(pattern, after, trouble).unwrap();
    }

    fn hangs(&self) -> bool {
        self.0.requests().iter().any(|request| request.status == 0)
    }
}

/// A cloud with servers of two kinds, and the program.
async fn site() -> (Site, Place) {
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
    (Site(cloud), place)
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
    let left = cloud.difference(&before);
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
