//! A job whose runs act by an application credential that is limited to the requests of backups, on a cloud whose services keep such limits.

use std::time::Duration;

use raksha_core::env::Env;
use raksha_openstack::client::Client;
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_tests::{Place, credentials, is_narrow, text, wait};
use tokio::runtime::Runtime;

use crate::story::Story;

#[test]
fn a_credential_with_access_rules_is_good_for_a_backup_and_for_nothing_else() {
    let story = Story::begin("");
    let (lab, place) = (&story.lab, Place::new());
    // Nobody's login is with the service; and it leaves nothing behind, so that what is left is found.
    let service = (place.raksha.clone())
        .with("OS_CLIENT_CONFIG_FILE", lab.clouds())
        .with(
            "RAKSHA_SERVICE",
            "openstack:raksha-admin?pause=true&hints=false",
        )
        .with(
            "RAKSHA_SERVICE_KEY_FILE",
            place.file("service-key", &[9; 40]),
        )
        .with("RAKSHA_PROJECT", story.project());
    let tenant = (service.clone()).with("RAKSHA_CLOUD", format!("openstack:{}", story.cloud));
    let kind = ["--kind", "application-credential"];
    let lent = [
        &["authority", "create"][..],
        &kind,
        &["--expires-in", "1day"],
    ]
    .concat();
    let lent = tenant.ok(&lent);

    // One of them is copied by Nova while it is paused, the other frozen.
    let before = lab.inventory(&story.cloud);
    let due = Env::system()
        .now()
        .after(Duration::from_secs(20))
        .to_string();
    let create = ["job", "create", "hourly", "--authority", &lent];
    let servers = ["--server", "case1", "--server", "case2"];
    let level = ["--consistency", "crash-across-disks"];
    let schedule = ["--every", "1h", "--anchor", &due];
    tenant.ok(&[&create[..], &servers, &level, &schedule].concat());
    let end = wait("the run to end", Duration::from_secs(120), || {
        println!("{}", service.ok(&["schedule", "run", "--once"]));
        let due = tenant.json(&["schedule", "list"]);
        let end = &due[0]["state"]["ended"]["end"];
        (!end.is_null()).then(|| end.clone())
    });
    let point = end["ran"]["outcome"]["succeeded"]["point"].as_str();
    let point = point.unwrap_or_else(|| panic!("{end}"));
    let point = tenant.json(&["point", point]);
    println!("{}", point["ledger"]);
    let who = tenant.json(&["points"])[0]["summary"]["principal"].to_string();
    assert!(who.contains("by application credential raksha-"), "{who}");
    wait(
        "the cloud to be as it was",
        Duration::from_secs(120),
        || (lab.inventory(&story.cloud)["ids"] == before["ids"]).then_some(()),
    );

    let clouds = text(&lab.clouds());
    let sources = Sources::default().variable("OS_CLIENT_CONFIG_FILE", &clouds);
    let config = CloudConfig::named(&story.cloud, &sources).unwrap();
    let (runtime, env) = (Runtime::new().unwrap(), Env::system());
    let somebody = Client::connect(&config, env.clone());
    let somebody = runtime.block_on(somebody).unwrap();
    let server = story.id("case3a");
    runtime.block_on(is_narrow(&somebody, &env, &lent, &server));
    story.writes("case3a");

    tenant.ok(&["job", "delete", "hourly"]);
    tenant.ok(&["authority", "revoke", &lent]);
    let left = runtime.block_on(credentials(&somebody, &lent));
    assert!(left.is_empty(), "{left:?}");
}
