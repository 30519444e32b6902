//! The contract of discovery, and who may see what.

use raksha_core::Kind;
use raksha_core::cloud::{ResourceDiscovery, Selection, Server, ServerSelector};
use raksha_core::id::ServerId;
use raksha_core::testkit::cloud::{DiscoveryFacts, check_discovery};
use raksha_openstack::client::{Microversion, Request, Service};
use serde_json::json;

use crate::{cloud, discover, named};

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
