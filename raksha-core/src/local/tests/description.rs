//! What the description may say, and what becomes of it.

use super::bench::Bench;
use crate::cloud::{DiskId, ResourceDiscovery, Selection, ServerSelector};
use crate::env::Env;
use crate::local::{LocalCloud, NewServer};
use crate::testkit::cloud::sample_graph;

#[tokio::test]
async fn the_documented_example_is_a_cloud() {
    let bench = Bench::empty().await;
    let text = include_str!("../example.json");
    std::fs::write(bench.cloud.path().join("cloud.json"), text).unwrap();
    let cloud = LocalCloud::open(bench.cloud.path(), Env::system())
        .await
        .unwrap();
    let selection = Selection(vec![ServerSelector::Name("web".to_owned())]);
    let graph = cloud.discover(&selection).await.unwrap();
    assert_eq!(graph.disks().unwrap().len(), 2);
    assert_eq!(graph.networks.len(), 1);
}

#[tokio::test]
async fn a_cloud_says_what_was_said_of_it() {
    let mut graph = sample_graph().unwrap();
    graph.servers[0].raw = serde_json::json!({ "mine": [1, { "two": null }] });
    let bench = Bench::with(graph.clone()).await;
    assert_eq!(bench.cloud.graph().await.unwrap(), graph);
    let again = LocalCloud::open(bench.cloud.path(), Env::system())
        .await
        .unwrap();
    assert_eq!(again.graph().await.unwrap(), graph);
}

#[tokio::test]
async fn a_selection_brings_what_its_servers_use_and_no_more() {
    let mut graph = sample_graph().unwrap();
    graph.routers[0]
        .interfaces
        .push(crate::cloud::RouterInterface {
            subnet: "sample-back-v4".into(),
            address: "10.2.0.1".to_owned(),
        });
    let bench = Bench::with(graph).await;
    let selection = Selection(vec![ServerSelector::Name("db".to_owned())]);
    let db = bench.cloud.discover(&selection).await.unwrap();
    db.check().unwrap();
    let names = |of: &[&str]| -> Vec<String> { of.iter().map(|s| (*s).to_owned()).collect() };
    let found: Vec<String> = db.resources().map(|r| r.key().to_string()).collect();
    let wanted = names(&[
        // The router leads outside, and it has a side on the server's subnet.
        "network sample-outside",
        "network sample-back",
        "subnet sample-back-v4",
        "router sample-router",
        // A rule of the server's group refers to the other.
        "security group sample-group-web",
        "security group sample-group-db",
        "volume sample-db-root",
        "volume sample-db-data",
        "port sample-db-port",
        "server sample-db",
    ]);
    assert_eq!(found, wanted);
    assert_eq!(db.routers[0].interfaces.len(), 1);
}

#[tokio::test]
async fn servers_in_few_words_share_networks() {
    let bench = Bench::empty().await;
    for (name, address) in [("a", "10.0.0.5"), ("b", "10.0.0.6")] {
        let server = NewServer::new(name)
            .local_disk("root", 1 << 20)
            .volume("data", 2 << 20)
            .on_network("private", "10.0.0.0/24", address);
        bench.cloud.add_server(server).await.unwrap();
    }
    let graph = bench.cloud.graph().await.unwrap();
    assert_eq!(graph.networks.len(), 1);
    assert_eq!(graph.disks().unwrap().len(), 4);
    let disk = DiskId::Volume(graph.volumes[0].id.clone());
    bench
        .cloud
        .write_disk(&disk, 5, "hello".into())
        .await
        .unwrap();
    let clash = NewServer::new("c").on_network("private", "10.0.0.0/24", "10.0.0.5");
    let refused = bench.cloud.add_server(clash).await.unwrap_err();
    assert!(refused.to_string().contains("10.0.0.5"), "{refused}");
    assert_eq!(bench.cloud.graph().await.unwrap(), graph);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_many_at_once_are_all_kept() {
    let bench = Bench::empty().await;
    let adding = (0..20).map(|i| {
        let path = bench.cloud.path().to_owned();
        tokio::spawn(async move {
            let cloud = LocalCloud::open(path, Env::system()).await.unwrap();
            cloud
                .add_server(NewServer::new(format!("s{i}")))
                .await
                .unwrap();
        })
    });
    for added in adding.collect::<Vec<_>>() {
        added.await.unwrap();
    }
    assert_eq!(bench.cloud.graph().await.unwrap().servers.len(), 20);
}
