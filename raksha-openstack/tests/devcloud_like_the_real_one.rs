//! The test cloud is like the real one: the same requests to both, and their answers compared: status, headers, bodies, with ids, times,
//! addresses and what others use up masked.
//!
//! Needs the features `testkit` and `lab`, and the OpenStack of `tests/lab`. `RAKSHA_LAB_AUTH_URL` names another one than the lab's own. What
//! is made there is called `devcloud-...`, and removed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // all of it is tests
#![cfg(all(feature = "testkit", feature = "lab"))]

mod support;

use std::time::Duration;

use raksha_openstack::testkit::{DevCloud, Options, Pace};
use serde_json::{Value, json};
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
        let answer = lent.get("identity:/auth/projects").await;
        cloud.note("GET by a trust that is gone", "", &answer);
        let answer = send(&client(), "POST", &tokens, password("other", scope)).await.unwrap();
        cloud.note("POST tokens by a trust that is gone", "", &answer);
        cloud.get("identity:/auth/projects").await;
        cloud.get(&format!("identity:/users/{}", demo.user)).await;
        cloud.get(&format!("identity:/projects/{}", demo.project)).await;
        cloud.get("identity:/projects").await;
    })
    .await;
}

const NEWEST: (&str, &str) = ("openstack-api-version", "volume 3.70");

#[tokio::test]
async fn volumes_snapshots_and_attachments() {
    both(async |cloud| {
        let newest = || with(NEWEST.0, NEWEST.1);
        let volumes = "volumev3:/volumes";
        for wanted in [
            json!({"name": "devcloud-x"}), json!({"size": 1, "volume_type": "nope"}), json!({"size": 1, "imageRef": "nope"}),
            json!({"size": 1, "snapshot_id": "nope"}), json!({"size": 1, "snapshot_id": "11111111-2222-4333-8444-555555555555"}),
        ] {
            cloud.post(volumes, json!({"volume": wanted})).await;
        }
        let wanted = json!({"volume": {"name": "devcloud-v", "size": 1, "metadata": {"a": "b"}, "description": "d"}});
        let id = cloud.ask("POST", volumes, newest().body(wanted)).await.text("/volume/id");
        let one = format!("{volumes}/{id}");
        cloud.demo.until(&one, "/volume/status", &["available"]).await;
        cloud.get(&one).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.as_other("GET", &cloud.other.url(&one), none()).await;
        cloud.get("volumev3:/volumes/nope").await;
        cloud.get("volumev3:/snapshots/nope").await;
        cloud.get(&format!("{volumes}/detail?name=devcloud-v&limit=1")).await;
        cloud.post(&format!("{one}/metadata"), json!({"metadata": {"c": "d"}})).await;
        cloud.delete(&format!("{one}/metadata/nope")).await;
        cloud.post(&format!("{one}/action"), json!({"os-set_bootable": {"bootable": true}})).await;
        cloud.post(&format!("{one}/action"), json!({"os-set_image_metadata": {"metadata": {"hw_x": "1"}}})).await;
        cloud.post(&format!("{one}/action"), json!({"os-extend": {"new_size": 1}})).await;

        let snapshots = "volumev3:/snapshots";
        cloud.ask("POST", snapshots, newest().body(json!({"snapshot": {"volume_id": id, "force": false}}))).await;
        cloud.post(snapshots, json!({"snapshot": {"volume_id": "nope"}})).await;
        let wanted = json!({"snapshot": {"volume_id": id, "name": "devcloud-s", "metadata": {"e": "f"}}});
        let snapshot = cloud.post(snapshots, wanted).await.text("/snapshot/id");
        let shot = format!("{snapshots}/{snapshot}");
        cloud.demo.until(&shot, "/snapshot/status", &["available"]).await;
        cloud.get(&shot).await;
        cloud.ask("GET", &shot, newest()).await;
        cloud.delete(&one).await;
        let clone = cloud.post(volumes, json!({"volume": {"name": "devcloud-c", "snapshot_id": snapshot}})).await.text("/volume/id");
        let clone = format!("{volumes}/{clone}");
        cloud.demo.until(&clone, "/volume/status", &["available"]).await;
        cloud.get(&clone).await;

        // A snapshot with a clone.
        cloud.delete(&shot).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        cloud.demo.until(&shot, "/snapshot/status", &["available"]).await;
        cloud.get(&shot).await;

        let attachments = "volumev3:/attachments";
        cloud.get(attachments).await;
        let connector = json!({"host": "devcloud", "ip": "127.0.0.1"});
        let wanted = json!({"attachment": {"volume_uuid": id, "mode": "ro", "connector": connector}});
        let made = cloud.ask("POST", attachments, newest().body(wanted.clone())).await.text("/attachment/id");
        let attachment = format!("{attachments}/{made}");
        cloud.get(&one).await;
        cloud.ask("GET", &attachment, newest()).await;
        let complete = with("openstack-api-version", "volume 3.43").body(json!({"os-complete": {}}));
        cloud.ask("POST", &format!("{attachment}/action"), complete).await;
        cloud.ask("POST", &format!("{attachment}/action"), newest().body(json!({"os-complete": {}}))).await;
        cloud.get(&one).await;
        cloud.ask("GET", &attachment, newest()).await;
        cloud.ask("POST", attachments, newest().body(wanted)).await;
        cloud.delete(&one).await;
        cloud.post(snapshots, json!({"snapshot": {"volume_id": id, "name": "devcloud-t"}})).await;
        cloud.post(&format!("{one}/action"), json!({"os-volume_upload_image": {"image_name": "devcloud-i"}})).await;
        cloud.ask("DELETE", &attachment, newest()).await;
        cloud.ask("GET", &attachment, newest()).await;
        let reserved = json!({"attachment": {"volume_uuid": id}});
        let made = cloud.ask("POST", attachments, newest().body(reserved)).await.text("/attachment/id");
        let attachment = format!("{attachments}/{made}");
        cloud.ask("PUT", &attachment, newest().body(json!({"attachment": {"connector": connector}}))).await;
        cloud.ask("DELETE", &attachment, newest()).await;

        cloud.delete(&clone).await;
        cloud.demo.until_gone(&clone).await;
        cloud.delete(&shot).await;
        cloud.demo.until_gone(&shot).await;
        cloud.delete(&one).await;
        cloud.demo.until_gone(&one).await;
        cloud.delete(&one).await;
    })
    .await;
}

#[tokio::test]
async fn images() {
    both(async |cloud| {
        let images = "image:/images";
        let wanted = json!({"name": "devcloud-i", "disk_format": "raw", "container_format": "bare", "foo": "bar", "tags": ["t"]});
        let id = cloud.post(images, wanted).await.text("/id");
        let one = format!("{images}/{id}");
        let file = format!("{one}/file");
        cloud.get(&file).await;
        cloud.ask("PUT", &file, with("content-type", "application/x").bytes(vec![1])).await;
        let bytes = |length: usize| with("content-type", "application/octet-stream").bytes(vec![7; length]);
        cloud.ask("PUT", &file, bytes(100_000)).await;
        let seen = cloud.get(&one).await;
        let file_seen = cloud.get(&file).await;
        assert_eq!((file_seen.bytes.len(), &file_seen.headers["content-md5"]), (100_000, &seen.text("/checksum")));
        for range in ["bytes=10-19", "bytes=99990-", "bytes=-5", "bytes=200000-"] {
            cloud.ask("GET", &file, with("range", range)).await;
        }
        cloud.ask("PUT", &file, bytes(1)).await;
        let patch = |body: Value| with("content-type", "application/openstack-images-v2.1-json-patch").bytes(body.to_string().into_bytes());
        for change in [
            json!([{"op": "replace", "path": "/name", "value": "devcloud-j"}, {"op": "add", "path": "/os_thing", "value": "1"},
                {"op": "remove", "path": "/foo"}]),
            json!([{"op": "replace", "path": "/visibility", "value": "public"}]),
            json!([{"op": "replace", "path": "/nope", "value": "x"}]),
            json!([{"op": "replace", "path": "/size", "value": 1}]),
            json!([{"op": "remove", "path": "/name"}]),
            json!([{"op": "replace", "path": "/protected", "value": true}]),
        ] {
            cloud.ask("PATCH", &one, patch(change)).await;
        }
        cloud.ask("PATCH", &one, json!([])).await;
        cloud.delete(&one).await;
        cloud.ask("PATCH", &one, patch(json!([{"op": "replace", "path": "/protected", "value": false}]))).await;
        cloud.get(&format!("{images}?name=devcloud-j&limit=1&sort=created_at:desc")).await;
        cloud.as_other("GET", &one, none()).await;
        let member = json!({"member": cloud.other.project});
        cloud.post(&format!("{one}/members"), member).await;
        cloud.as_other("GET", &one, none()).await;
        let mine = format!("{one}/members/{}", cloud.other.project);
        cloud.as_other("PUT", &mine, json!({"status": "accepted"})).await;
        cloud.get(&format!("{one}/members")).await;
        cloud.as_other("DELETE", &one, none()).await;
        cloud.ask("PUT", &format!("{one}/tags/u"), none()).await;
        cloud.post(images, json!({"name": "devcloud-k", "id": id})).await;
        cloud.post(images, json!({"name": "devcloud-k", "visibility": "public"})).await;
        cloud.delete(&one).await;
        cloud.get(&one).await;
        cloud.delete(&one).await;
    })
    .await;
}

#[tokio::test]
async fn networks() {
    both(async |cloud| {
        let make = async |cloud: &mut Recorder, of: &str, key: &str, body: Value| {
            cloud.post(&format!("network:/{of}"), json!({key: body})).await
        };
        for body in [
            json!({"shared": true}), json!({"provider:network_type": "flat"}), json!({"nonsense": 1}), json!({"router:external": true}),
        ] {
            make(cloud, "networks", "network", body).await;
        }
        let network = make(cloud, "networks", "network", json!({"name": "devcloud-n"})).await.text("/network/id");
        let subnet = json!({"name": "devcloud-s", "network_id": network, "cidr": "10.98.0.0/24", "ip_version": 4});
        let subnet = make(cloud, "subnets", "subnet", subnet).await.text("/subnet/id");
        make(cloud, "subnets", "subnet", json!({"network_id": network, "cidr": "10.98.0.0/25", "ip_version": 4})).await;
        make(cloud, "subnets", "subnet", json!({"network_id": network, "cidr": "nonsense", "ip_version": 4})).await;
        let port = make(cloud, "ports", "port", json!({"name": "devcloud-p", "network_id": network})).await;
        let (port, mac, address) = (port.text("/port/id"), port.text("/port/mac_address"), port.text("/port/fixed_ips/0/ip_address"));
        make(cloud, "ports", "port", json!({"network_id": network, "mac_address": mac})).await;
        for address in [&*address, "1.2.3.4"] {
            make(cloud, "ports", "port", json!({"network_id": network, "fixed_ips": [{"ip_address": address}]})).await;
        }
        let fixed = json!({"network_id": network, "name": "devcloud-q", "mac_address": "fa:16:3e:00:98:77",
            "fixed_ips": [{"subnet_id": subnet, "ip_address": "10.98.0.77"}]});
        let second = make(cloud, "ports", "port", fixed).await.text("/port/id");
        let router = make(cloud, "routers", "router", json!({"name": "devcloud-r"})).await.text("/router/id");
        let of_router = |action: &str| format!("network:/routers/{router}/{action}");
        let there = json!({"subnet_id": subnet});
        cloud.ask("PUT", &of_router("add_router_interface"), there.clone()).await;
        cloud.ask("PUT", &of_router("add_router_interface"), there.clone()).await;
        let public = cloud.demo.get("network:/networks?name=public").await.text("/networks/0/id");
        let wanted = json!({"floating_network_id": public, "port_id": port, "description": "devcloud-f"});
        make(cloud, "floatingips", "floatingip", wanted).await;
        let gateway = json!({"router": {"external_gateway_info": {"network_id": public}}});
        cloud.ask("PUT", &format!("network:/routers/{router}"), gateway).await;
        let wanted = json!({"floating_network_id": public, "description": "devcloud-f"});
        let floating = make(cloud, "floatingips", "floatingip", wanted).await;
        let (floating, outside) = (floating.text("/floatingip/id"), floating.text("/floatingip/floating_ip_address"));
        let one = format!("network:/floatingips/{floating}");
        let pointed = cloud.demo.ask("PUT", &one, json!({"floatingip": {"port_id": port}})).await.expect(200);
        assert_eq!(pointed.text("/floatingip/fixed_ip_address"), address);
        let wanted = json!({"floating_network_id": public, "floating_ip_address": outside});
        make(cloud, "floatingips", "floatingip", wanted).await;
        cloud.ask("PUT", &of_router("remove_router_interface"), there.clone()).await;
        for path in [format!("routers/{router}"), format!("subnets/{subnet}")] {
            cloud.delete(&format!("network:/{path}")).await;
        }
        cloud.get(&format!("network:/ports/{port}")).await;
        cloud.as_other("GET", &format!("network:/ports/{port}"), none()).await;
        cloud.as_other("GET", &format!("network:/networks/{network}"), none()).await;
        cloud.as_other("DELETE", &format!("network:/networks/{network}"), none()).await;
        cloud.as_other("GET", &format!("network:/networks?id={network}"), none()).await;
        cloud.get(&format!("network:/ports?network_id={network}&device_owner=network:router_interface&fields=device_owner")).await;
        cloud.ask("PUT", &format!("network:/networks/{network}/tags"), json!({"tags": ["x", "y"]})).await;
        cloud.get("network:/networks?tags=x,y&fields=name").await;
        cloud.delete(&format!("network:/networks/{network}/tags/nope")).await;
        cloud.delete(&one).await;
        cloud.ask("PUT", &of_router("remove_router_interface"), there.clone()).await;
        cloud.ask("PUT", &of_router("remove_router_interface"), there).await;
        cloud.delete(&format!("network:/routers/{router}")).await;
        for port in [port.clone(), second, port] {
            cloud.delete(&format!("network:/ports/{port}")).await;
        }
        cloud.delete(&format!("network:/networks/{network}")).await;
        cloud.get(&format!("network:/subnets/{subnet}")).await;

        let group = make(cloud, "security-groups", "security_group", json!({"name": "devcloud-g"})).await.text("/security_group/id");
        let rule = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 22,
            "port_range_max": 22, "remote_ip_prefix": "10.0.0.0/8"});
        make(cloud, "security-group-rules", "security_group_rule", rule.clone()).await;
        let twin = cloud.demo.post("network:/security-group-rules", json!({"security_group_rule": rule})).await;
        cloud.note("POST twin", "", &twin);
        cloud.get(&format!("network:/security-groups/{group}")).await;
        cloud.get(&format!("network:/security-group-rules?security_group_id={group}&direction=ingress")).await;
        cloud.delete(&format!("network:/security-groups/{group}")).await;
        cloud.delete(&format!("network:/security-groups/{group}")).await;
        make(cloud, "security-groups", "security_group", json!({"name": "default"})).await;
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

#[tokio::test]
async fn servers() {
    both(async |cloud| {
        let newest = || with("openstack-api-version", "compute 2.93");
        let servers = "compute:/servers";
        let demo = cloud.demo.clone();
        let flavor = id_of(&demo, "compute:/flavors", "flavors", "raksha.tiny").await;
        let image = id_of(&demo, "image:/images?name=raksha-guest", "images", "raksha-guest").await;
        let server = |more: Value| {
            let mut body = json!({"name": "devcloud-a", "flavorRef": flavor, "networks": "none"});
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            json!({"server": body})
        };
        let nothing = "11111111-2222-4333-8444-555555555555";
        for more in [
            json!({"flavorRef": "nope", "imageRef": image}), json!({"imageRef": nothing}), json!({}),
            json!({"block_device_mapping_v2": [{"uuid": nothing, "source_type": "volume", "destination_type": "volume", "boot_index": 0}]}),
            json!({"imageRef": image, "networks": [{"uuid": nothing}]}), json!({"imageRef": image, "networks": [{"port": nothing}]}),
            json!({"imageRef": image, "key_name": "nope"}),
        ] {
            cloud.ask("POST", servers, newest().body(server(more))).await;
        }
        cloud.get(&format!("{servers}/{nothing}")).await;

        // Booted from an image onto a local disk.
        let wanted = server(json!({"imageRef": image, "description": "d", "metadata": {"k": "v"}, "tags": ["t"]}));
        let local = cloud.ask("POST", servers, newest().body(wanted)).await.text("/server/id");
        let one = format!("{servers}/{local}");
        demo.until(&one, "/server/status", &["ACTIVE"]).await;
        cloud.get(&one).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.as_other("GET", &one, none()).await;
        cloud.ask("GET", &format!("{servers}?tags=t&name=devcloud-a"), newest()).await;
        cloud.ask("GET", &format!("{servers}?tags=u"), newest()).await;
        cloud.get(&format!("{one}/metadata")).await;
        cloud.ask("GET", &format!("{one}/tags"), newest()).await;
        for action in [json!({"unpause": null}), json!({"os-start": null}), json!({"nonsense": null}), json!({"createImage": {}})] {
            let name = action.as_object().unwrap().keys().next().unwrap().clone();
            if name != "createImage" {
                cloud.post(&format!("{one}/action"), action).await;
            }
        }
        let volume = demo.post("volumev3:/volumes", json!({"volume": {"size": 1, "name": "devcloud-d"}})).await.text("/volume/id");
        demo.until(&format!("volumev3:/volumes/{volume}"), "/volume/status", &["available"]).await;
        let attach = json!({"volumeAttachment": {"volumeId": volume}});
        let attached = format!("{one}/os-volume_attachments");
        cloud.ask("POST", &attached, newest().body(attach.clone())).await;
        demo.until(&format!("volumev3:/volumes/{volume}"), "/volume/status", &["in-use"]).await;
        cloud.get(&attached).await;
        cloud.ask("GET", &attached, newest()).await;
        cloud.post(&attached, attach).await;
        cloud.post(&attached, json!({"volumeAttachment": {"volumeId": nothing}})).await;
        cloud.get(&format!("volumev3:/volumes/{volume}")).await;
        let snap = json!({"createImage": {"name": "devcloud-snap", "metadata": {"x": "y"}}});
        let snap = cloud.ask("POST", &format!("{one}/action"), newest().body(snap)).await.text("/image_id");
        let other = cloud.demo.post(&format!("{one}/action"), json!({"createImage": {"name": "devcloud-snap2"}})).await;
        assert_eq!(other.status, 409);
        demo.until(&format!("image:/images/{snap}"), "/status", &["active"]).await;
        let seen = demo.get(&format!("image:/images/{snap}")).await;
        let mut kept = seen.clone();
        for key in ["size", "disk_format"] {
            kept.body[key] = json!("*");
        }
        cloud.note("GET", "snapshot of a server on a local disk", &kept);
        cloud.delete(&format!("image:/images/{snap}")).await;
        demo.ask("DELETE", &format!("{attached}/{volume}"), none()).await.expect(202);
        demo.until(&format!("volumev3:/volumes/{volume}"), "/volume/status", &["available"]).await;
        cloud.delete(&format!("{attached}/{volume}")).await;
        cloud.delete(&one).await;
        demo.until_gone(&one).await;
        cloud.delete(&one).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_booted_from_volumes() {
    both(async |cloud| {
        let newest = || with("openstack-api-version", "compute 2.93");
        let demo = cloud.demo.clone();
        let flavor = id_of(&demo, "compute:/flavors", "flavors", "raksha.tiny").await;
        let image = id_of(&demo, "image:/images?name=raksha-guest-rbd", "images", "raksha-guest-rbd").await;
        let mut volumes = Vec::new();
        for (name, source) in [("devcloud-root", Some(&image)), ("devcloud-b", None)] {
            let mut wanted = json!({"name": name, "size": 1});
            if let Some(image) = source {
                wanted["imageRef"] = json!(image);
            }
            let id = demo.post("volumev3:/volumes", json!({"volume": wanted})).await.text("/volume/id");
            demo.until(&format!("volumev3:/volumes/{id}"), "/volume/status", &["available"]).await;
            volumes.push(id);
        }
        let root = cloud.get(&format!("volumev3:/volumes/{}", volumes[0])).await;
        assert_eq!(root.text("/volume/bootable"), "true");
        let devices: Vec<_> = volumes.iter().enumerate().map(|(nth, id)| json!({"uuid": id, "source_type": "volume",
            "destination_type": "volume", "boot_index": if nth == 0 { 0 } else { -1 }})).collect();
        let wanted = json!({"server": {"name": "devcloud-b", "flavorRef": flavor, "networks": "none", "block_device_mapping_v2": devices}});
        let id = cloud.ask("POST", "compute:/servers", newest().body(wanted)).await.text("/server/id");
        let one = format!("compute:/servers/{id}");
        demo.until(&one, "/server/status", &["ACTIVE"]).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.ask("GET", &format!("{one}/os-volume_attachments"), newest()).await;
        // A guest that is not up has no agent: it is stopped, so that its image needs none.
        demo.post(&format!("{one}/action"), json!({"os-stop": null})).await.expect(202);
        demo.until(&one, "/server/status", &["SHUTOFF"]).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.post(&format!("{one}/action"), json!({"os-stop": null})).await;
        let snap = json!({"createImage": {"name": "devcloud-snap"}});
        let snap = cloud.ask("POST", &format!("{one}/action"), newest().body(snap)).await.text("/image_id");
        let seen = cloud.get(&format!("image:/images/{snap}")).await;
        let mapping: Value = serde_json::from_str(&seen.text("/block_device_mapping")).unwrap();
        for entry in mapping.as_array().unwrap() {
            let shot = format!("volumev3:/snapshots/{}", entry["snapshot_id"].as_str().unwrap());
            demo.until(&shot, "/snapshot/status", &["available"]).await;
            cloud.get(&shot).await;
            cloud.delete(&shot).await;
            demo.until_gone(&shot).await;
        }
        cloud.get(&format!("image:/images/{snap}/file")).await;
        cloud.delete(&format!("image:/images/{snap}")).await;
        cloud.delete(&one).await;
        demo.until_gone(&one).await;
        demo.until(&format!("volumev3:/volumes/{}", volumes[1]), "/volume/status", &["available"]).await;
        cloud.get(&format!("volumev3:/volumes/{}", volumes[1])).await;
    })
    .await;
}
