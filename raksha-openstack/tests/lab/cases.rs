//! The shapes of workload that the lab has.

use raksha_core::cloud::ResourceGraph;

use crate::{cloud, discover, named, shapes};

#[tokio::test]
async fn a_server_on_a_local_disk_with_a_volume_and_a_floating_ip() {
    let cloud = cloud("raksha-demo").await;
    shapes::case1(&discover(&cloud, vec![named("case1")]).await);
}

#[tokio::test]
async fn a_server_on_a_volume_with_further_volumes_and_everything_that_it_hangs_on() {
    let cloud = cloud("raksha-demo").await;
    shapes::case2(&discover(&cloud, vec![named("case2")]).await);
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
