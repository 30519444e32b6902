//! The contract, by each way.

use raksha_core::Kind;
use raksha_core::authority::{Authority, DelegationKind, Grant, SealingKey};
use raksha_core::env::Env;
use raksha_core::id::{DelegationId, ProjectId};
use raksha_core::testkit::{AuthorityCase, check_authority};
use raksha_openstack::authority::{AuthorityOptions, OpenStackAuthority};
use raksha_openstack::client::{Request, Service};
use raksha_openstack::testkit::Options;

use crate::site::{PASSWORD, Site, everywhere};

async fn case(site: &Site, kind: DelegationKind) -> AuthorityCase {
    AuthorityCase {
        kind,
        project: ProjectId::new(site.tenant.project.as_str()),
        credential: site.token(&site.tenant).await,
        foreign: site.token(&site.foreign).await,
    }
}

#[tokio::test]
async fn each_way_keeps_the_contract() {
    everywhere(async |site| {
        let authority = site.authority();
        check_authority(&authority, case(site, DelegationKind::Trust).await).await;
        let credential = case(site, DelegationKind::ApplicationCredential).await;
        check_authority(&authority, credential).await;
        let (user, project) = (&site.service.user, &site.tenant.project);
        site.role("PUT", user, project, "member").await;
        check_authority(&authority, case(site, DelegationKind::Operator).await).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_granted_is_no_more_than_backups_need() {
    everywhere(async |site| {
        let user = &site.tenant.user;
        site.role("PUT", user, &site.tenant.project, "admin").await;
        let authority = site.authority();
        let trust = site.grant(&authority, DelegationKind::Trust, None).await;
        let tenant = site.client(&site.tenant).await;
        let asked = Request::get("OS-TRUST/trusts").query("trustor_user_id", user);
        let listed = tenant.send(Service::Identity, asked).await.unwrap().body;
        let id = listed["trusts"][0]["id"].as_str().unwrap().to_owned();
        let one = Request::get(format!("OS-TRUST/trusts/{id}"));
        let one = tenant.send(Service::Identity, one).await.unwrap().body;
        let roles = one["trust"]["roles"].as_array().unwrap();
        let names: Vec<&str> = roles
            .iter()
            .filter_map(|role| role["name"].as_str())
            .collect();
        assert_eq!(names, ["member"], "an administrator lends that alone");
        assert_eq!(one["trust"]["trustee_user_id"], site.service.user.as_str());
        assert!(
            trust.principal.contains(user) && trust.principal.contains(&id),
            "{}",
            trust.principal
        );
        // As the tenant, by the trust itself, nobody of the tenant being there.
        authority.revoke(&trust, None).await.unwrap();
        let listed = Request::get("OS-TRUST/trusts").query("trustor_user_id", user);
        let listed = tenant.send(Service::Identity, listed).await.unwrap().body;
        assert_eq!(listed["trusts"].as_array().unwrap().len(), 0);

        let credential = site
            .grant(&authority, DelegationKind::ApplicationCredential, None)
            .await;
        let path = format!("users/{user}/application_credentials");
        let listed = tenant
            .send(Service::Identity, Request::get(path))
            .await
            .unwrap()
            .body;
        let [one] = listed["application_credentials"]
            .as_array()
            .unwrap()
            .as_slice()
        else {
            panic!("{listed}")
        };
        let roles = one["roles"].as_array().unwrap();
        assert_eq!((roles.len(), &roles[0]["name"]), (1, &"member".into()));
        assert_ne!(one["unrestricted"], true);
        assert!(one["access_rules"].is_array(), "{one}");
        // Only its user can end it, and who cannot is told so.
        let error = authority.revoke(&credential, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.to_string().contains("token"), "{error}");
        let token = site.token(&site.tenant).await;
        authority.revoke(&credential, Some(&token)).await.unwrap();
    })
    .await;
}

/// The lab's services know them all; how those that do not answer was seen there, and `devcloud_like_the_real_one` compares refusals.
#[tokio::test]
async fn services_that_know_no_access_rules_are_named_and_nothing_is_left() {
    for service in [
        Service::Compute,
        Service::BlockStorage,
        Service::Image,
        Service::Network,
    ] {
        let mut options = Options::default();
        options.without_access_rules = vec![service];
        let site = Site::test_cloud(options).await;
        let authority = site.authority();
        let case = case(&site, DelegationKind::ApplicationCredential).await;
        let grant = Grant {
            id: DelegationId::from_bytes([3; 16]),
            project: &case.project,
            kind: case.kind,
            credential: Some(&case.credential),
            expires: None,
        };
        let error = authority.grant(grant).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        let said = error.to_string();
        let named = format!("service {service}");
        assert!(
            said.contains(&named) && said.contains("service_type"),
            "{said}"
        );
        let tenant = site.client(&site.tenant).await;
        let path = format!("users/{}/application_credentials", site.tenant.user);
        let listed = tenant
            .send(Service::Identity, Request::get(path))
            .await
            .unwrap()
            .body;
        assert_eq!(
            listed["application_credentials"].as_array().unwrap().len(),
            0
        );
    }
}

#[tokio::test]
async fn one_that_another_key_sealed_does_not_open_and_no_secret_is_told() {
    everywhere(async |site| {
        let authority = site.authority();
        let trust = site.grant(&authority, DelegationKind::Trust, None).await;
        let config =
            raksha_openstack::config::CloudConfig::clone(site.client(&site.service).await.config());
        let key = SealingKey::new(&[6; 32]).unwrap();
        let other =
            OpenStackAuthority::new(config, key, AuthorityOptions::default(), Env::system());
        let error = other.open(&trust).await.unwrap_err();
        assert_eq!(error.kind(), Kind::WrongKey, "{error}");

        let wrong = site.authority_with("hush-of-nobody");
        let refused = wrong.open(&trust).await.unwrap_err();
        let standing = wrong.probe(&trust).await.unwrap();
        crate::site::lost(&standing, &["the service itself"]);
        let json = serde_json::to_string(&trust).unwrap();
        let token = site.token(&site.tenant).await;
        let shown =
            format!("{authority:?} {wrong:?} {trust:?} {json} {error:?} {refused:?} {standing}");
        for secret in [PASSWORD, "hush-of-nobody", token.expose()] {
            assert!(!shown.contains(secret), "{shown}");
        }
        authority.revoke(&trust, None).await.unwrap();
    })
    .await;
}
