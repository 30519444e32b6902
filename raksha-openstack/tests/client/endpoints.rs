//! Where requests go, and in which version they are asked.

use raksha_core::Kind;
use raksha_openstack::client::{Client, Microversion, Request, Service};
use serde_json::{Value, json};

use crate::server::{Reply, Server, options};

/// A server whose `service` is in the catalog at `path`, and answers `documents` at their paths.
async fn cloud(
    service: &str,
    path: &str,
    documents: Vec<(&'static str, u16, Value)>,
) -> (Server, Client) {
    let server = Server::start(move |seen, _| {
        let document = documents.iter().find(|(path, ..)| *path == seen.target);
        match document {
            Some((_, status, document)) => Reply::Json(*status, document.clone()),
            None => Reply::ok(),
        }
    })
    .await;
    let url = format!("{}{path}", server.url);
    server.keystone().urls.insert(service.to_owned(), url);
    let client = server.client().await;
    (server, client)
}

fn listed(id: &str, href: &str) -> Value {
    json!({"id": id, "status": "CURRENT", "links": [{"rel": "self", "href": href}]})
}

#[tokio::test]
async fn endpoints_with_and_without_versions_and_projects_work() {
    // As Debian's packages, devstack's proxy and older clouds have them; links name a host that must not be asked.
    let glance = json!({"versions": [listed("v2.16", "http://internal.invalid:9292/v2/")]});
    let cinder = json!({"versions": [listed("v3.0", "http://internal.invalid/v3/")]});
    let nova = json!({"versions": [listed("v2.0", "http://i.invalid/v2/"), listed("v2.1", "http://i.invalid/compute/v2.1/")]});
    for (service, name, path, documents, expected) in [
        (
            Service::Compute,
            "compute",
            "/v2.1",
            vec![],
            "/v2.1/things/1",
        ),
        (
            Service::Compute,
            "compute",
            "/nova/v2.1/p1",
            vec![],
            "/nova/v2.1/p1/things/1",
        ),
        (
            Service::Compute,
            "compute",
            "/nova/v2/p1",
            vec![("/nova/", 200, nova)],
            "/nova/v2.1/p1/things/1",
        ),
        (
            Service::Image,
            "image",
            "",
            vec![("/", 300, glance.clone())],
            "/v2/things/1",
        ),
        (
            Service::Image,
            "image",
            "/image/",
            vec![("/image/", 300, glance)],
            "/image/v2/things/1",
        ),
        (
            Service::Image,
            "image",
            "/image",
            vec![("/image/", 404, json!({}))],
            "/image/v2/things/1",
        ),
        (
            Service::BlockStorage,
            "volumev3",
            "/v3/p1",
            vec![],
            "/v3/p1/things/1",
        ),
        (
            Service::BlockStorage,
            "volumev3",
            "/v3",
            vec![],
            "/v3/p1/things/1",
        ),
        (
            Service::BlockStorage,
            "volumev3",
            "/volume",
            vec![("/volume/", 300, cinder)],
            "/volume/v3/p1/things/1",
        ),
        (
            Service::ObjectStore,
            "object-store",
            "/v1/AUTH_p1",
            vec![],
            "/v1/AUTH_p1/things/1",
        ),
    ] {
        let (server, client) = cloud(name, path, documents).await;
        for _ in 0..2 {
            let sent = client.send(service, Request::get("things/1")).await;
            sent.unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let seen: Vec<String> = server.seen().into_iter().map(|seen| seen.target).collect();
        let asked = seen.iter().filter(|target| *target == expected).count();
        assert_eq!(asked, 2, "{path}: {seen:?}");
        assert!(
            seen.len() <= 3,
            "a version document is asked for once: {seen:?}"
        );
    }
}

#[tokio::test]
async fn an_override_beats_the_catalog() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let mut config = server.config();
    let url = format!("{}/mine/v2.0", server.url).parse().unwrap();
    config.endpoint_overrides.insert("network".to_owned(), url);
    let env = raksha_core::env::Env::system();
    let client = Client::connect_with(&config, options(), env).await.unwrap();
    client
        .send(Service::Network, Request::get("ports"))
        .await
        .unwrap();
    assert_eq!(server.seen()[0].target, "/mine/v2.0/ports");
}

#[tokio::test]
async fn a_service_of_another_version_is_refused() {
    let old = json!({"versions": [listed("v1.0", "http://h/v1/"), listed("v2.0", "http://h/v2/")]});
    let (_server, client) = cloud("volumev3", "/volume", vec![("/volume/", 300, old)]).await;
    let sent = client.send(Service::BlockStorage, Request::get("volumes"));
    let error = sent.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("it has v1, v2"), "{error}");
}

#[tokio::test]
async fn a_microversion_is_asked_for_if_the_service_speaks_it() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let client = server.client().await;
    let versions = client.microversions(Service::Compute).await.unwrap();
    assert_eq!(
        versions,
        Some((Microversion::new(2, 1), Microversion::new(2, 93)))
    );
    assert_eq!(client.microversions(Service::Network).await.unwrap(), None);
    let asking = |minor| Request::get("servers").microversion(Microversion::new(2, minor));
    client.send(Service::Compute, asking(79)).await.unwrap();
    let volumes = Request::get("volumes").microversion(Microversion::new(3, 27));
    client.send(Service::BlockStorage, volumes).await.unwrap();
    let error = client.send(Service::Compute, asking(94)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(
        error
            .to_string()
            .contains("needed 2.94, it has 2.1 to 2.93"),
        "{error}"
    );
    let nothing = client.send(Service::Network, asking(1)).await.unwrap_err();
    assert_eq!(nothing.kind(), Kind::Unsupported);
    let seen = server.seen();
    assert_eq!(seen.len(), 2, "what is not spoken is not sent");
    assert_eq!(seen[0].header("openstack-api-version"), "compute 2.79");
    assert_eq!(seen[0].header("x-openstack-nova-api-version"), "2.79");
    assert_eq!(seen[1].header("openstack-api-version"), "volume 3.27");
    assert_eq!(
        client
            .at_most(Service::Compute, Microversion::new(2, 99))
            .await
            .unwrap(),
        Some(Microversion::new(2, 93))
    );
}

#[tokio::test]
async fn a_microversion_below_the_lowest_becomes_the_lowest() {
    let nova =
        json!({"version": {"id": "v2.1", "version": "2.200", "min_version": "2.100", "links": []}});
    let document = json!({"versions": [listed("v2.1", "http://h/v2.1/")]});
    let documents = vec![("/n/v2.1/", 200, nova), ("/n/", 200, document)];
    let (server, client) = cloud("compute", "/n/v2.1", documents).await;
    let request = Request::get("servers").microversion(Microversion::new(2, 79));
    client.send(Service::Compute, request).await.unwrap();
    let seen = server.seen();
    let asked = seen.iter().find(|seen| seen.target == "/n/v2.1/servers");
    // The id says which document it is even without a link.
    assert_eq!(
        asked.unwrap().header("openstack-api-version"),
        "compute 2.100"
    );
}

#[tokio::test]
async fn ids_stay_in_their_place() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let client = server.client().await;
    for path in ["servers/..", "servers//x", "servers/.", "", "servers/"] {
        let sent = client.send(Service::Compute, Request::get(path)).await;
        assert_eq!(sent.unwrap_err().kind(), Kind::Invalid, "{path}");
    }
    let request = Request::get("os-keypairs/my key?all=1#é%2f").query("q", "a&b=c");
    client.send(Service::Compute, request).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].target,
        "/compute/v2.1/os-keypairs/my%20key%3Fall=1%23%C3%A9%252f?q=a%26b%3Dc"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(|_, _| Reply::ok()).await;
    let target = format!("{}/compute/v2.1/servers", other.url);
    let server = Server::start(move |_, _| Reply::with(302, &[("Location", &target)], "")).await;
    let client = server.client().await;
    let sent = client.send(Service::Compute, Request::get("servers")).await;
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("endpoint"), "{error}");
    assert!(other.seen().is_empty(), "the token stays here");
}
