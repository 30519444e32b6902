//! What graphs of the lab's servers must hold, whether they come from the lab itself or from what was recorded there.

use raksha_core::cloud::{AddressPair, DiskSource, PowerState, ResourceGraph, Server};

fn volumes(server: &Server) -> Vec<(Option<&str>, Option<u32>)> {
    let volumes = server
        .attachments
        .iter()
        .filter(|disk| matches!(disk.source, DiskSource::Volume(_)));
    volumes
        .map(|disk| (disk.device.as_deref(), disk.boot_index))
        .collect()
}

/// A server on a local disk, with a volume and a floating IP.
pub(crate) fn case1(graph: &ResourceGraph) {
    let [server] = graph.servers.as_slice() else {
        panic!("{:?}", graph.servers);
    };
    assert_eq!(server.power, PowerState::Running);
    assert_eq!(server.flavor.name, "raksha.tiny");
    let root = server.attachments.first().unwrap();
    let size = server.flavor.root_gib << 30;
    assert_eq!(
        root.source,
        DiskSource::Local {
            name: "root".to_owned(),
            size
        }
    );
    assert_eq!(root.boot_index, Some(0));
    assert_eq!(volumes(server), [(Some("/dev/vdb"), None)]);
    assert_eq!(graph.volumes[0].name, "case1-data");
    assert_eq!(graph.volumes[0].size, 1 << 30);
    assert_eq!(graph.volumes[0].volume_type.as_deref(), Some("rbd"));
    let image = graph.images.first().unwrap();
    assert_eq!(server.image.as_ref(), Some(&image.id));
    // The other one, if it was backed up and restored before.
    let names = ["raksha-guest", "root disk of case1, restored"];
    assert!(names.contains(&image.name.as_str()), "{}", image.name);
    assert_eq!(
        image
            .properties
            .get("hw_qemu_guest_agent")
            .map(String::as_str),
        Some("yes")
    );
    let [address] = graph.floating_ips.as_slice() else {
        panic!("{:?}", graph.floating_ips);
    };
    assert_eq!(address.port.as_ref(), server.ports.first());
    let outside = graph.networks.iter().find(|n| n.id == address.network);
    assert!(outside.unwrap().external);
}

/// A server on a volume, with two more, and everything that it hangs on.
pub(crate) fn case2(graph: &ResourceGraph) {
    let [server] = graph.servers.as_slice() else {
        panic!("{:?}", graph.servers);
    };
    assert_eq!(server.image, None);
    let expected = [
        (Some("/dev/vda"), Some(0)),
        (Some("/dev/vdb"), None),
        (Some("/dev/vdc"), None),
    ];
    assert_eq!(volumes(server), expected);
    assert_eq!(server.attachments.len(), 3, "no local disk");
    let names: Vec<&str> = server
        .attachments
        .iter()
        .filter_map(|disk| match &disk.source {
            DiskSource::Volume(id) => graph.volumes.iter().find(|v| v.id == *id),
            DiskSource::Local { .. } => None,
        })
        .map(|volume| volume.name.as_str())
        .collect();
    assert_eq!(names, ["case2-root", "case2-a", "case2-b"]);
    let root = graph.volumes.iter().find(|v| v.name == "case2-root");
    let root = root.unwrap();
    assert!(root.bootable);
    assert!(root.image_metadata.contains_key("hw_qemu_guest_agent"));

    let [port] = graph.ports.as_slice() else {
        panic!("{:?}", graph.ports);
    };
    assert_eq!(port.fixed_ips.len(), 1);
    let network = graph.networks.iter().find(|n| n.id == port.network);
    assert_eq!(network.unwrap().name, "private");
    let [subnet] = graph.subnets.as_slice() else {
        panic!("{:?}", graph.subnets);
    };
    assert_eq!(subnet.cidr, "10.77.0.0/24");
    assert_eq!(subnet.pools.len(), 1);
    let [router] = graph.routers.as_slice() else {
        panic!("{:?}", graph.routers);
    };
    assert_eq!(router.name, "r1");
    assert_eq!(router.interfaces.len(), 1);
    assert_eq!(router.interfaces[0].subnet, subnet.id);
    assert_eq!(Some(&router.interfaces[0].address), subnet.gateway.as_ref());
    let gateway = graph
        .networks
        .iter()
        .find(|n| Some(&n.id) == router.gateway.as_ref());
    assert!(gateway.unwrap().external);
    let group = graph.security_groups.iter().find(|g| g.name == "lab");
    let rules = &group.unwrap().rules;
    assert!(
        rules
            .iter()
            .any(|rule| rule.protocol.as_deref() == Some("icmp"))
    );
    assert!(rules.iter().any(|rule| rule.port_min == Some(22)));
    let omitted: Vec<&str> = graph.omissions.iter().map(|o| o.what.as_str()).collect();
    assert!(
        omitted.iter().any(|what| what.starts_with("the user data")),
        "a member is not told user data, and that is said: {omitted:?}"
    );
}

/// A server that has everything that a tenant can give it.
pub(crate) fn everything(graph: &ResourceGraph, name: &str) {
    let called = |what: &str| format!("{name}-{what}");
    let server = &graph.servers[0];
    assert_eq!(server.description.as_deref(), Some("has everything"));
    assert!(server.config_drive);
    assert_eq!(server.metadata.len(), 2);
    assert_eq!(server.metadata["empty"], "");
    assert_eq!(server.tags.len(), 2);
    assert_eq!(server.key_pair.as_ref().unwrap().as_str(), called("key"));
    assert!(graph.key_pairs[0].public_key.starts_with("ssh-"));
    let group = &graph.server_groups[0];
    assert_eq!(server.server_group.as_ref(), Some(&group.id));
    assert_eq!(
        (group.name.as_str(), group.policy.as_str()),
        (called("apart").as_str(), "soft-anti-affinity")
    );

    let [root, data] = server.attachments.as_slice() else {
        panic!("{:?}", server.attachments);
    };
    assert!(matches!(root.source, DiskSource::Local { .. }));
    assert_eq!(data.tag.as_deref(), Some("data"));
    assert!(data.delete_on_termination);
    assert_eq!(data.boot_index, None);
    assert_eq!(graph.volumes[0].description.as_deref(), Some("precious"));
    assert_eq!(graph.volumes[0].metadata["of"], name);

    let ports: Vec<_> = server
        .ports
        .iter()
        .map(|id| graph.ports.iter().find(|port| port.id == *id).unwrap())
        .collect();
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(
        names,
        [called("first"), called("second")],
        "as the guest sees them"
    );
    assert_eq!(ports[0].tags, ["raksha-port"]);
    assert!(ports[0].port_security && !ports[1].port_security);
    assert!(ports[1].security_groups.is_empty());
    let pair = |address: &str, mac: Option<&str>| AddressPair {
        address: address.to_owned(),
        mac: mac.map(str::to_owned),
    };
    let mut pairs = ports[0].allowed_address_pairs.clone();
    pairs.sort_by(|a, b| a.address.cmp(&b.address));
    assert_eq!(
        pairs,
        [
            pair("10.78.2.100", None),
            pair("10.78.2.101", Some("fa:16:3e:99:99:99"))
        ]
    );

    let group = |what: &str| {
        graph
            .security_groups
            .iter()
            .find(|g| g.name == called(what))
            .unwrap()
    };
    let (web, db) = (group("web"), group("db"));
    assert_eq!(ports[0].security_groups, std::slice::from_ref(&web.id));
    let rule = web
        .rules
        .iter()
        .find(|rule| rule.remote_group.is_some())
        .unwrap();
    assert_eq!(rule.remote_group.as_ref(), Some(&db.id));
    assert_eq!(
        (rule.port_min, rule.port_max, rule.protocol.as_deref()),
        (Some(5432), Some(5432), Some("tcp"))
    );

    let network = |what: &str| {
        graph
            .networks
            .iter()
            .find(|n| n.name == called(what))
            .unwrap()
    };
    let zulu = network("zulu");
    assert_eq!(network("alpha").mtu, Some(1400));
    assert_eq!(zulu.description.as_deref(), Some("first for the guest"));
    let subnet = graph.subnets.iter().find(|s| s.network == zulu.id).unwrap();
    assert!(!subnet.dhcp);
    assert_eq!(subnet.gateway, None);
    assert_eq!(subnet.dns, ["10.78.0.53", "10.78.0.54"]);
    assert_eq!(subnet.routes[0].destination, "192.168.7.0/24");
    assert!(graph.routers.is_empty() && graph.floating_ips.is_empty());
}
