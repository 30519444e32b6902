//! How servers look, by microversion.

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::network;
use super::super::reply::Refusal;
use super::super::state::{Kind, Record, as_map, merge, set};
use super::super::world::World;
use super::{devices, links, minor};

/// What a tenant sees of the host.
const HOST: &str = "4884ab5f917505fe16d98e279ab22b35e482ff48fea12f340b9f3d9b";

/// A server in full.
pub(super) fn server(world: &World, call: &Call, server: &Record) -> Result<Value, Refusal> {
    let minor = minor(call)?;
    let bookmark = |of: &str, id: &str| json!([{"rel": "bookmark", "href": format!("{}/compute/{of}/{id}", world.base)}]);
    let flavor = server.inner("flavor");
    let flavor = if minor < 47 {
        let id = server.inner_text("flavor_id");
        json!({"id": id, "links": bookmark("flavors", id)})
    } else {
        flavor.clone()
    };
    let image = match server.inner_text("image") {
        "" => json!(""),
        image => json!({"id": image, "links": bookmark("images", image)}),
    };
    let building = server.text("status") == "BUILD";
    let mut body = json!({
        "id": server.id, "tenant_id": server.project, "hostId": if building { "" } else { HOST },
        "image": image, "flavor": flavor, "links": links(world, "servers", &server.id), "accessIPv4": "",
        "accessIPv6": "", "OS-DCF:diskConfig": "MANUAL", "OS-SRV-USG:terminated_at": null,
        "addresses": if building { json!({}) } else { addresses(world, &server.id, true) },
    });
    let shown = [
        "name",
        "status",
        "user_id",
        "metadata",
        "created",
        "updated",
        "OS-EXT-AZ:availability_zone",
        "config_drive",
        "key_name",
        "OS-SRV-USG:launched_at",
        "OS-EXT-STS:task_state",
        "OS-EXT-STS:vm_state",
        "OS-EXT-STS:power_state",
    ];
    for key in shown {
        set(&mut body, key, server.get(key).clone());
    }
    if matches!(
        server.text("status"),
        "ACTIVE" | "BUILD" | "REBOOT" | "HARD_REBOOT" | "PASSWORD" | "VERIFY_RESIZE"
    ) {
        set(&mut body, "progress", json!(0));
    }
    if building {
        set(&mut body, "OS-EXT-AZ:availability_zone", json!(""));
    }
    if server.text("status") == "ERROR" {
        let message = "No valid host was found. There are not enough hosts available.";
        set(
            &mut body,
            "fault",
            json!({"code": 500, "created": server.get("updated"), "message": message}),
        );
    }
    let volumes = devices::of(server).into_iter().filter_map(|device| {
        let id = device.get("volume_id")?.as_str()?;
        Some(if minor < 3 {
            json!({"id": id})
        } else {
            json!({"id": id, "delete_on_termination": device.get("delete_on_termination")})
        })
    });
    set(
        &mut body,
        "os-extended-volumes:volumes_attached",
        volumes.collect(),
    );
    let groups = groups(world, &server.id);
    if !groups.is_empty() && !building {
        set(&mut body, "security_groups", json!(groups));
    }
    since(&mut body, minor, world, call, server)?;
    Ok(body)
}

/// What later microversions show.
fn since(
    body: &mut Value,
    minor: u32,
    world: &World,
    call: &Call,
    server: &Record,
) -> Result<(), Refusal> {
    let admin = call.who()?.is_admin();
    if minor >= 9 {
        set(body, "locked", json!(false));
    }
    if minor >= 19 {
        set(body, "description", server.get("description").clone());
    }
    if minor >= 26 {
        set(body, "tags", server.get("tags").clone());
    }
    if minor >= 63 {
        set(body, "trusted_image_certificates", Value::Null);
    }
    if minor >= 71 {
        let groups = world.state.ids(Kind::ServerGroup, |group| {
            let members = group.get("members").as_array().into_iter().flatten();
            members
                .into_iter()
                .any(|member| member == &json!(server.id))
        });
        set(body, "server_groups", json!(groups));
    }
    if minor >= 73 {
        set(body, "locked_reason", Value::Null);
    }
    if minor >= 90 {
        set(
            body,
            "OS-EXT-SRV-ATTR:hostname",
            server.get("hostname").clone(),
        );
    }
    if admin {
        merge(
            body,
            &json!({"OS-EXT-SRV-ATTR:host": "devcloud", "OS-EXT-SRV-ATTR:hypervisor_hostname": "devcloud",
            "OS-EXT-SRV-ATTR:instance_name": format!("instance-{:08x}", server.serial)}),
        );
        if minor >= 3 {
            let user_data = server.inner("user_data").clone();
            merge(
                body,
                &json!({"OS-EXT-SRV-ATTR:reservation_id": "r-devcloud", "OS-EXT-SRV-ATTR:launch_index": 0,
                "OS-EXT-SRV-ATTR:hostname": server.get("hostname"), "OS-EXT-SRV-ATTR:kernel_id": "",
                "OS-EXT-SRV-ATTR:ramdisk_id": "", "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
                "OS-EXT-SRV-ATTR:user_data": user_data}),
            );
        }
        if minor >= 16 {
            set(body, "host_status", json!("UP"));
        }
    }
    Ok(())
}

/// The addresses of a server by network name; `in_full` with MACs and kinds.
pub(super) fn addresses(world: &World, server: &str, in_full: bool) -> Value {
    let mut all = Map::new();
    let ports = world
        .state
        .filter(Kind::Port, |port| port.text("device_id") == server);
    for port in ports {
        let network = world.state.get(Kind::Network, port.text("network_id"));
        let name = network.map(|network| network.text("name").to_owned());
        let entry = all
            .entry(name.unwrap_or_default())
            .or_insert_with(|| json!([]));
        let Some(list) = entry.as_array_mut() else {
            continue;
        };
        let mut add = |address: &str, kind: &str| {
            let mut one = json!({"version": 4, "addr": address});
            if in_full {
                merge(
                    &mut one,
                    &json!({"OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": port.get("mac_address")}),
                );
            }
            list.push(one);
        };
        for ip in port.get("fixed_ips").as_array().into_iter().flatten() {
            let address = ip
                .get("ip_address")
                .and_then(Value::as_str)
                .unwrap_or_default();
            add(address, "fixed");
            if let Some(floating) = network::floating_of_port(world, &port.id, address) {
                add(floating.text("floating_ip_address"), "floating");
            }
        }
    }
    Value::Object(all)
}

/// The names of the security groups of a server's ports.
fn groups(world: &World, server: &str) -> Vec<Value> {
    let ports = world
        .state
        .filter(Kind::Port, |port| port.text("device_id") == server);
    let mut names: Vec<String> = Vec::new();
    for port in ports {
        for group in port.get("security_groups").as_array().into_iter().flatten() {
            let group = world
                .state
                .get(Kind::SecurityGroup, group.as_str().unwrap_or_default());
            let name = group
                .map(|group| group.text("name").to_owned())
                .unwrap_or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
        .into_iter()
        .map(|name| json!({"name": name}))
        .collect()
}

/// A server in a short list.
pub(super) fn in_short(world: &World, server: &Record) -> Value {
    json!({"id": server.id, "name": server.get("name"), "links": links(world, "servers", &server.id)})
}

/// A flavor's values as a server carries them since 2.47.
pub(super) fn embedded_flavor(flavor: &Record) -> Value {
    let mut body = json!({"original_name": flavor.get("name"), "vcpus": flavor.get("vcpus"),
        "ram": flavor.get("ram"), "disk": flavor.get("disk"), "ephemeral": flavor.get("OS-FLV-EXT-DATA:ephemeral"),
        "swap": flavor.get("swap"), "extra_specs": flavor.get("extra_specs")});
    if let Some(map) = as_map(&mut body) {
        map.retain(|_, value| !value.is_null());
    }
    body
}
