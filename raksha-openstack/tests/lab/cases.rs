//! The shapes of workload that the lab has.

use raksha_core::cloud::{DiskSource, PowerState, ResourceGraph, Server};

use crate::{cloud, discover, named};

fn volumes(server: &Server) -> Vec<(Option<&str>, Option<u32>)> {
    let volumes = server
        .attachments
        .iter()
        .filter(|disk| matches!(disk.source, DiskSource::Volume(_)));
    volumes
        .map(|disk| (disk.device.as_deref(), disk.boot_index))
        .collect()
}

#[tokio::test]
async fn a_server_on_a_local_disk_with_a_volume_and_a_floating_ip() {
    let cloud = cloud("raksha-demo").await;
    let graph = discover(&cloud, vec![named("case1")]).await;
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
    assert_eq!(image.name, "raksha-guest");
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

#[tokio::test]
async fn a_server_on_a_volume_with_further_volumes_and_everything_that_it_hangs_on() {
    let cloud = cloud("raksha-demo").await;
    let graph = discover(&cloud, vec![named("case2")]).await;
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

#[tokio::test]
async fn several_servers_share_what_they_share() {
    let cloud = cloud("raksha-demo").await;
    let graph = discover(&cloud, vec![named("case3a"), named("case3b")]).await;
    assert_eq!(graph.servers.len(), 2);
    assert_eq!(graph.ports.len(), 2);
    assert_eq!(graph.subnets.len(), 1);
    let stored = serde_json::to_string(&graph).unwrap();
    let read: ResourceGraph = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, graph);
}
