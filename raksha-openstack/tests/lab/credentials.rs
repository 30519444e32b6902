//! Every way to get a token, on a real Keystone.

use raksha_core::Kind;
use raksha_core::env::Env;
use raksha_openstack::Secret;
use raksha_openstack::auth::{ApplicationCredential, Auth, Project, Scope};
use raksha_openstack::client::{Client, Request, Service};
use serde_json::json;

use crate::{config, unique};

async fn connect(cloud: &str, auth: Option<Auth>) -> raksha_core::Result<Client> {
    let mut config = config(cloud);
    if let Some(auth) = auth {
        config.auth = auth;
    }
    Client::connect(&config, Env::system()).await
}

/// The token that `client` has now.
async fn token(client: &Client) -> Secret {
    let token = client.token_source(Service::Network).token().await.unwrap();
    Secret::new(token.value.expose().to_owned())
}

async fn works(client: &Client) -> bool {
    let sent = client
        .send(Service::Network, Request::get("networks"))
        .await;
    sent.is_ok()
}

#[tokio::test]
async fn a_token_is_exchanged_for_one_of_a_project() {
    let demo = connect("raksha-demo", None).await.unwrap();
    let project = Project::Id(demo.principal().project.id);
    let auth = Auth::Token {
        token: token(&demo).await,
        scope: Scope::Project(project),
    };
    let client = connect("raksha-demo", Some(auth)).await.unwrap();
    assert_eq!(client.principal(), demo.principal());
    assert!(works(&client).await);
}

#[tokio::test]
async fn an_application_credential_opens_its_project() {
    let demo = connect("raksha-demo", None).await.unwrap();
    let name = unique("credential");
    let users = format!("users/{}/application_credentials", demo.principal().user.id);
    let body = json!({"application_credential": {"name": name, "secret": "of-the-lab"}});
    let made = demo.send(Service::Identity, Request::post(users.clone(), body));
    let made = made.await.unwrap().take("application_credential").unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    let auth = |secret: &str| Auth::ApplicationCredential {
        credential: ApplicationCredential::Id(id.clone()),
        secret: Secret::new(secret.to_owned()),
    };
    let client = connect("raksha-demo", Some(auth("of-the-lab"))).await;
    let refused = connect("raksha-demo", Some(auth("of-nobody"))).await;
    let worked = match &client {
        Ok(client) => works(client).await,
        Err(_) => false,
    };
    let gone = demo.send(Service::Identity, Request::delete(format!("{users}/{id}")));
    gone.await.unwrap();
    assert!(worked, "{client:?}");
    assert_eq!(
        client.unwrap().principal().project,
        demo.principal().project
    );
    assert_eq!(refused.unwrap_err().kind(), Kind::Unauthenticated);
}

#[tokio::test]
async fn a_trust_lends_one_user_another_s_project() {
    let demo = connect("raksha-demo", None).await.unwrap();
    let other = connect("raksha-other", None).await.unwrap();
    let trust = json!({"trust": {
        "trustor_user_id": demo.principal().user.id, "trustee_user_id": other.principal().user.id,
        "project_id": demo.principal().project.id, "roles": [{"name": "member"}], "impersonation": false}});
    let made = demo.send(Service::Identity, Request::post("OS-TRUST/trusts", trust));
    let made = made.await.unwrap().take("trust").unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    let Auth::Password { user, password, .. } = config("raksha-other").auth else {
        panic!("the lab's users have passwords");
    };
    let auth = Auth::Password {
        user,
        password,
        scope: Scope::Trust(id.clone()),
    };
    let client = connect("raksha-other", Some(auth)).await;
    let worked = match &client {
        Ok(client) => works(client).await,
        Err(_) => false,
    };
    let gone = Request::delete(format!("OS-TRUST/trusts/{id}"));
    demo.send(Service::Identity, gone).await.unwrap();
    assert!(worked, "{client:?}");
    let principal = client.unwrap().principal();
    assert_eq!(principal.project, demo.principal().project);
    assert_eq!(principal.user, other.principal().user);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_renewed_while_work_goes_on() {
    let demo = connect("raksha-demo", None).await.unwrap();
    let stale = token(&demo).await;
    let revoke = Request::delete("auth/tokens").header("X-Subject-Token", stale.expose());
    demo.send(Service::Identity, revoke).await.unwrap();
    // Services keep what they verified for a while; Keystone itself does not.
    let user = format!("users/{}", demo.principal().user.id);
    demo.send(Service::Identity, Request::get(user))
        .await
        .unwrap();
    assert_ne!(token(&demo).await, stale);
}

#[tokio::test]
async fn a_wrong_password_is_named_as_what_it_is() {
    let mut auth = config("raksha-demo").auth;
    if let Auth::Password { password, .. } = &mut auth {
        *password = Secret::new("battery-staple".to_owned());
    }
    let error = connect("raksha-demo", Some(auth)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert!(error.to_string().contains("cloud raksha-demo"), "{error}");
    assert!(!error.to_string().contains("staple"), "{error}");
}
