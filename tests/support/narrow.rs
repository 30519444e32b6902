//! What an application credential of a delegation is good for beyond backups: nothing.

use raksha_core::Kind;
use raksha_core::env::Env;
use raksha_openstack::Secret;
use raksha_openstack::auth::{ApplicationCredential, Auth};
use raksha_openstack::client::{Client, Request, Service};
use serde_json::{Value, json};

fn path(somebody: &Client) -> String {
    let user = somebody.principal().user.id;
    format!("users/{user}/application_credentials")
}

async fn ask(somebody: &Client, request: Request) -> Value {
    let answer = somebody.send(Service::Identity, request).await;
    answer.unwrap().body
}

/// The application credentials of somebody's that a delegation rests on, as Keystone shows them.
pub async fn credentials(somebody: &Client, delegation: &str) -> Vec<Value> {
    let listed = ask(somebody, Request::get(path(somebody))).await;
    let listed = listed["application_credentials"].as_array().unwrap().iter();
    let name = format!("raksha-{delegation}");
    let own = |one: &&Value| one["name"].as_str().unwrap().starts_with(&name);
    listed.filter(own).cloned().collect()
}

/// Checks that the rules of a delegation's credential let nobody do what no backup does. The secret of that one is sealed, so another is made with the same rules.
///
/// If the cloud does not keep rules, this may delete `server`, but other requests are tried first.
///
/// # Panics
/// If it is good for more.
pub async fn is_narrow(somebody: &Client, env: &Env, delegation: &str, server: &str) {
    let own = credentials(somebody, delegation).await;
    let [own] = own.as_slice() else {
        panic!("the delegation rests on {own:?}")
    };
    let secret = "known-to-the-test";
    let body = json!({ "application_credential": {
        "name": format!("{}-known", own["name"].as_str().unwrap()),
        "secret": secret,
        "access_rules": own["access_rules"],
    } });
    let made = ask(somebody, Request::post(path(somebody), body)).await;
    let id = made["application_credential"]["id"].as_str().unwrap();
    let mut config = somebody.config().clone();
    config.auth = Auth::ApplicationCredential {
        credential: ApplicationCredential::Id(id.to_owned()),
        secret: Secret::new(secret.to_owned()),
    };
    let narrow = Client::connect(&config, env.clone()).await.unwrap();
    for (service, list) in [
        (Service::Compute, "servers"),
        (Service::BlockStorage, "volumes"),
        (Service::Image, "images"),
        (Service::Network, "networks"),
    ] {
        let request = Request::get(list).query("limit", 1);
        narrow.send(service, request).await.unwrap();
    }
    let of_server = format!("servers/{server}");
    let nothing = || json!({});
    let beyond = [
        (Service::Compute, Request::get("os-keypairs")),
        (
            Service::Compute,
            Request::get(format!("{of_server}/metadata")),
        ),
        (Service::BlockStorage, Request::get("backups")),
        (Service::Compute, Request::post("servers", nothing())),
        (Service::Image, Request::post("images", nothing())),
        (Service::Network, Request::post("ports", nothing())),
        (Service::Compute, Request::delete("os-keypairs/x")),
        (Service::Network, Request::delete("networks/x")),
        (Service::Compute, Request::delete(of_server)),
    ];
    for (service, request) in beyond {
        let what = format!("{request:?}");
        let error = narrow.send(service, request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{what}: {error}");
    }
    let gone = format!("{}/{id}", path(somebody));
    ask(somebody, Request::delete(gone)).await;
}
