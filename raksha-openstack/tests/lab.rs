//! The client and discovery against the lab's real OpenStack (see `tests/lab/README.md`), as a tenant with plain member rights.
//!
//! Needs the feature `lab`, the services, and the servers of `tests/lab/openstack-cases.sh`. `RAKSHA_LAB_CLOUDS` names another `clouds.yaml` than
//! the lab's own.

use std::path::PathBuf;

use raksha_core::Kind;
use raksha_core::cloud::{
    DiskSource, PowerState, ResourceDiscovery, ResourceGraph, Selection, Server, ServerSelector,
};
use raksha_core::env::Env;
use raksha_core::id::ServerId;
use raksha_core::testkit::cloud::{DiscoveryFacts, check_discovery};
use raksha_openstack::client::{Microversion, Request, Service};
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::{OpenStack, OpenStackOptions};
use serde_json::json;

fn config(cloud: &str) -> CloudConfig {
    let variable = std::env::var_os("RAKSHA_LAB_CLOUDS");
    let file = variable.map_or("/var/lib/raksha-lab/clouds.yaml".into(), PathBuf::from);
    assert!(
        file.is_file(),
        "no lab: {} is not there; start it with tests/lab/openstack-up.sh, or set RAKSHA_LAB_CLOUDS",
        file.display()
    );
    let sources = Sources::default().variable("OS_CLIENT_CONFIG_FILE", file.to_str().unwrap());
    CloudConfig::named(cloud, &sources).unwrap()
}

async fn cloud(name: &str) -> OpenStack {
    let connected =
        OpenStack::connect(&config(name), OpenStackOptions::default(), Env::system()).await;
    connected.unwrap_or_else(|error| panic!("the lab's OpenStack does not answer: {error}"))
}

async fn discover(cloud: &OpenStack, selectors: Vec<ServerSelector>) -> ResourceGraph {
    let graph = cloud.discover(&Selection(selectors)).await.unwrap();
    graph.check().unwrap();
    graph
}

fn named(name: &str) -> ServerSelector {
    ServerSelector::Name(name.to_owned())
}

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

#[tokio::test]
async fn discovery_keeps_its_contract() {
    let cloud = cloud("raksha-demo").await;
    let client = cloud.client();
    let mut servers: Vec<(ServerId, String)> = Vec::new();
    for name in ["case1", "case2", "case3a", "case3b"] {
        let graph = discover(&cloud, vec![named(name)]).await;
        servers.push((graph.servers[0].id.clone(), name.to_owned()));
    }
    // The suite needs a tag; servers of the lab carry none unless this gives one.
    let tag = "raksha-client-conformance";
    let tagged = servers[1].0.clone();
    let tags = format!("servers/{tagged}/tags/{tag}");
    let microversion = Microversion::new(2, 26);
    let put = Request::put(tags.clone(), json!(null)).microversion(microversion);
    client.send(Service::Compute, put).await.unwrap();
    let facts = DiscoveryFacts {
        servers,
        ambiguous: None,
        tag: Some((tag.to_owned(), vec![tagged])),
    };
    let verdict = check_discovery(&cloud, &facts).await;
    let delete = Request::delete(tags).microversion(microversion);
    client.send(Service::Compute, delete).await.unwrap();
    verdict.unwrap();
}

#[tokio::test]
async fn another_tenant_finds_nothing_of_it() {
    let demo = cloud("raksha-demo").await;
    let other = cloud("raksha-other").await;
    let graph = discover(&demo, vec![named("case2")]).await;
    let id = graph.servers[0].id.to_string();
    for selector in [
        ServerSelector::Id(id.clone()),
        ServerSelector::IdOrName(id),
        named("case2"),
    ] {
        let found = other.discover(&Selection(vec![selector])).await;
        assert_eq!(found.unwrap_err().kind(), Kind::NotFound);
    }
    let everything = discover(&other, vec![ServerSelector::All]).await;
    let seen = |server: &Server| server.name.starts_with("case");
    assert!(!everything.servers.iter().any(seen));
}

#[tokio::test]
async fn an_administrator_sees_more_of_his_own_and_no_servers_of_others() {
    let demo = cloud("raksha-demo").await;
    let admin = cloud("raksha-admin").await;
    let graph = discover(&demo, vec![named("case2")]).await;
    let id = graph.servers[0].id.to_string();
    let found = admin
        .discover(&Selection(vec![ServerSelector::Id(id)]))
        .await;
    let error = found.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("another project"), "{error}");
}

#[tokio::test]
async fn every_service_answers_with_its_own_words_and_a_request_id() {
    let cloud = cloud("raksha-demo").await;
    let client = cloud.client();
    assert_eq!(client.principal().project.name, "demo");
    assert!(client.principal().roles.contains(&"member".to_owned()));
    let nobody = "00000000-0000-0000-0000-000000000000";
    for (service, path) in [
        (Service::Compute, format!("servers/{nobody}")),
        (Service::BlockStorage, format!("volumes/{nobody}")),
        (Service::Image, format!("images/{nobody}")),
        (Service::Network, format!("networks/{nobody}")),
    ] {
        let error = client.send(service, Request::get(path)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        let text = error.to_string();
        assert!(text.contains("the cloud says"), "{text}");
        assert!(text.contains("request id req-"), "{text}");
        assert!(text.contains(nobody), "{text}");
    }
    for (service, range) in [
        (Service::Compute, true),
        (Service::BlockStorage, true),
        (Service::Network, false),
    ] {
        let found = client.microversions(service).await.unwrap();
        assert_eq!(found.is_some(), range, "{service}: {found:?}");
    }
}
