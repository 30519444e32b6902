//! Servers go from one cloud to another and back, by mappings: what is called otherwise there is told, and what cannot be there as it was is as it can be.
//!
//! Both are test clouds of `raksha-openstack`, in this process; with the lab's cloud, `openstack_story` does the same.

use std::time::Duration;

use raksha_openstack::testkit::{Case, DevCloud, Kind, Options};
use raksha_tests::{Abroad, Place, Program, Random, hash, is_id, translated};
use serde_json::Value;

const VOLUMES: [&str; 4] = ["case1-data", "case2-root", "case2-a", "case2-b"];

/// The clouds, and `raksha` in the one at home.
async fn clouds() -> (DevCloud, Abroad, Place) {
    let home = DevCloud::start(Options::default()).await.unwrap();
    for case in [Case::LocalDisk, Case::BootedFromVolume] {
        for server in home.seed("demo", case).unwrap() {
            home.write_records(&server).unwrap();
        }
    }
    let abroad = Abroad::start().await;
    let mut place = Place::new();
    let raksha = place.raksha.clone();
    let raksha = abroad.beside(&home.clouds_yaml(), raksha, place.folder());
    place.raksha = raksha.with("RAKSHA_CLOUD", "openstack:devcloud-demo");
    (home, abroad, place)
}

/// A run of a job for these servers.
fn run(raksha: &Program, servers: &[&str]) -> String {
    let servers = servers.iter().flat_map(|server| ["--server", *server]);
    let create: Vec<&str> = ["job", "create", "moves"]
        .into_iter()
        .chain(servers)
        .collect();
    raksha.ok(&create);
    let run = raksha.ok(&["job", "run", "moves"]);
    assert!(is_id(&run), "{run}");
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_go_abroad_with_all_their_bytes() {
    let (home, abroad, place) = clouds().await;
    let raksha = &place.raksha;
    let run = run(raksha, &["case1", "case2"]);
    let into = ["--into", "openstack:abroad-demo"];
    let restore = ["restore", &run, into[0], into[1]];
    let said = raksha.fails(&restore);
    for unknown in ["flavor raksha.tiny", "zone nova", "network public"] {
        assert!(said.contains(unknown), "{unknown}: {said}");
    }
    let mapping = abroad.from_home();
    let restore = translated(&restore, &mapping);
    // Enough for what they had, and too little for what they get.
    abroad.cloud.set_quota("demo", "ram", 400).unwrap();
    let said = raksha.fails(&restore);
    assert!(said.contains("512 are needed"), "{said}");
    abroad.cloud.set_quota("demo", "ram", -1).unwrap();

    // A restore that dies leaves something there, of which home knows that it is there.
    let before = abroad.cloud.state();
    raksha.killed(&restore, Duration::from_millis(2), || {
        abroad.cloud.state().count(Kind::Volume) > 0
    });
    let reaped = raksha.call(&["reap", "--all"]);
    assert_eq!(reaped.code, Some(1), "{reaped:?}");
    assert!(reaped.err.contains("in another cloud"), "{reaped:?}");
    raksha.ok(&["reap", "--all", into[0], into[1]]);
    let left = before.difference(&abroad.cloud.state());
    assert!(left.is_empty(), "{left:?}");

    raksha.ok(&restore);
    let disks = VOLUMES.map(|name| (Kind::Volume, name)).into_iter();
    for (kind, name) in disks.chain([(Kind::Server, "case1")]) {
        let original = home.disk_path(&home.id_of(kind, name).unwrap());
        let same = hash(&abroad.disk(kind, name)) == hash(&original);
        assert!(same, "{kind} {name} is not what it was");
    }
    let there = raksha.clone().with("RAKSHA_CLOUD", "openstack:abroad-demo");
    let there = there.json(&["discover", "case1", "case2"]);
    for (kind, field, value) in [
        ("servers", "/flavor/name", "small"),
        ("servers", "/availability_zone", "east"),
        ("volumes", "/volume_type", "ssd"),
        ("volumes", "/availability_zone", "east"),
    ] {
        for one in there[kind].as_array().unwrap() {
            assert_eq!(one.pointer(field).unwrap(), value, "{kind}: {one}");
        }
    }
}

/// As the administrator there, who is not denied an address outside, but told that there is none like it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_comes_from_abroad_and_does_without_what_is_not_here() {
    let (home, abroad, place) = clouds().await;
    let mut random = Random::announced("another cloud");
    abroad.add_traveller(&random.bytes(3 << 20), &mut random);
    let raksha = place.raksha.with("RAKSHA_CLOUD", "openstack:abroad-demo");
    let run = run(&raksha, &["traveller"]);
    let into = "openstack:devcloud-admin";
    let restore = ["restore", &run, "--into", into];
    let said = raksha.fails(&restore);
    for unknown in Abroad::FOREIGN {
        assert!(said.contains(unknown), "{unknown}: {said}");
    }
    let id = |kind, name| home.id_of(kind, name).unwrap();
    let mapping = Abroad::to_home(
        &id(Kind::Network, "public"),
        &id(Kind::Image, "raksha-guest"),
    );
    raksha.ok(&translated(&restore, &mapping));

    for (kind, there, here) in [
        (Kind::Server, "traveller", "settler"),
        (Kind::Volume, "traveller-data", "traveller-data"),
    ] {
        let here = home.disk_path(&id(kind, here));
        let same = hash(&here) == hash(&abroad.disk(kind, there));
        assert!(same, "{kind} {there} is not what it was");
    }
    let here = raksha.clone().with("RAKSHA_CLOUD", into);
    let here = here.json(&["discover", "settler"]);
    let networks = here["networks"].as_array().unwrap();
    let road = networks.iter().find(|network| network["name"] == "road");
    assert_eq!(road.unwrap()["mtu"], 1500);
    assert_eq!(here["ports"][0]["raw"]["dns_name"], Value::Null);
    let address = here["floating_ips"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("198.51.100."), "{address}");
}
