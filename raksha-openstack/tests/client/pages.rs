//! Lists that come page by page.

use raksha_core::Kind;
use raksha_openstack::client::{Request, Service};
use serde_json::{Value, json};

use crate::server::{Reply, Server};

fn numbers(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn all_pages_are_fetched_in_each_service_s_way() {
    // The links lead to hosts that must not be asked.
    let link = "http://elsewhere.invalid/whatever?marker=2&limit=2";
    for (service, page) in [
        (
            Service::Compute,
            json!({"things": [1, 2], "things_links": [{"rel": "previous", "href": "http://x.invalid/?marker=0"}, {"rel": "next", "href": link}]}),
        ),
        (
            Service::Identity,
            json!({"things": [1, 2], "links": {"next": link, "self": "http://x.invalid/"}}),
        ),
        (
            Service::Image,
            json!({"things": [1, 2], "next": "/v2/things?marker=2&limit=2", "first": "/v2/things"}),
        ),
    ] {
        let last = json!({"things": [3], "links": {"next": null}});
        let server = Server::start(move |seen, _| {
            let later = seen.target.ends_with("/things?marker=2&limit=2");
            Reply::Json(200, if later { last.clone() } else { page.clone() })
        })
        .await;
        let client = server.client().await;
        let request = Request::get("things").query("limit", 2);
        let items = client.list(service, request, "things").await.unwrap();
        assert_eq!(numbers(&items), [1, 2, 3], "{service}");
        assert_eq!(server.seen().len(), 2, "{service}");
    }
}

#[tokio::test]
async fn a_list_whose_place_was_lost_is_begun_anew() {
    let server = Server::start(|seen, n| match n {
        1 => Reply::Json(
            200,
            json!({"things": [1, 2], "next": "/v2/things?marker=2"}),
        ),
        2 => Reply::Json(
            400,
            json!({"badRequest": {"message": "marker [2] not found"}}),
        ),
        3 => Reply::Json(
            200,
            json!({"things": [1, 3], "next": "/v2/things?marker=3"}),
        ),
        _ => {
            assert!(seen.target.ends_with("marker=3"));
            Reply::Json(200, json!({"things": [4]}))
        }
    })
    .await;
    let client = server.client().await;
    let listed = client.list(Service::Image, Request::get("things"), "things");
    assert_eq!(numbers(&listed.await.unwrap()), [1, 3, 4]);
}

#[tokio::test]
async fn pages_that_make_no_sense_are_refused() {
    let circle = json!({"things": [1], "next": "/v2/things?marker=1"});
    for (page, kind) in [
        (circle, Kind::Corrupt),
        (json!({"things": 7}), Kind::Corrupt),
        (json!({"others": []}), Kind::Corrupt),
        (json!([]), Kind::Corrupt),
    ] {
        let server = Server::start(move |_, _| Reply::Json(200, page.clone())).await;
        let client = server.client().await;
        let listed = client.list(Service::Image, Request::get("things"), "things");
        assert_eq!(listed.await.unwrap_err().kind(), kind);
        assert!(server.seen().len() <= 2);
    }
}
