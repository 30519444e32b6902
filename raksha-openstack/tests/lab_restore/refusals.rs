//! What others may not do.

use raksha_core::Kind;
use raksha_core::cloud::{
    IdMap, ResourceKey, ResourceKind as K, ResourceRef, ResourceRestorer, RestoreRequest,
};
use raksha_core::testkit::cloud::{Notebook, sample_graph};

use crate::lab::{config, connect, everything, make, mark, tenant};
use raksha_openstack::client::Service;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn another_project_can_neither_see_nor_use_nor_remove_what_is_demos() {
    let mark = mark();
    let demo = connect(&config("raksha-demo"), tenant()).await;
    let other = connect(&config("raksha-other"), tenant()).await;
    let body = json!({ "name": format!("restore-{mark}-net") });
    let network = make(&demo, Service::Network, "networks", "network", body).await;

    let mut request = RestoreRequest::default();
    let sample = sample_graph().unwrap();
    request.graph.networks = vec![sample.networks[1].clone()];
    request.graph.subnets = vec![sample.subnets[0].clone()];
    let key = ResourceKey::new(K::Network, "sample-front");
    request.mapping.resources = vec![(key.clone(), network.clone())];
    let survey = other.survey(&request).await.unwrap();
    let found = survey
        .findings
        .iter()
        .find(|finding| finding.key == key)
        .unwrap();
    let said = format!("{found:?}");
    assert!(
        said.contains("Conflict") && said.contains("may not see"),
        "{said}"
    );

    // Whoever does not ask first is refused by the cloud.
    let mut ids = IdMap::default();
    ids.insert(key.clone(), network.as_str());
    let notebook = Notebook::new();
    let subnet = ResourceRef::Subnet(&request.graph.subnets[0]);
    let refused = other
        .create(subnet, &request, &ids, &notebook)
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused.kind(),
            Kind::NotFound | Kind::Denied | Kind::Invalid
        ),
        "{refused}"
    );
    assert_eq!(
        notebook.open(),
        [],
        "what certainly was not made is not kept in mind"
    );

    let created = raksha_core::cloud::Created {
        key,
        id: network.clone(),
    };
    other.remove(&created).await.unwrap();
    assert_eq!(everything(&demo, &mark).await.len(), 1, "it is still there");
    demo.remove(&created).await.unwrap();
    demo.remove(&created).await.unwrap();
    assert_eq!(everything(&demo, &mark).await, Vec::<String>::new());
}
