//! The levels of consistency that the project's servers can have.

use raksha_core::Kind;
use serde_json::Value;

use super::{Answer, Finding};
use crate::OpenStack;
use crate::client::{Request, Service};
use crate::snapshots::grouped::{GROUPS, consistent};
use crate::things::text;

/// What is known of the project's servers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Servers {
    all: usize,
    /// Boot from a volume, and what it is made of names a guest agent that must consent.
    frozen: usize,
    /// The same, but for the consent.
    asked: usize,
}

pub(super) async fn look(cloud: &OpenStack) -> Vec<Finding> {
    let servers = servers(cloud).await;
    let frozen = match &servers {
        Err(why) => Answer::Unknown(why.clone()),
        Ok(Servers { all: 0, .. }) => {
            Answer::Unknown("the project has no servers to look at".to_owned())
        }
        Ok(Servers { all, frozen, asked }) => {
            let said = format!(
                "{frozen} of {all} servers; {asked} more have an agent that need not consent"
            );
            match frozen {
                0 => Answer::No(format!(
                    "{said}: boot from volumes whose image properties hw_qemu_guest_agent and os_require_quiesce are yes, with qemu-guest-agent in the guest"
                )),
                _ => Answer::Yes(said),
            }
        }
    };
    let pause = match cloud.options().snapshots.pause {
        true => Answer::Unknown(
            "the options allow it; whether the cloud does is known when a server is paused"
                .to_owned(),
        ),
        false => Answer::No(
            "the options do not allow a server to stand still for a moment: set snapshots.pause"
                .to_owned(),
        ),
    };
    vec![
        Finding::new("file systems, all disks of a server", frozen),
        Finding::new(
            "one instant across disks, by a group snapshot",
            groups(cloud).await,
        ),
        Finding::new("one instant across disks, by a pause", pause),
        Finding::new(
            "one instant across disks, of a server that is off",
            Answer::Yes("always".to_owned()),
        ),
        Finding::new("each disk by itself", Answer::Yes("always".to_owned())),
    ]
}

/// Whether there are groups of volumes whose snapshots are of one instant.
async fn groups(cloud: &OpenStack) -> Answer {
    let client = cloud.client();
    let list = async |path: &'static str, key| {
        let request = Request::get(path).microversion(GROUPS);
        client.list(Service::BlockStorage, request, key).await
    };
    let found: raksha_core::Result<(Vec<Value>, Vec<Value>)> = async {
        let types = list("group_types", "group_types").await?;
        Ok((types, list("groups/detail", "groups").await?))
    }
    .await;
    let (types, groups) = match found {
        Ok(found) => found,
        Err(error) if error.kind() == Kind::Unsupported => {
            return Answer::No("the cloud is older than groups of volumes".to_owned());
        }
        Err(error) => return Answer::Unknown(error.to_string()),
    };
    let named = &cloud.options().snapshots.group_types;
    let kinds: Vec<&str> = types
        .iter()
        .filter(|kind| consistent(kind, named))
        .map(|kind| text(kind, "id"))
        .collect();
    let of_these = groups
        .iter()
        .filter(|group| kinds.contains(&text(group, "group_type")));
    match of_these.count() {
        0 => Answer::No("put all volumes of a server into a group of a type that demands consistent_group_snapshot_enabled; if only the operator sees what a type demands, name it in snapshots.group_types".to_owned()),
        groups => Answer::Yes(format!("of servers whose volumes are all in one of {groups} groups")),
    }
}

async fn servers(cloud: &OpenStack) -> Result<Servers, String> {
    let client = cloud.client();
    let list = async |service, path: &'static str, key| {
        let found = client.list(service, Request::get(path), key).await;
        found.map_err(|error| error.to_string())
    };
    let servers = list(Service::Compute, "servers/detail", "servers").await?;
    let volumes = list(Service::BlockStorage, "volumes/detail", "volumes").await?;
    Ok(count(&servers, &volumes))
}

fn count(servers: &[Value], volumes: &[Value]) -> Servers {
    let mut counted = Servers::default();
    for server in servers {
        counted.all += 1;
        // An image means that it does not boot from a volume.
        if server.pointer("/image/id").is_some() {
            continue;
        }
        let attached = server
            .get("os-extended-volumes:volumes_attached")
            .and_then(Value::as_array);
        let ids: Vec<&Value> = attached
            .into_iter()
            .flatten()
            .filter_map(|a| a.get("id"))
            .collect();
        let mut made_of = volumes
            .iter()
            .filter(|volume| volume.get("id").is_some_and(|id| ids.contains(&id)))
            .filter_map(|volume| volume.get("volume_image_metadata"));
        let yes = |of: &Value, key: &str| {
            let value = of.get(key).and_then(Value::as_str).unwrap_or_default();
            ["yes", "true", "1", "on"].contains(&value.to_lowercase().as_str())
        };
        match made_of.find(|of| yes(of, "hw_qemu_guest_agent")) {
            Some(of) if yes(of, "os_require_quiesce") => counted.frozen += 1,
            Some(_) => counted.asked += 1,
            None => {}
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_agent_that_must_consent_proves_a_freeze() {
        let server = |volume: &str, image: Value| json!({ "image": image, "os-extended-volumes:volumes_attached": [{ "id": volume }] });
        let servers = [
            server("v1", json!("")),
            server("v2", json!("")),
            server("v3", json!("")),
            server("v1", json!({ "id": "local" })),
        ];
        let volumes = [
            json!({ "id": "v1", "volume_image_metadata": { "hw_qemu_guest_agent": "yes", "os_require_quiesce": "True" } }),
            json!({ "id": "v2", "volume_image_metadata": { "hw_qemu_guest_agent": "yes" } }),
            json!({ "id": "v3" }),
        ];
        let expected = Servers {
            all: 4,
            frozen: 1,
            asked: 1,
        };
        assert_eq!(count(&servers, &volumes), expected);
    }
}
