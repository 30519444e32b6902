//! The suite for restorers, in a project of its own.

use async_trait::async_trait;
use raksha_core::Result;
use raksha_core::cloud::{
    DiskReader, DiskSource, ResourceDiscovery, ResourceGraph, ResourceKey, ResourceKind as K,
    ResourceRestorer, RestoreRequest, Selection, ServerSelector,
};
use raksha_core::disk_file::FileReader;
use raksha_core::env::Env;
use raksha_core::id::ServerId;
use raksha_core::testkit::cloud::{RestoreBench, check_restorer, sample_graph};
use raksha_openstack::OpenStack;
use raksha_openstack::auth::{Auth, Project as OfProject, Scope, User};
use raksha_openstack::client::{Request, Service};
use raksha_openstack::{OpenStackOptions, Secret};
use serde_json::json;

use crate::lab::{config, connect, delete, everything, local_root, mark, operator, tenant, volume};
use crate::original::{KEY, external};

/// A project of one's own, with a user who is a plain member.
struct Project {
    admin: OpenStack,
    project: String,
    user: String,
    name: String,
}

impl Project {
    async fn new() -> Self {
        let admin = connect(&config("raksha-admin"), OpenStackOptions::default()).await;
        let name = format!("restore-{}", mark());
        let make = async |path: &str, key: &'static str, body| {
            let request = Request::post(path, json!({ key: body }));
            let made = admin
                .client()
                .send(Service::Identity, request)
                .await
                .unwrap();
            made.take(key).unwrap()["id"].as_str().unwrap().to_owned()
        };
        let project = make(
            "projects",
            "project",
            json!({ "name": name, "domain_id": "default" }),
        )
        .await;
        let body = json!({ "name": name, "domain_id": "default", "password": "restore" });
        let user = make("users", "user", body).await;
        let roles = Request::get("roles").query("name", "member");
        let roles = admin
            .client()
            .list(Service::Identity, roles, "roles")
            .await
            .unwrap();
        let role = roles[0]["id"].as_str().unwrap();
        let grant = Request::put(
            format!("projects/{project}/users/{user}/roles/{role}"),
            json!({}),
        );
        admin.client().send(Service::Identity, grant).await.unwrap();
        Self {
            admin,
            project,
            user,
            name,
        }
    }

    async fn cloud(&self, options: OpenStackOptions) -> OpenStack {
        let mut config = config("raksha-demo");
        let Auth::Password {
            user,
            password,
            scope,
            ..
        } = &mut config.auth
        else {
            panic!("the lab's clouds are reached by password");
        };
        *user = User::Id(self.user.clone());
        *password = Secret::new("restore".to_owned());
        *scope = Scope::Project(OfProject::Id(self.project.clone()));
        connect(&config, options).await
    }

    async fn delete(self) {
        // Neutron makes a group for every project.
        let groups = Request::get("security-groups").query("project_id", &self.project);
        for group in self
            .admin
            .client()
            .list(Service::Network, groups, "security_groups")
            .await
            .unwrap()
        {
            delete(
                &self.admin,
                Service::Network,
                &format!("security-groups/{}", group["id"].as_str().unwrap()),
            )
            .await;
        }
        delete(
            &self.admin,
            Service::Identity,
            &format!("users/{}", self.user),
        )
        .await;
        delete(
            &self.admin,
            Service::Identity,
            &format!("projects/{}", self.project),
        )
        .await;
    }
}

#[derive(Debug)]
struct Bench {
    cloud: OpenStack,
    point: ResourceGraph,
}

#[async_trait]
impl RestoreBench for Bench {
    fn restorer(&self) -> &dyn ResourceRestorer {
        &self.cloud
    }

    fn discovery(&self) -> &dyn ResourceDiscovery {
        &self.cloud
    }

    async fn read(&self, server: &ServerId, slot: usize) -> Result<Box<dyn DiskReader>> {
        let all = Selection(vec![ServerSelector::Id(server.to_string())]);
        let live = self.cloud.discover(&all).await?;
        let live = &live.servers[0];
        let point = self
            .point
            .servers
            .iter()
            .find(|s| s.name == live.name)
            .unwrap();
        // The cloud counts in GiB: what is compared is as long as the point's disk.
        let size = match &point.attachments[slot].source {
            DiskSource::Local { size, .. } => *size,
            DiskSource::Volume(id) => {
                self.point
                    .volumes
                    .iter()
                    .find(|v| v.id == *id)
                    .unwrap()
                    .size
            }
        };
        let file = match &live.attachments[slot].source {
            DiskSource::Local { .. } => local_root(live.id.as_str()),
            DiskSource::Volume(id) => volume(id.as_str()),
        };
        let opened = std::fs::File::options()
            .read(true)
            .write(true)
            .open(file.path())
            .unwrap();
        opened.set_len(size).unwrap();
        let reader = FileReader::of(opened, file.path(), Env::system()).await?;
        Ok(Box::new(reader))
    }

    fn starts_what_it_creates(&self) -> bool {
        true
    }
}

/// The suite's sample, as far as the lab's operator offers what it needs.
async fn sample(cloud: &OpenStack) -> RestoreRequest {
    let mut graph = sample_graph().unwrap();
    graph.key_pairs[0].public_key = KEY.to_owned();
    graph.networks[2].mtu = Some(1400);
    let tiny = graph
        .servers
        .iter()
        .map(|s| (s.flavor.name.clone(), "raksha.tiny".to_owned()));
    let mut request = RestoreRequest::default();
    request.mapping.flavors = tiny.collect();
    request.mapping.volume_types = [("fast".to_owned(), "rbd".to_owned())].into();
    for volume in &mut graph.volumes {
        volume.volume_type = Some("fast".to_owned());
    }
    let outside = ResourceKey::new(K::Network, "sample-outside");
    request.mapping.resources = vec![(outside, external(cloud).await)];
    request.graph = graph;
    request
}

async fn conforms(options: OpenStackOptions) {
    let project = Project::new().await;
    let cloud = project.cloud(options).await;
    let request = sample(&cloud).await;
    let bench = Bench {
        point: request.graph.clone(),
        cloud: cloud.clone(),
    };
    let verdict = check_restorer(&bench, &request, 7).await;
    let name = project.name.clone();
    let left = everything(&cloud, "sample").await;
    if verdict.is_ok() {
        project.delete().await;
    }
    verdict.unwrap_or_else(|breach| panic!("{breach:?} (project {name} is left to look at)"));
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_conforms() {
    conforms(tenant()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_conforms() {
    conforms(operator()).await;
}
