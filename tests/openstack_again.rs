//! A server that was restored is backed up as what it was: nothing is lost from one life to the next.
//!
//! The clouds are test clouds of `raksha-openstack`, in this process.

use raksha_openstack::testkit::{Case, DevCloud, Options};
use raksha_tests::Place;
use serde_json::Value;

/// What the image of a server says of its hardware.
fn properties(discovered: &Value) -> Value {
    let server = &discovered["servers"][0];
    let images = discovered["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["id"] == server["image"]);
    let image = image.unwrap_or_else(|| panic!("the image of {server} is gone"));
    let mut properties = image["properties"].clone();
    let all = properties.as_object_mut().unwrap();
    all.retain(|key, _| key.starts_with("hw_") || key == "os_require_quiesce");
    assert!(!all.is_empty(), "{image}");
    properties
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_server_keeps_what_its_hardware_was_made_by() {
    let (home, away) = (
        DevCloud::start(Options::default()).await.unwrap(),
        DevCloud::start(Options::default()).await.unwrap(),
    );
    home.seed("demo", Case::LocalDisk).unwrap();
    home.settle();
    let mut place = Place::new();
    let clouds = home.clouds_yaml()
        + &(away.clouds_yaml())
            .replace("clouds:\n", "")
            .replace("devcloud-", "away-");
    let clouds = place.file("clouds.yaml", clouds.as_bytes());
    place.raksha = (place.raksha)
        .with("OS_CLIENT_CONFIG_FILE", clouds)
        .with("RAKSHA_PROJECT", "demo");
    let at = |cloud: &str| {
        let raksha = place.raksha.clone();
        raksha.with("RAKSHA_CLOUD", format!("openstack:{cloud}-demo"))
    };
    let then = properties(&at("devcloud").json(&["discover", "case1"]));
    at("devcloud").ok(&["job", "create", "first", "--server", "case1"]);
    let run = at("devcloud").ok(&["job", "run", "first"]);
    at("away").ok(&["restore", &run]);
    assert_eq!(properties(&at("away").json(&["discover", "case1"])), then);

    // The second life, and the third, where the first image never was.
    at("away").ok(&["job", "create", "second", "--server", "case1"]);
    let again = at("away").ok(&["job", "run", "second"]);
    let other = place
        .raksha
        .clone()
        .with("RAKSHA_CLOUD", "openstack:away-other");
    other.ok(&["restore", &again]);
    assert_eq!(properties(&other.json(&["discover", "case1"])), then);
}
