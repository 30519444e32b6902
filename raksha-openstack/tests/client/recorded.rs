//! Discovery on what the lab's services answered, word for word, with the ids of then; and on the same with something changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use raksha_core::cloud::{
    DiskSource, PowerState, ResourceDiscovery, ResourceGraph, Selection, ServerSelector,
};
use raksha_core::env::Env;
use raksha_core::{Kind, Result};
use raksha_openstack::{OpenStack, OpenStackOptions};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use crate::server::{Reply, Seen, Server, options};
use crate::shapes;

const EVERYTHING: &str = "client-everything-bfc31280";

/// What the services know.
struct Recording {
    user: String,
    project: String,
    /// The texts of servers, since the order of networks in them tells something.
    servers: BTreeMap<String, String>,
    things: Value,
    /// Paths (beginnings) that are answered with an error.
    refused: Vec<(&'static str, u16)>,
    nova: &'static str,
}

impl Recording {
    fn load() -> Self {
        #[derive(Deserialize)]
        struct Texts {
            servers: Vec<Box<RawValue>>,
        }
        let text = include_str!("recorded.json");
        let things: Value = serde_json::from_str(text).unwrap();
        let texts: Texts = serde_json::from_str(text).unwrap();
        let id_of = |server: &RawValue| {
            let server: Value = serde_json::from_str(server.get()).unwrap();
            server["id"].as_str().unwrap().to_owned()
        };
        let servers = texts.servers.iter();
        Self {
            user: things["user"].as_str().unwrap().to_owned(),
            project: things["project"].as_str().unwrap().to_owned(),
            servers: servers
                .map(|server| (id_of(server), server.get().to_owned()))
                .collect(),
            things,
            refused: Vec::new(),
            nova: "2.93",
        }
    }

    /// Changes the server of this name; the order of its networks is lost.
    fn change_server(&mut self, name: &str, change: impl Fn(&mut Value)) {
        for text in self.servers.values_mut() {
            let mut server: Value = serde_json::from_str(text).unwrap();
            if server["name"] == name {
                change(&mut server);
                *text = server.to_string();
            }
        }
    }

    fn list(&mut self, key: &str) -> &mut Vec<Value> {
        self.things[key].as_array_mut().unwrap()
    }

    fn answer(&self, seen: &Seen) -> Reply {
        let url = Url::parse("http://h").unwrap().join(&seen.target).unwrap();
        let path = url.path();
        if let Some((_, status)) = self
            .refused
            .iter()
            .find(|(start, _)| path.starts_with(start))
        {
            return Reply::Json(*status, json!({"error": {"message": "as the test says"}}));
        }
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let found = match parts.as_slice() {
            ["compute", _, "servers", "detail"] => Some(self.servers(&query)),
            ["compute", _, "servers"] => Some(self.servers(&[])),
            ["compute", _, "servers", id] => {
                let server = self.servers.get(*id);
                server.map(|text| format!("{{\"server\": {text}}}"))
            }
            ["compute", _, "servers", id, "os-volume_attachments"] => {
                let listed = &self.things["attachments"][id];
                Some(json!({"volumeAttachments": listed}).to_string())
            }
            ["compute", _, "os-server-groups"] => {
                Some(json!({"server_groups": self.things["server_groups"]}).to_string())
            }
            ["compute", _, "os-keypairs", name] => self.one("keypairs", "keypair", "name", name),
            ["compute", _, "flavors", id] => self.one("flavors", "flavor", "id", id),
            ["compute", _, "flavors", _, "os-extra_specs"] => {
                Some(json!({"extra_specs": {"hw:mem_page_size": "small"}}).to_string())
            }
            ["volumev3", _, _, "volumes", "detail"] => {
                Some(json!({"volumes": self.things["volumes"]}).to_string())
            }
            ["volumev3", _, _, "volumes", id] => self.one("volumes", "volume", "id", id),
            ["image", _, "images", id] => self.find("images", "id", id).map(Value::to_string),
            ["network", _, "qos", "policies"] => Some(self.filtered("policies", &query)),
            ["network", _, list] => Some(self.filtered(&list.replace('-', "_"), &query)),
            _ => None,
        };
        match found {
            Some(found) => Reply::with(200, &[("Content-Type", "application/json")], &found),
            None => Reply::Json(404, json!({"itemNotFound": {"message": "not recorded"}})),
        }
    }

    fn servers(&self, query: &[(String, String)]) -> String {
        let tagged = |text: &&String| {
            let server: Value = serde_json::from_str(text).unwrap();
            query
                .iter()
                .filter(|(key, _)| key == "tags")
                .all(|(_, tag)| server["tags"].as_array().unwrap().contains(&json!(tag)))
        };
        let texts: Vec<&str> = self
            .servers
            .values()
            .filter(tagged)
            .map(String::as_str)
            .collect();
        format!("{{\"servers\": [{}]}}", texts.join(","))
    }

    fn find(&self, list: &str, key: &str, value: &str) -> Option<&Value> {
        let mut things = self.things[list].as_array()?.iter();
        things.find(|thing| thing[key] == value)
    }

    fn one(&self, list: &str, wrapped: &str, key: &str, value: &str) -> Option<String> {
        let found = self.find(list, key, value)?;
        Some(json!({ wrapped: found }).to_string())
    }

    /// As Neutron filters: any of the values of a key, for each of the keys.
    fn filtered(&self, list: &str, query: &[(String, String)]) -> String {
        let keys: std::collections::BTreeSet<&String> = query.iter().map(|(key, _)| key).collect();
        let matches = |thing: &&Value| {
            keys.iter().all(|key| {
                let mut values = query.iter().filter(|(other, _)| other == *key);
                values.any(|(_, value)| thing[key.as_str()] == *value)
            })
        };
        let things = self.things[list].as_array();
        let found: Vec<&Value> = things.into_iter().flatten().filter(matches).collect();
        json!({ list: found }).to_string()
    }

    async fn cloud(self) -> (Server, OpenStack) {
        let (user, project, nova) = (self.user.clone(), self.project.clone(), self.nova);
        let recording = Arc::new(self);
        let server = Server::start(move |seen, _| recording.answer(seen)).await;
        {
            let mut keystone = server.keystone();
            keystone.user = user;
            keystone.project = project;
            keystone.nova = nova.to_owned();
        }
        let client = server.client_with(options()).await;
        let cloud = OpenStack::with_client(client, OpenStackOptions::default(), Env::system());
        (server, cloud)
    }

    async fn try_discover(self, selector: ServerSelector) -> Result<ResourceGraph> {
        let (_server, cloud) = self.cloud().await;
        cloud.discover(&Selection(vec![selector])).await
    }

    async fn discover(self, name: &str) -> ResourceGraph {
        let graph = self.try_discover(named(name)).await.unwrap();
        graph.check().unwrap();
        graph
    }
}

fn named(name: &str) -> ServerSelector {
    ServerSelector::Name(name.to_owned())
}

fn omitted<'a>(graph: &'a ResourceGraph, what: &str) -> &'a str {
    let found = graph.omissions.iter().find(|o| o.what.starts_with(what));
    let found = found.unwrap_or_else(|| panic!("{what} is not in {:?}", graph.omissions));
    &found.reason
}

#[tokio::test]
async fn the_lab_s_servers_are_understood() {
    shapes::case1(&Recording::load().discover("case1").await);
    shapes::case2(&Recording::load().discover("case2").await);
    shapes::everything(&Recording::load().discover(EVERYTHING).await, EVERYTHING);
}

#[tokio::test]
async fn a_whole_project_takes_few_requests() {
    let (server, cloud) = Recording::load().cloud().await;
    let all = Selection(vec![ServerSelector::All]);
    let graph = cloud.discover(&all).await.unwrap();
    graph.check().unwrap();
    assert_eq!(graph.servers.len(), 5);
    assert_eq!(graph.volumes.len(), 7);
    // One for servers, five for their attachments, one each for: groups, key pair, image, volumes; ports, networks twice, subnets, interfaces twice,
    // routers, addresses, security groups and those that they name.
    assert_eq!(server.seen().len(), 20);
    assert_eq!(cloud.discover(&all).await.unwrap(), graph);
}

#[tokio::test]
async fn nothing_that_was_said_is_lost() {
    let recording = Recording::load();
    let texts = recording.servers.clone();
    let ports = recording.things["ports"].as_array().unwrap().clone();
    let graph = recording.discover(EVERYTHING).await;
    let server = &graph.servers[0];
    let said: Value = serde_json::from_str(&texts[server.id.as_str()]).unwrap();
    for (key, value) in said.as_object().unwrap() {
        assert_eq!(&server.raw[key], value, "{key}");
    }
    assert!(server.raw["os-volume_attachments"][0]["volumeId"].is_string());
    for port in &graph.ports {
        assert!(ports.contains(&port.raw));
    }
}

#[tokio::test]
async fn what_may_not_be_seen_is_left_out_and_said_so() {
    let mut recording = Recording::load();
    recording.refused = vec![
        ("/compute/v2.1/os-server-groups", 403),
        ("/compute/v2.1/os-keypairs/", 404),
        ("/image/v2/images/", 403),
        ("/network/v2.0/routers", 404),
        ("/network/v2.0/floatingips", 403),
        ("/network/v2.0/security-groups", 403),
    ];
    let (_server, cloud) = recording.cloud().await;
    let found = cloud.discover(&Selection(vec![ServerSelector::All])).await;
    let graph = found.unwrap();
    graph.check().unwrap();
    let reason = omitted(&graph, "server groups");
    assert!(reason.contains("policy"), "{reason}");
    for what in [
        "key pair ",
        "image ",
        "routers",
        "floatingips",
        "security group",
    ] {
        omitted(&graph, what);
    }
    assert!(
        graph
            .servers
            .iter()
            .all(|s| s.key_pair.is_none() && s.image.is_none())
    );
    assert!(graph.ports.iter().all(|p| p.security_groups.is_empty()));
    assert_eq!(graph.servers.len(), 5);
}

#[tokio::test]
async fn where_attachments_may_not_be_listed_the_server_tells_less() {
    let mut recording = Recording::load();
    let id = recording
        .servers
        .iter()
        .find(|(_, text)| text.contains("\"case2\""))
        .unwrap()
        .0
        .clone();
    let path = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
    recording.refused = vec![(path.leak(), 403)];
    let graph = recording.discover("case2").await;
    omitted(&graph, "device names");
    let server = &graph.servers[0];
    assert_eq!(server.attachments.len(), 3);
    // Only one of them can be booted from.
    assert_eq!(server.attachments[0].boot_index, Some(0));
    let root = graph
        .volumes
        .iter()
        .find(|v| v.name == "case2-root")
        .unwrap();
    assert_eq!(
        server.attachments[0].source,
        DiskSource::Volume(root.id.clone())
    );
}

#[tokio::test]
async fn a_service_that_fails_is_no_omission() {
    for path in [
        "/compute/v2.1/os-server-groups",
        "/network/v2.0/routers",
        "/volumev3/v3/",
    ] {
        let mut recording = Recording::load();
        recording.refused = vec![(path, 500)];
        let error = recording.try_discover(named("case2")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{path}");
    }
}

#[tokio::test]
async fn references_to_what_is_hidden_are_cut() {
    let mut recording = Recording::load();
    recording
        .list("volumes")
        .retain(|volume| volume["name"] != "case2-a");
    recording.list("subnets").clear();
    recording
        .list("networks")
        .retain(|network| network["name"] != "public");
    let graph = recording.discover("case2").await;
    omitted(&graph, "volume ");
    omitted(&graph, "subnet ");
    omitted(&graph, "network ");
    assert_eq!(graph.servers[0].attachments.len(), 2);
    assert!(graph.ports[0].fixed_ips.is_empty());
    assert_eq!(graph.routers[0].gateway, None);
    assert!(graph.routers[0].interfaces.is_empty());

    let mut recording = Recording::load();
    recording.list("networks").clear();
    let graph = recording.discover("case1").await;
    assert!(graph.ports.is_empty() && graph.servers[0].ports.is_empty());
}

#[tokio::test]
async fn a_key_pair_of_the_same_name_may_be_another_user_s() {
    let mut recording = Recording::load();
    recording.change_server(EVERYTHING, |server| server["user_id"] = json!("somebody"));
    let graph = recording.discover(EVERYTHING).await;
    assert!(graph.key_pairs.is_empty());
    assert_eq!(graph.servers[0].key_pair, None);
    assert!(omitted(&graph, "key pair ").contains("another user"));
}

#[tokio::test]
async fn rules_that_cannot_be_kept_are_not_widened() {
    let mut recording = Recording::load();
    let group = recording
        .list("security_groups")
        .iter_mut()
        .find(|g| g["name"] == "lab")
        .unwrap();
    let rules = group["security_group_rules"].as_array_mut().unwrap();
    let before = rules.len();
    let ssh = rules
        .iter_mut()
        .find(|rule| rule["port_range_min"] == 22)
        .unwrap();
    ssh["remote_address_group_id"] = json!("list");
    let graph = recording.discover("case2").await;
    let group = &graph.security_groups[0];
    assert_eq!(group.rules.len(), before - 1);
    assert!(!group.rules.iter().any(|rule| rule.port_min == Some(22)));
    omitted(&graph, "1 rules of security group lab");
}

#[tokio::test]
async fn own_disks_user_data_and_root_device_where_they_are_told() {
    let mut recording = Recording::load();
    recording.change_server("case1", |server| {
        server["flavor"]["ephemeral"] = json!(2);
        server["flavor"]["swap"] = json!(64);
        server["flavor"]["disk"] = json!(0);
        server["OS-EXT-SRV-ATTR:root_device_name"] = json!("/dev/vda");
        server["OS-EXT-SRV-ATTR:user_data"] = json!("Zm9v");
        server["status"] = json!("PAUSED");
    });
    recording.list("images")[0]["virtual_size"] = json!(5 << 20);
    let graph = recording.discover("case1").await;
    let server = &graph.servers[0];
    let local = |name: &str, size: u64| DiskSource::Local {
        name: name.to_owned(),
        size,
    };
    assert_eq!(server.attachments[0].source, local("root", 5 << 20));
    assert_eq!(server.attachments[0].device.as_deref(), Some("/dev/vda"));
    assert_eq!(server.attachments[1].source, local("ephemeral0", 2 << 30));
    assert_eq!(server.attachments.len(), 3);
    assert_eq!(server.user_data.as_deref(), Some("Zm9v"));
    assert_eq!(server.power, PowerState::Other);
    omitted(&graph, "the swap disk of server case1");
    let hidden = |o: &&raksha_core::cloud::Omission| o.what.starts_with("the user data");
    assert!(!graph.omissions.iter().any(|o| hidden(&o)));

    let mut recording = Recording::load();
    recording.change_server("case1", |server| server["flavor"]["disk"] = json!(0));
    recording.list("images").clear();
    let error = recording.try_discover(named("case1")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Unsupported,
        "a size is not invented: {error}"
    );
}

#[tokio::test]
async fn a_nova_before_2_47_is_asked_for_the_flavor() {
    let old = || {
        let mut recording = Recording::load();
        recording.nova = "2.25";
        recording.change_server("case2", |server| server["flavor"] = json!({"id": "7"}));
        recording
    };
    let mut recording = old();
    recording.things["flavors"] = json!([{"id": "7", "name": "old.small", "vcpus": 2, "ram": 256, "disk": 3, "swap": "", "OS-FLV-EXT-DATA:ephemeral": 0}]);
    let graph = recording.discover("case2").await;
    let flavor = &graph.servers[0].flavor;
    assert_eq!(
        (
            flavor.name.as_str(),
            flavor.vcpus,
            flavor.memory_mib,
            flavor.root_gib
        ),
        ("old.small", 2, 256, 3)
    );
    assert_eq!(flavor.extra_specs["hw:mem_page_size"], "small");

    let error = old().try_discover(named("case2")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    let tagged = old()
        .try_discover(ServerSelector::Tag("raksha".to_owned()))
        .await;
    assert_eq!(tagged.unwrap_err().kind(), Kind::Unsupported);
}

#[tokio::test]
async fn a_quality_of_service_policy_is_noted_by_name() {
    let mut recording = Recording::load();
    for port in recording.list("ports") {
        port["qos_policy_id"] = json!("q1");
    }
    recording.things["policies"] = json!([{"id": "q1", "name": "slow"}]);
    let graph = recording.discover("case2").await;
    assert_eq!(graph.ports[0].qos_policy.as_deref(), Some("slow"));
    let mut recording = Recording::load();
    for port in recording.list("ports") {
        port["qos_policy_id"] = json!("q1");
    }
    recording.refused = vec![("/network/v2.0/qos", 404)];
    let graph = recording.discover("case2").await;
    assert_eq!(graph.ports[0].qos_policy.as_deref(), Some("q1"));
    omitted(&graph, "quality-of-service policies");
}

#[tokio::test]
async fn a_server_of_another_project_is_not_found_though_it_is_seen() {
    let mut recording = Recording::load();
    let id = recording.servers.keys().next().unwrap().clone();
    recording.project = "another".to_owned();
    let found = recording.try_discover(ServerSelector::Id(id)).await;
    assert_eq!(found.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn texts_that_are_no_ids_do_not_become_paths() {
    for text in [
        "x/os-volume_attachments",
        "..",
        "detail",
        "",
        "?all_tenants=1",
        "a b",
    ] {
        for selector in [
            ServerSelector::Id(text.to_owned()),
            ServerSelector::IdOrName(text.to_owned()),
        ] {
            let found = Recording::load().try_discover(selector).await;
            assert_eq!(found.unwrap_err().kind(), Kind::NotFound, "{text}");
        }
    }
}
