//! `raksha`, killed in the middle of what it does in an OpenStack cloud: cleaning up leaves the cloud as it was, and the next try succeeds.
//!
//! The cloud is the test cloud of `raksha-openstack`, in this process; what is killed is the program.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use raksha_core::store::{JobStore, RestoreOutcome, RestoreState};
use raksha_openstack::testkit::{Case, DevCloud, Inventory, Kind, Options, Pace};
use raksha_targets::SqlJobs;
use raksha_tests::{Place, Random};

/// So many times each is killed.
const KILLS: u32 = 20;

const SERVERS: [&str; 4] = ["case1", "case2", "case3a", "case3b"];

struct World {
    /// Where the servers are.
    home: DevCloud,
    /// Where they are restored to.
    away: DevCloud,
    place: Place,
    random: Random,
}

impl World {
    async fn new(name: &str) -> Self {
        let start = || {
            let mut options = Options::default();
            // Slow enough for a kill to hit what is under way.
            options.pace = Pace::all(Duration::from_millis(60));
            DevCloud::start(options)
        };
        let (home, away) = (start().await.unwrap(), start().await.unwrap());
        for case in [
            Case::LocalDisk,
            Case::BootedFromVolume,
            Case::TwoOnOneNetwork,
        ] {
            home.seed("demo", case).unwrap();
        }
        home.settle();
        let mut place = Place::new();
        let clouds = home.clouds_yaml()
            + &away
                .clouds_yaml()
                .replace("clouds:\n", "")
                .replace("devcloud-", "away-");
        let clouds = place.file("clouds.yaml", clouds.as_bytes());
        place.raksha = (place.raksha)
            .with("OS_CLIENT_CONFIG_FILE", clouds)
            .with("RAKSHA_PROJECT", "demo");
        let world = Self {
            home,
            away,
            place,
            random: Random::announced(name),
        };
        world.write();
        let mut create = vec!["job", "create", "all"];
        create.extend(SERVERS.iter().flat_map(|server| ["--server", server]));
        world.raksha("devcloud-demo", &create);
        world
    }

    /// The guests write.
    fn write(&self) {
        for server in SERVERS {
            let id = self.home.id_of(Kind::Server, server).unwrap();
            self.home.write_records(&id).unwrap();
        }
    }

    fn raksha(&self, cloud: &str, arguments: &[&str]) -> String {
        let address = format!("openstack:{cloud}");
        let all = [arguments, &["--quiet", "--cloud", &address]].concat();
        self.place.raksha.ok(&all)
    }

    /// Starts a call and kills it after a while; gives whether it was still at work.
    fn kill(&self, cloud: &str, arguments: &[&str], after: Duration) -> bool {
        let address = format!("openstack:{cloud}");
        let all = [arguments, &["--quiet", "--cloud", &address]].concat();
        let mut command = self.place.raksha.command(&all);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        let ended = child.try_wait().unwrap();
        // SIGKILL: nothing of the process runs after it.
        let _ = child.kill();
        child.wait().unwrap();
        ended.is_none()
    }

    /// Kills a call at moments spread over the time that it takes, cleans up, and compares the cloud with what it was. Ends early, and says so,
    /// when a restore had succeeded before it was killed: what it brought back is its owner's.
    async fn kill_and_clean_up(
        &mut self,
        cloud: &str,
        arguments: &[&str],
        takes: Duration,
        state: impl Fn(&Self) -> Inventory,
    ) -> bool {
        let (mut hit, mut done) = (0, false);
        let restored = self.restored().await;
        for turn in 0..KILLS {
            self.write();
            let before = state(self);
            let part = takes.mul_f64(f64::from(turn) / f64::from(KILLS));
            let jitter = takes.mul_f64(self.random.below(1000) as f64 / 1000.0 / f64::from(KILLS));
            hit += u32::from(self.kill(cloud, arguments, part + jitter));
            let under_way = before.difference(&state(self));
            self.raksha(cloud, &["reap", "--all"]);
            let left = before.difference(&state(self));
            done = self.restored().await > restored;
            if done {
                break;
            }
            assert!(
                left.is_empty(),
                "killed after {:?} with {under_way:?} in the cloud, it left {left:?}",
                part + jitter
            );
        }
        println!("{hit} of {KILLS} calls were killed at work");
        assert!(hit >= KILLS / 2, "too few were killed at work: {hit}");
        self.place.raksha.ok(&["verify", "--keyless"]);
        done
    }

    /// How many restores have succeeded.
    async fn restored(&self) -> usize {
        let file = self.place.path("target.jobs.sqlite");
        let jobs = SqlJobs::sqlite(&file).await.unwrap();
        let restores = jobs.restores(&"demo".into()).await.unwrap();
        let succeeded = restores.iter().filter(|restore| {
            matches!(&restore.state, RestoreState::Ended { outcome, .. } if *outcome == RestoreOutcome::Succeeded)
        });
        succeeded.count()
    }

    /// What the volumes of a cloud hold, by their names: a gibibyte each, so hashes are kept.
    fn volumes(&self, cloud: &DevCloud) -> BTreeMap<String, blake3::Hash> {
        let state = cloud.state();
        let volumes = &state.things[&Kind::Volume];
        let read = volumes.iter().map(|(id, text)| {
            let name = text.split(' ').next().unwrap().to_owned();
            let mut hasher = blake3::Hasher::new();
            let file = File::open(cloud.disk_path(id)).unwrap();
            hasher.update_reader(file).unwrap();
            (name, hasher.finalize())
        });
        read.collect()
    }
}

/// How long a call takes that nobody kills.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backup_leaves_the_cloud_as_it_was() {
    let mut world = World::new("killed backups").await;
    let before = world.home.state();
    let (_, takes) = timed(|| world.raksha("devcloud-demo", &["job", "run", "all"]));
    let left = before.difference(&world.home.state());
    assert!(left.is_empty(), "a run that succeeds leaves {left:?}");
    let state = |world: &World| world.home.state();
    let run = ["job", "run", "all"];
    (world.kill_and_clean_up("devcloud-demo", &run, takes, state)).await;
    world.raksha("devcloud-demo", &["job", "run", "all"]);
    world.place.raksha.ok(&["verify"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_restore_leaves_the_cloud_as_it_was() {
    let mut world = World::new("killed restores").await;
    let run = world.raksha("devcloud-demo", &["job", "run", "all"]);
    let then = world.volumes(&world.home);
    // In another project of that cloud, to see how long it takes.
    let (_, takes) = timed(|| world.raksha("away-other", &["restore", &run]));
    assert_eq!(world.volumes(&world.away), then);
    // Neutron makes the project's default security group when the project first looks.
    world.raksha("away-demo", &["restore", &run, "--plan"]);
    let state = |world: &World| world.away.state();
    let restore = ["restore", &run];
    if !(world.kill_and_clean_up("away-demo", &restore, takes, state)).await {
        world.raksha("away-demo", &restore);
    }
    assert_eq!(world.volumes(&world.away), then);
    assert_eq!(world.away.state().count(Kind::Volume), 2 * then.len());
}
