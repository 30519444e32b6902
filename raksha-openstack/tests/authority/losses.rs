//! What becomes of an authority when somebody leaves, loses a role, or takes it back; and that it is told as what it is.

use std::time::Duration;

use raksha_core::authority::{Authority, Delegation, DelegationKind, Standing};
use raksha_core::env::Env;
use raksha_openstack::authority::OpenStackAuthority;
use raksha_openstack::client::{Request, Service};

use crate::site::{Site, everywhere, lost};

const WAYS: [DelegationKind; 2] = [DelegationKind::Trust, DelegationKind::ApplicationCredential];

/// Checks that it is lost, and that who opens it all the same is refused for good.
async fn is_lost(authority: &OpenStackAuthority, delegation: &Delegation, words: &[&str]) {
    let standing = authority.probe(delegation).await.unwrap();
    lost(&standing, words);
    let error = authority.open(delegation).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

async fn is_good(authority: &OpenStackAuthority, delegation: &Delegation) {
    let standing = authority.probe(delegation).await.unwrap();
    assert_eq!(standing, Standing::Good);
    authority.open(delegation).await.unwrap();
}

async fn user_role_and_project(site: &Site, sees: bool) {
    let authority = site.authority();
    let (user, project) = (&site.tenant.user, &site.tenant.project);
    for way in WAYS {
        let lent = site.grant(&authority, way, None).await;
        is_good(&authority, &lent).await;

        site.role("DELETE", user, project, "member").await;
        // Another role, so that it is not the user who has gone.
        site.role("PUT", user, project, "reader").await;
        is_lost(&authority, &lent, &["role member"]).await;
        site.role("PUT", user, project, "member").await;
        is_good(&authority, &lent).await;

        site.enable_user(user, false).await;
        let words: &[&str] = if sees {
            &["is disabled"]
        } else {
            &["disabled", "role member"]
        };
        is_lost(&authority, &lent, words).await;
        site.enable_user(user, true).await;
        is_good(&authority, &lent).await;

        site.enable_project(project, false).await;
        let words: &[&str] = if sees {
            &["the project is disabled"]
        } else {
            &["project", "disabled"]
        };
        is_lost(&authority, &lent, words).await;
        site.enable_project(project, true).await;
        is_good(&authority, &lent).await;
        let token = site.token(&site.tenant).await;
        authority.revoke(&lent, Some(&token)).await.unwrap();
    }
}

#[tokio::test]
async fn a_user_or_project_that_is_disabled_and_a_role_that_is_gone() {
    everywhere(async |site| user_role_and_project(site, false).await).await;
}

#[tokio::test]
async fn a_service_that_may_look_tells_which_of_them() {
    everywhere(async |site| {
        site.role("PUT", &site.service.user, &site.service.project, "admin")
            .await;
        user_role_and_project(site, true).await;
    })
    .await;
}

#[tokio::test]
async fn a_trust_or_credential_that_the_tenant_deleted_and_a_user_who_left() {
    everywhere(async |site| {
        let authority = site.authority();
        let tenant = site.client(&site.tenant).await;
        let user = &site.tenant.user;
        let lists = [
            ("OS-TRUST/trusts".to_owned(), "trusts", "revoked"),
            (
                format!("users/{user}/application_credentials"),
                "application_credentials",
                "deleted",
            ),
        ];
        for (way, (path, key, word)) in WAYS.into_iter().zip(lists) {
            let lent = site.grant(&authority, way, None).await;
            let asked = Request::get(path.as_str()).query("trustor_user_id", user);
            let listed = tenant.send(Service::Identity, asked).await.unwrap().body;
            let id = listed[key][0]["id"].as_str().unwrap();
            let gone = Request::delete(format!("{path}/{id}"));
            tenant.send(Service::Identity, gone).await.unwrap();
            is_lost(&authority, &lent, &[word]).await;
            // It is gone as it should be, whoever asks.
            let token = site.token(&site.tenant).await;
            authority.revoke(&lent, Some(&token)).await.unwrap();
        }
        let mut lent = Vec::new();
        for way in WAYS {
            lent.push(site.grant(&authority, way, None).await);
        }
        site.admin("DELETE", &format!("users/{user}"), serde_json::Value::Null)
            .await;
        for one in &lent {
            is_lost(&authority, one, &["deleted"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_end_is_known_before_and_after() {
    everywhere(async |site| {
        let authority = site.authority();
        for way in WAYS {
            let at = Env::system().now().after(Duration::from_secs(20));
            let lent = site.grant(&authority, way, Some(at)).await;
            let ends = lent.expires.unwrap();
            assert!(
                at.since(ends) < Duration::from_secs(1) && ends.since(at) < Duration::from_secs(1)
            );
            let standing = authority.probe(&lent).await.unwrap();
            assert_eq!(standing, Standing::Expiring { at: ends });
            let left = ends.since(Env::system().now());
            tokio::time::sleep(left + Duration::from_millis(1500)).await;
            is_lost(&authority, &lent, &["it ended"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_operators_role_in_the_project() {
    everywhere(async |site| {
        let authority = site.authority();
        let (user, project) = (&site.service.user, &site.tenant.project);
        site.role("PUT", user, project, "member").await;
        let lent = site.grant(&authority, DelegationKind::Operator, None).await;
        is_good(&authority, &lent).await;
        assert!(lent.principal.contains(user), "{}", lent.principal);
        site.role("DELETE", user, project, "member").await;
        is_lost(&authority, &lent, &["no role in the project"]).await;
    })
    .await;
}
