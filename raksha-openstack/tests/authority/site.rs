//! A cloud with two tenants and a service.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use raksha_core::Timestamp;
use raksha_core::authority::{Authority, Delegation, DelegationKind, Grant, SealingKey, Standing};
use raksha_core::cloud::SecretText;
use raksha_core::env::Env;
use raksha_core::id::{DelegationId, ProjectId};
use raksha_openstack::Secret;
use raksha_openstack::auth::{Auth, Project, Scope, User};
use raksha_openstack::authority::{AuthorityOptions, OpenStackAuthority};
use raksha_openstack::client::{Client, Request, Service};
use raksha_openstack::config::CloudConfig;
use raksha_openstack::testkit::{DevCloud, Options};
use serde_json::{Value, json};

/// Nobody's password but the service's.
pub(crate) const PASSWORD: &str = "hush-of-the-service";

pub(crate) struct Site {
    admin: Client,
    config: CloudConfig,
    prefix: String,
    pub(crate) tenant: Account,
    pub(crate) foreign: Account,
    pub(crate) service: Account,
    /// The test cloud, if it is that.
    cloud: Option<DevCloud>,
}

/// A user with a project.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) project: String,
}

/// Plays a scenario on the test cloud and, where there is one, on the real one.
pub(crate) async fn everywhere(scenario: impl AsyncFn(&Site)) {
    scenario(&Site::test_cloud(Options::default()).await).await;
    if cfg!(feature = "lab") {
        let site = Site::new(lab(), None).await;
        let played = AssertUnwindSafe(scenario(&site)).catch_unwind().await;
        site.remove().await;
        if let Err(panic) = played {
            std::panic::resume_unwind(panic);
        }
    }
}

fn lab() -> CloudConfig {
    let variable = std::env::var("RAKSHA_LAB_CLOUDS");
    let file = variable.unwrap_or_else(|_| "/var/lib/raksha-lab/clouds.yaml".to_owned());
    let there = std::path::Path::new(&file).is_file();
    assert!(
        there,
        "no lab: {file} is not there; start it with tests/lab/openstack-up.sh, or set RAKSHA_LAB_CLOUDS"
    );
    let sources =
        raksha_openstack::config::Sources::default().variable("OS_CLIENT_CONFIG_FILE", &file);
    CloudConfig::named("raksha-admin", &sources).unwrap()
}

impl Site {
    /// On a test cloud of its own.
    pub(crate) async fn test_cloud(options: Options) -> Self {
        let cloud = DevCloud::start(options).await.unwrap();
        Self::new(cloud.cloud_config("admin"), Some(cloud)).await
    }

    async fn new(config: CloudConfig, cloud: Option<DevCloud>) -> Self {
        let admin = Client::connect(&config, Env::system()).await.unwrap();
        let drawn: [u8; 4] = Env::system().random().unwrap();
        let prefix = format!("authority-{:08x}", u32::from_le_bytes(drawn));
        let nobody = Account {
            user: String::new(),
            project: String::new(),
        };
        let mut site = Self {
            admin,
            config,
            prefix,
            tenant: nobody.clone(),
            foreign: nobody.clone(),
            service: nobody,
            cloud,
        };
        site.tenant = site.account("tenant").await;
        site.foreign = site.account("foreign").await;
        site.service = site.account("service").await;
        site
    }

    async fn account(&self, name: &str) -> Account {
        let name = format!("{}-{name}", self.prefix);
        let body = json!({"project": {"name": name, "domain_id": "default"}});
        let project = self.admin("POST", "projects", body).await["project"]["id"].clone();
        let body = json!({"user": {"name": name, "domain_id": "default", "password": PASSWORD}});
        let user = self.admin("POST", "users", body).await["user"]["id"].clone();
        let text = |id: Value| id.as_str().unwrap().to_owned();
        let account = Account {
            user: text(user),
            project: text(project),
        };
        self.role("PUT", &account.user, &account.project, "member")
            .await;
        account
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let request = match method {
            "POST" => Request::post(path, body),
            "PUT" => Request::put(path, body),
            "PATCH" => Request::patch(path, body),
            "DELETE" => Request::delete(path),
            _ => Request::get(path),
        };
        let answer = self.admin.send(Service::Identity, request).await;
        answer
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
            .body
    }

    /// Gives or takes a role.
    pub(crate) async fn role(&self, method: &str, user: &str, project: &str, role: &str) {
        let roles = self.admin("GET", "roles", Value::Null).await;
        let mut roles = roles["roles"].as_array().unwrap().iter();
        let found = roles.find(|one| one["name"] == role).unwrap();
        let id = found["id"].as_str().unwrap();
        let path = format!("projects/{project}/users/{user}/roles/{id}");
        self.admin(method, &path, json!({})).await;
        self.pause().await;
    }

    /// Keystone reckons in seconds: what it gives out within the second in which it took something back counts as taken back.
    async fn pause(&self) {
        if self.cloud.is_none() {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }

    pub(crate) async fn enable_user(&self, user: &str, enabled: bool) {
        let body = json!({"user": {"enabled": enabled}});
        self.admin("PATCH", &format!("users/{user}"), body).await;
        self.pause().await;
    }

    pub(crate) async fn enable_project(&self, project: &str, enabled: bool) {
        let body = json!({"project": {"enabled": enabled}});
        self.admin("PATCH", &format!("projects/{project}"), body)
            .await;
        self.pause().await;
    }

    fn config_of(&self, account: &Account, password: &str) -> CloudConfig {
        let mut config = self.config.clone();
        config.auth = Auth::Password {
            user: User::Id(account.user.clone()),
            password: Secret::new(password.to_owned()),
            scope: Scope::Project(Project::Id(account.project.clone())),
        };
        config
    }

    pub(crate) async fn client(&self, account: &Account) -> Client {
        let config = self.config_of(account, PASSWORD);
        Client::connect(&config, Env::system()).await.unwrap()
    }

    /// What proves that one is this account.
    pub(crate) async fn token(&self, account: &Account) -> SecretText {
        let source = self.client(account).await.token_source(Service::Identity);
        source.token().await.unwrap().value
    }

    pub(crate) fn authority(&self) -> OpenStackAuthority {
        self.authority_with(PASSWORD)
    }

    pub(crate) fn authority_with(&self, password: &str) -> OpenStackAuthority {
        let key = SealingKey::new(&[5; 32]).unwrap();
        let config = self.config_of(&self.service, password);
        OpenStackAuthority::new(config, key, AuthorityOptions::default(), Env::system())
    }

    /// A delegation of the tenant's project.
    pub(crate) async fn grant(
        &self,
        authority: &OpenStackAuthority,
        kind: DelegationKind,
        expires: Option<Timestamp>,
    ) -> Delegation {
        let token = self.token(&self.tenant).await;
        let project = ProjectId::new(self.tenant.project.as_str());
        let id = DelegationId::random(&Env::system()).unwrap();
        let grant = Grant {
            id,
            project: &project,
            kind,
            credential: Some(&token),
            expires,
        };
        let made = authority.grant(grant).await.unwrap();
        Delegation {
            id,
            project,
            kind,
            principal: made.principal,
            created: Env::system().now(),
            expires: made.expires,
            sealed: Some(made.sealed),
        }
    }

    async fn remove(&self) {
        for (kind, key) in [("users", "users"), ("projects", "projects")] {
            let all = self.admin("GET", kind, Value::Null).await;
            for one in all[key].as_array().unwrap() {
                let name = one["name"].as_str().unwrap_or_default();
                if name.starts_with(&self.prefix) {
                    let id = one["id"].as_str().unwrap();
                    self.admin("DELETE", &format!("{kind}/{id}"), Value::Null)
                        .await;
                }
            }
        }
    }
}

/// Checks that it is lost, for a reason that has all these words, with a remedy.
#[track_caller]
pub(crate) fn lost(standing: &Standing, words: &[&str]) {
    let Standing::Lost { reason, remedy } = standing else {
        panic!("it is {standing}")
    };
    for word in words {
        assert!(reason.contains(word), "no {word:?} in {reason:?}");
    }
    assert!(!remedy.is_empty());
}
