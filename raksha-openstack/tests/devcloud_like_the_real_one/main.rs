//! The test cloud is like the real one: the same requests to both, and their answers compared: status, headers, bodies, with ids, times,
//! addresses and what others use up masked.
//!
//! Needs the features `testkit` and `lab`, and the OpenStack of `tests/lab`. `RAKSHA_LAB_AUTH_URL` names another one than the lab's own. What
//! is made there is called `devcloud-...`, and removed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // all of it is tests
#![cfg(all(feature = "testkit", feature = "lab"))]

mod network;
mod servers;
mod storage;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use raksha_openstack::testkit::{DevCloud, Options, Pace};
use serde_json::json;
use support::recorder::{Recorder, differences};
use support::{Somebody, client, none, password, send, with};

fn lab() -> String {
    std::env::var("RAKSHA_LAB_AUTH_URL").unwrap_or_else(|_| "http://127.0.0.1:5000/v3".to_owned())
}

/// Scenarios take turns: each removes what others left behind.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Plays a scenario on both clouds and compares.
async fn both(scenario: impl AsyncFn(&mut Recorder)) {
    let _turn = TURN.lock().await;
    let mut real = Recorder::new(&lab()).await;
    clean(&real.demo).await;
    let mut options = Options::default();
    // Long enough to be seen on the way.
    options.pace = Pace::all(Duration::from_millis(400));
    let cloud = DevCloud::start(options).await.unwrap();
    seed_like_the_lab(&cloud);
    let mut dev = Recorder::new(cloud.cloud_config("demo").auth_url.as_str()).await;
    scenario(&mut dev).await;
    scenario(&mut real).await;
    clean(&real.demo).await;
    let found = differences(&real.notes, &dev.notes);
    assert!(!real.notes.is_empty());
    assert!(
        found.is_empty(),
        "{} of {} answers differ:\n{}",
        found.len(),
        real.notes.len(),
        found.join("\n")
    );
}

fn seed_like_the_lab(cloud: &DevCloud) {
    let properties = [
        ("hw_qemu_guest_agent", "yes"),
        ("os_require_quiesce", "yes"),
        ("os_type", "linux"),
        ("hw_rng_model", "virtio"),
    ];
    for name in ["raksha-guest", "raksha-guest-rbd"] {
        cloud.add_image(name, &[1; 4096], &properties).unwrap();
    }
}

/// Removes what an earlier run left behind.
async fn clean(demo: &Somebody) {
    let lists = [
        ("compute:/servers", "servers", "compute:/servers"),
        ("volumev3:/volumes", "volumes", "volumev3:/volumes"),
        ("volumev3:/snapshots", "snapshots", "volumev3:/snapshots"),
        ("image:/images?limit=100", "images", "image:/images"),
        (
            "network:/floatingips?description=devcloud-f",
            "floatingips",
            "network:/floatingips",
        ),
        ("network:/ports", "ports", "network:/ports"),
        ("network:/routers", "routers", "network:/routers"),
        ("network:/networks", "networks", "network:/networks"),
        (
            "network:/security-groups",
            "security_groups",
            "network:/security-groups",
        ),
    ];
    for round in 0..10 {
        let mut left = 0;
        for (list, key, one) in lists {
            let all = demo.get(list).await.body[key]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for thing in all {
                let name = thing["name"].as_str().unwrap_or_default();
                if name.contains("devcloud-") || thing["description"] == "devcloud-f" {
                    left += 1;
                    let id = thing["id"].as_str().unwrap();
                    if key == "routers" {
                        for port in demo
                            .get(&format!("network:/ports?device_id={id}"))
                            .await
                            .body["ports"]
                            .as_array()
                            .unwrap()
                        {
                            let body = json!({"port_id": port["id"]});
                            demo.ask(
                                "PUT",
                                &format!("network:/routers/{id}/remove_router_interface"),
                                body,
                            )
                            .await;
                        }
                    }
                    demo.ask("DELETE", &format!("{one}/{id}"), none()).await;
                }
            }
        }
        if left == 0 {
            return;
        }
        assert!(round < 9, "the lab keeps what was made there");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test]
async fn discovery_documents_and_refusals() {
    both(async |cloud| {
        for path in ["identity:", "compute:/", "network:/extensions-no"] {
            cloud.get(path).await;
        }
        for service in ["identity", "compute", "volumev3", "image", "network"] {
            let url = cloud.demo.endpoints[service].clone();
            let root = ["/v3", "/v2"]
                .iter()
                .find_map(|version| url.split_once(version))
                .map_or(url.as_str(), |(root, _)| root);
            let answer = send(&client(), "GET", &format!("{root}/"), none())
                .await
                .unwrap();
            cloud.note("GET root", service, &answer);
        }
        for path in [
            "compute:/servers",
            "volumev3:/volumes",
            "image:/images",
            "network:/networks",
            "object-store:/x",
        ] {
            let answer = send(&client(), "GET", &cloud.demo.url(path), none())
                .await
                .unwrap();
            if !path.starts_with("object") {
                cloud.note("GET by nobody", path, &answer);
            }
            assert_eq!(answer.status, 401);
        }
        for (path, version) in [
            ("compute:/servers", "compute 2.999"),
            ("compute:/servers", "compute 3.1"),
            ("compute:/servers", "compute x"),
            ("volumev3:/volumes", "volume 3.999"),
        ] {
            cloud
                .ask("GET", path, with("openstack-api-version", version))
                .await;
        }
        cloud.get("compute:/flavors/detail").await;
        cloud
            .ask(
                "GET",
                "compute:/flavors/detail",
                with("openstack-api-version", "compute 2.93"),
            )
            .await;
        for path in [
            "compute:/limits",
            "compute:/os-availability-zone",
            "volumev3:/limits",
            "volumev3:/types",
            "volumev3:/os-availability-zone",
            "volumev3:/scheduler-stats/get_pools",
            "image:/info/import",
        ] {
            cloud.get(path).await;
        }
        let project = cloud.demo.project.clone();
        for path in [
            "compute:/os-quota-sets",
            "volumev3:/os-quota-sets",
            "network:/quotas",
        ] {
            cloud.get(&format!("{path}/{project}")).await;
        }
        cloud
            .as_other("GET", &format!("compute:/os-quota-sets/{project}"), none())
            .await;
        cloud
            .as_other("GET", &format!("network:/quotas/{project}"), none())
            .await;
        let foreign = cloud.demo.url("volumev3:/volumes");
        cloud.as_other("GET", &foreign, none()).await;
    })
    .await;
}

#[tokio::test]
async fn tokens_credentials_and_trusts() {
    both(async |cloud| {
        let (demo, other) = (cloud.demo.clone(), cloud.other.clone());
        let tokens = demo.url("identity:/auth/tokens");
        let mut bodies = vec![
            password("demo", json!({"project": {"name": "nope", "domain": {"name": "Default"}}})),
            password("demo", json!({"project": {"name": "other", "domain": {"name": "Default"}}})),
            password("demo", json!("unscoped")),
            password("nobody", json!("unscoped")),
            json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}}}),
        ];
        let credentials = format!("identity:/users/{}/application_credentials", demo.user);
        let wanted = json!({"application_credential": {"name": "devcloud-c", "secret": "s3cret"}});
        let made = cloud.post(&credentials, wanted.clone()).await.text("/application_credential/id");
        cloud.post(&credentials, wanted).await;
        cloud.get(&format!("{credentials}/{made}")).await;
        cloud.get(&format!("{credentials}/nope")).await;
        cloud.as_other("GET", &credentials, none()).await;
        let by = |secret: &str| json!({"auth": {"identity": {"methods": ["application_credential"],
            "application_credential": {"id": made, "secret": secret}}}});
        bodies.extend([by("wrong"), by("s3cret")]);
        for (nth, body) in bodies.into_iter().enumerate() {
            let answer = send(&client(), "POST", &tokens, body).await.unwrap();
            cloud.note("POST tokens", &nth.to_string(), &answer);
        }
        let lent = Somebody::by(tokens.trim_end_matches("/auth/tokens"), by("s3cret")).await;
        let answer = lent.post(&credentials, json!({"application_credential": {"name": "devcloud-d"}})).await;
        cloud.note("POST by credential", "", &answer);
        cloud.delete(&format!("{credentials}/{made}")).await;
        let answer = lent.get("identity:/auth/projects").await;
        cloud.note("GET by a credential that is gone", "", &answer);
        assert!([401, 404].contains(&lent.get("image:/images").await.status));

        let trust = json!({"trust": {"trustor_user_id": demo.user, "trustee_user_id": other.user, "project_id": demo.project,
            "impersonation": true, "roles": [{"name": "member"}]}});
        let made = cloud.post("identity:/OS-TRUST/trusts", trust.clone()).await.text("/trust/id");
        cloud.as_other("POST", "identity:/OS-TRUST/trusts", trust).await;
        let one = format!("identity:/OS-TRUST/trusts/{made}");
        cloud.get("identity:/OS-TRUST/trusts").await;
        cloud.as_other("GET", &one, none()).await;
        cloud.as_other("DELETE", &one, none()).await;
        let scope = json!({"OS-TRUST:trust": {"id": made}});
        let answer = send(&client(), "POST", &tokens, password("admin", scope.clone())).await.unwrap();
        cloud.note("POST tokens by another", "", &answer);
        let answer = send(&client(), "POST", &tokens, password("other", scope.clone())).await.unwrap();
        cloud.note("POST tokens by trust", "", &answer);
        let lent = Somebody::by(tokens.trim_end_matches("/auth/tokens"), password("other", scope.clone())).await;
        let again = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": lent.token}},
            "scope": {"project": {"id": demo.project}}}});
        let answer = send(&client(), "POST", &tokens, again).await.unwrap();
        cloud.note("POST tokens by trusted token", "", &answer);
        cloud.delete(&one).await;
        cloud.delete(&one).await;
        // Which of the two is chance: the real one gave both for one token, one after the other.
        assert!([401, 404].contains(&lent.get("identity:/auth/projects").await.status));
        let answer = send(&client(), "POST", &tokens, password("other", scope)).await.unwrap();
        cloud.note("POST tokens by a trust that is gone", "", &answer);
        cloud.get("identity:/auth/projects").await;
        cloud.get(&format!("identity:/users/{}", demo.user)).await;
        cloud.get(&format!("identity:/projects/{}", demo.project)).await;
        cloud.get("identity:/projects").await;
    })
    .await;
}

/// Rules are kept by each service, with a refusal like that of a token that is none.
#[tokio::test]
async fn credentials_that_are_good_for_some_requests() {
    both(async |cloud| {
        let demo = cloud.demo.clone();
        let rule = |service: &str, path: &str| {
            let url = demo.url(&format!("{service}:{path}"));
            let (_, path) = url.split_once("//").unwrap().1.split_once('/').unwrap();
            json!({"service": service, "method": "GET", "path": format!("/{path}")})
        };
        let rules = [
            rule("compute", "/servers/*"),
            rule("volumev3", "/volumes/*"),
            rule("image", "/images/*"),
            rule("network", "/networks/{id}"),
        ];
        let credentials = format!("identity:/users/{}/application_credentials", demo.user);
        let wanted = json!({"application_credential": {"name": "devcloud-r", "secret": "s3cret", "access_rules": rules}});
        let made = demo.post(&credentials, wanted).await.expect(201).text("/application_credential/id");
        let by = json!({"auth": {"identity": {"methods": ["application_credential"],
            "application_credential": {"id": made, "secret": "s3cret"}}}});
        let lent = Somebody::by(&demo.url("identity:"), by).await;
        for path in [
            "compute:/servers/nope",
            "compute:/servers",
            "compute:/servers/nope/ips",
            "volumev3:/volumes/nope",
            "volumev3:/snapshots/nope",
            "image:/images/nope",
            "image:/images",
            "network:/networks/nope",
            "network:/ports/nope",
            // Keystone knows the rules, and keeps none.
            "identity:/auth/projects",
        ] {
            let answer = lent.get(path).await;
            cloud.note("GET by rules", path, &answer);
        }
        let answer = lent.ask("DELETE", "compute:/servers/nope", none()).await;
        cloud.note("DELETE by rules", "", &answer);
        // Of Nova's version everybody may read, of Cinder's who may come in.
        let compute = format!("{}/", demo.url("compute:"));
        let volume = demo.url("volumev3:").replace(&demo.project, "");
        for (service, version) in [("compute", compute), ("volumev3", volume)] {
            let answer = lent.get(&version).await;
            cloud.note("GET version by rules", service, &answer);
            let answer = demo.get(&version).await;
            cloud.note("GET version", service, &answer);
            let answer = send(&client(), "GET", &version, none()).await.unwrap();
            cloud.note("GET version by nobody", service, &answer);
        }
        demo.ask("DELETE", &format!("{credentials}/{made}"), none()).await.expect(204);
    })
    .await;
}

/// The id of the thing of a name in a list.
async fn id_of(demo: &Somebody, path: &str, key: &str, name: &str) -> String {
    let all = demo.get(path).await.expect(200);
    let found = all.body[key]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))["id"]
        .as_str()
        .unwrap()
        .to_owned()
}
