//! The suites of the testkit, run against the local cloud.

use super::bench::Bench;
use crate::cloud::RestoreRequest;
use crate::testkit::cloud::{
    DiscoveryFacts, check_discovery, check_restorer, check_snapshots, check_writer, sample_graph,
};

#[tokio::test]
async fn discovery() {
    let mut graph = sample_graph().unwrap();
    let facts = DiscoveryFacts {
        servers: graph
            .servers
            .iter()
            .map(|s| (s.id.clone(), s.name.clone()))
            .collect(),
        ambiguous: Some("twin".to_owned()),
        tag: Some(("sample".to_owned(), vec!["sample-web".into()])),
    };
    for id in ["twin-1", "twin-2"] {
        let mut twin = graph.servers[0].clone();
        (twin.id, twin.name) = (id.into(), "twin".to_owned());
        twin.attachments.clear();
        twin.ports.clear();
        twin.tags.clear();
        graph.servers.push(twin);
    }
    let bench = Bench::with(graph).await;
    check_discovery(&bench.cloud, &facts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots() {
    for seed in 0..2 {
        let bench = Bench::with(sample_graph().unwrap()).await;
        check_snapshots(&bench, seed).await.unwrap();
    }
}

#[tokio::test]
async fn writer() {
    for seed in 0..2 {
        check_writer(&Bench::empty().await, seed).await.unwrap();
    }
}

#[tokio::test]
async fn restorer_into_an_empty_cloud() {
    let request = RestoreRequest {
        graph: sample_graph().unwrap(),
        ..RestoreRequest::default()
    };
    check_restorer(&Bench::empty().await, &request, 1)
        .await
        .unwrap();
}

#[tokio::test]
async fn restorer_beside_other_servers_that_use_the_same_networks() {
    let request = RestoreRequest {
        graph: sample_graph().unwrap(),
        ..RestoreRequest::default()
    };
    let mut there = sample_graph().unwrap();
    there.servers.remove(1);
    there.ports.truncate(2);
    let mut other = there.servers.remove(0);
    (other.id, other.name) = ("other".into(), "other".to_owned());
    other.attachments.truncate(1);
    other.ports = vec!["other-port".into()];
    there.servers.push(other);
    // It has an id that the restore would like to have.
    there.volumes.truncate(1);
    there.ports.truncate(1);
    there.ports[0].id = "other-port".into();
    there.ports[0].mac = "fa:16:3e:00:00:99".to_owned();
    there.ports[0].fixed_ips[0].address = "10.1.0.99".to_owned();
    there.floating_ips.clear();
    let bench = Bench::with(there).await;
    check_restorer(&bench, &request, 2).await.unwrap();
}
