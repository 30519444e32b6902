//! Surveys of clouds that are written down.

use raksha_core::cloud::{
    Presence, ResourceGraph, ResourceKey, ResourceKind as K, RestoreRequest, Survey,
};
use raksha_core::testkit::cloud::sample_graph;
use serde_json::{Value, json};

use super::compared;
use super::flavors::{self, LiveFlavor};
use super::live::Live;

/// A cloud that has what the sample needs of an operator, and nothing else.
fn empty() -> Live {
    let flavors = ["small", "large"].map(|name| {
        let graph = sample_graph().unwrap();
        let mut values = graph
            .servers
            .iter()
            .find(|s| s.flavor.name == name)
            .unwrap()
            .flavor
            .clone();
        values.ephemeral_gib = 0;
        LiveFlavor::of(&format!("id-{name}"), values)
    });
    Live {
        networks: vec![json!({ "id": "ext", "name": "outside", "router:external": true })],
        flavors: flavors.into(),
        volume_types: ["fast".to_owned()].into(),
        ..Live::default()
    }
}

fn request(change: impl FnOnce(&mut ResourceGraph)) -> RestoreRequest {
    let mut graph = sample_graph().unwrap();
    change(&mut graph);
    RestoreRequest {
        graph,
        ..RestoreRequest::default()
    }
}

fn presence(survey: &Survey, kind: K, id: &str) -> Presence {
    let key = ResourceKey::new(kind, id);
    let mut found = survey.findings.iter().filter(|finding| finding.key == key);
    let (Some(finding), None) = (found.next(), found.next()) else {
        panic!("one finding for {key}");
    };
    finding.presence.clone()
}

fn conflict(survey: &Survey, kind: K, id: &str) -> String {
    match presence(survey, kind, id) {
        Presence::Conflict { reason, .. } => reason,
        other => panic!("{kind} {id} is {other:?}"),
    }
}

fn same(id: &str) -> Presence {
    Presence::Same { id: id.to_owned() }
}

/// The network `back` of the sample and what is on it, as Neutron tells of it.
fn with_back(mut live: Live, mtu: u32) -> Live {
    live.networks.push(json!({
        "id": "live-back", "name": "back", "mtu": mtu, "port_security_enabled": true, "router:external": false, "status": "ACTIVE",
    }));
    live.subnets.push(json!({
        "id": "live-back-v4", "name": "other", "network_id": "live-back", "cidr": "10.2.0.0/24", "ip_version": 4, "gateway_ip": null,
        "enable_dhcp": false, "dns_nameservers": [], "host_routes": [], "allocation_pools": [{ "start": "10.2.0.1", "end": "10.2.0.254" }],
    }));
    live
}

fn port(id: &str, mac: &str, address: &str) -> Value {
    json!({
        "id": id, "network_id": "live-back", "mac_address": mac, "device_id": "",
        "fixed_ips": [{ "subnet_id": "live-back-v4", "ip_address": address }],
    })
}

#[test]
fn in_an_empty_cloud_everything_but_the_outside_is_absent() {
    let survey = compared(&empty(), &request(|_| ()));
    for finding in &survey.findings {
        let expected = match finding.key.id.as_str() {
            "sample-outside" => same("ext"),
            _ => Presence::Absent,
        };
        assert_eq!(finding.presence, expected, "{}", finding.key);
    }
    assert_eq!(survey.problems, []);
    assert!(
        survey.notes.iter().any(|note| note.contains("203.0.113.7")),
        "{:?}",
        survey.notes
    );
}

#[test]
fn a_network_of_the_same_name_and_subnets_is_used() {
    let survey = compared(&with_back(empty(), 9000), &request(|_| ()));
    assert_eq!(
        presence(&survey, K::Network, "sample-back"),
        same("live-back")
    );
    assert_eq!(
        presence(&survey, K::Subnet, "sample-back-v4"),
        same("live-back-v4")
    );
    assert_eq!(
        presence(&survey, K::Port, "sample-db-port"),
        Presence::Absent
    );
}

#[test]
fn a_network_that_differs_is_in_the_way_and_says_in_what() {
    let survey = compared(&with_back(empty(), 1500), &request(|_| ()));
    let reason = conflict(&survey, K::Network, "sample-back");
    assert!(
        reason.contains("mtu") && reason.contains("map it"),
        "{reason}"
    );

    let mut live = with_back(empty(), 9000);
    live.subnets[0]["cidr"] = "10.3.0.0/24".into();
    let reason = conflict(
        &compared(&live, &request(|_| ())),
        K::Network,
        "sample-back",
    );
    assert!(reason.contains("the subnet 10.2.0.0/24"), "{reason}");
}

#[test]
fn addresses_in_use_are_in_the_way() {
    let mut live = with_back(empty(), 9000);
    live.ports = vec![
        port("by-mac", "FA:16:3E:5A:00:02", "10.2.0.50"),
        port("by-address", "fa:16:3e:00:00:01", "10.2.0.12"),
    ];
    let survey = compared(&live, &request(|_| ()));
    let reason = conflict(&survey, K::Port, "sample-web-back");
    assert!(reason.contains("hardware address"), "{reason}");
    let reason = conflict(&survey, K::Port, "sample-db-port");
    assert!(reason.contains("10.2.0.12"), "{reason}");
}

#[test]
fn a_port_that_outlived_its_server_is_used_and_one_in_use_is_not() {
    let mut live = with_back(empty(), 9000);
    let mut own = port("sample-web-back", "fa:16:3e:5a:00:02", "10.2.0.11");
    own["security_groups"] = json!([]);
    live.ports = vec![own];
    let bare = |graph: &mut ResourceGraph| graph.ports[1].security_groups.clear();
    let survey = compared(&live, &request(bare));
    assert_eq!(
        presence(&survey, K::Port, "sample-web-back"),
        same("sample-web-back")
    );

    live.ports[0]["device_id"] = "some-server".into();
    let survey = compared(&live, &request(bare));
    assert!(conflict(&survey, K::Port, "sample-web-back").contains("some-server"));
}

#[test]
fn a_security_group_is_the_same_with_the_same_rules() {
    let group = |id: &str, name: &str, rules: Value| json!({ "id": id, "name": name, "security_group_rules": rules });
    let rule = json!({
        "id": "r", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22,
        "remote_ip_prefix": null, "remote_group_id": null,
    });
    let one = |graph: &mut ResourceGraph| {
        graph.security_groups[0].rules.truncate(1);
        graph.security_groups[0].rules[0].port_min = Some(22);
        graph.security_groups[0].rules[0].port_max = Some(22);
    };
    let mut live = empty();
    live.security_groups = vec![group("live-web", "web", json!([rule]))];
    assert_eq!(
        presence(
            &compared(&live, &request(one)),
            K::SecurityGroup,
            "sample-group-web"
        ),
        same("live-web")
    );

    // One more lets through what was not let through.
    live.security_groups = vec![group(
        "live-web",
        "web",
        json!([rule, { "direction": "ingress", "ethertype": "IPv6" }]),
    )];
    let reason = conflict(
        &compared(&live, &request(one)),
        K::SecurityGroup,
        "sample-group-web",
    );
    assert!(reason.contains("rules"), "{reason}");

    // The same but for the range that it is for.
    let mut other = rule.clone();
    other["remote_ip_prefix"] = "10.0.0.0/8".into();
    live.security_groups = vec![group("live-web", "web", json!([other]))];
    conflict(
        &compared(&live, &request(one)),
        K::SecurityGroup,
        "sample-group-web",
    );
}

#[test]
fn servers_and_volumes_that_are_there_are_in_the_way_unless_renamed() {
    let mut live = empty();
    live.servers = vec![json!({ "id": "other", "name": "db" })];
    live.volumes = vec![json!({ "id": "sample-db-data", "name": "x" })];
    let mut request = request(|_| ());
    let survey = compared(&live, &request);
    assert!(conflict(&survey, K::Server, "sample-db").contains("db"));
    conflict(&survey, K::Volume, "sample-db-data");

    let keys = [(K::Server, "sample-db"), (K::Volume, "sample-db-data")];
    let names = keys.map(|(kind, id)| (ResourceKey::new(kind, id), format!("copy of {id}")));
    request.mapping.names = names.into();
    let survey = compared(&live, &request);
    for (kind, id) in keys {
        assert_eq!(presence(&survey, kind, id), Presence::Absent);
    }
}

#[test]
fn a_floating_ip_that_the_project_kept_is_used_if_it_is_free() {
    let mut live = empty();
    live.floating_ips =
        vec![json!({ "id": "kept", "floating_ip_address": "203.0.113.7", "port_id": null })];
    let survey = compared(&live, &request(|_| ()));
    assert_eq!(
        presence(&survey, K::FloatingIp, "sample-floating"),
        same("kept")
    );

    live.floating_ips[0]["port_id"] = "somewhere".into();
    let survey = compared(&live, &request(|_| ()));
    assert_eq!(
        presence(&survey, K::FloatingIp, "sample-floating"),
        Presence::Absent
    );
    assert!(
        survey
            .notes
            .iter()
            .any(|note| note.contains("leads to something else"))
    );
}

#[test]
fn what_the_cloud_lacks_is_a_problem_that_names_what_it_has() {
    let mut live = empty();
    live.flavors.remove(1);
    live.volume_types = ["slow".to_owned()].into();
    let mut request = request(|graph| graph.servers[0].availability_zone = Some("west".to_owned()));
    let survey = compared(&live, &request);
    let problems: Vec<String> = survey
        .problems
        .iter()
        .map(|p| format!("{}: {}", p.what, p.reason))
        .collect();
    for (what, has) in [
        ("flavor large", "small"),
        ("volume type fast", "slow"),
        ("availability zone west", ""),
    ] {
        assert!(
            problems
                .iter()
                .any(|p| p.starts_with(what) && p.ends_with(has)),
            "{what}: {problems:?}"
        );
    }
    assert_eq!(problems.len(), 3, "{problems:?}");

    request.mapping.flavors = [("large".to_owned(), "small".to_owned())].into();
    request.mapping.volume_types = [("fast".to_owned(), "slow".to_owned())].into();
    request.mapping.availability_zones = [("west".to_owned(), String::new())].into();
    assert_eq!(compared(&live, &request).problems, []);
}

#[test]
fn a_flavor_of_the_same_values_will_do_and_one_that_is_too_small_will_not() {
    let wanted = sample_graph().unwrap().servers[1].flavor.clone();
    let mapping = Default::default();
    let mut renamed = wanted.clone();
    renamed.name = "m1.big".to_owned();
    let other = [LiveFlavor::of("1", renamed.clone())];
    let chosen = flavors::choose(&other, &wanted, &mapping).unwrap();
    assert!(
        flavors::note(chosen, &wanted, "db")
            .unwrap()
            .contains("m1.big")
    );

    let mut shrunk = wanted.clone();
    shrunk.memory_mib = 64;
    let problem = flavors::choose(&[LiveFlavor::of("2", shrunk)], &wanted, &mapping).unwrap_err();
    assert!(problem.reason.contains("2048 MiB"), "{}", problem.reason);
}

#[test]
fn mapping_to_what_is_not_there_is_in_the_way() {
    let mut request = request(|_| ());
    request.mapping.resources = vec![(
        ResourceKey::new(K::Network, "sample-front"),
        "nowhere".to_owned(),
    )];
    let survey = compared(&empty(), &request);
    assert!(conflict(&survey, K::Network, "sample-front").contains("mapped"));
}
