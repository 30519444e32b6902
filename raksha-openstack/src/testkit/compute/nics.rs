//! The ports of servers.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::network::{self, Wanted};
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::World;
use super::{find, minor, nothing_here};

/// A port that a new server is to have.
pub(super) enum Nic {
    /// One that is there.
    Port(String),
    /// A new one in this network, with these fields.
    Network(String, Value),
}

/// The ports that a request for a server names.
pub(super) fn requested(
    world: &mut World,
    call: &Call,
    wanted: &Value,
) -> Result<Vec<Nic>, Refusal> {
    let who = call.who()?.clone();
    let groups = groups(world, &who.project, wanted)?;
    let fields = |fixed: Option<&Value>| {
        let mut fields = json!({});
        if let Some(groups) = &groups {
            set(&mut fields, "security_groups", json!(groups));
        }
        if let Some(address) = fixed.and_then(Value::as_str) {
            set(&mut fields, "fixed_ips", json!([{"ip_address": address}]));
        }
        fields
    };
    let visible = |network: &Record| {
        network.project == who.project || network.get("shared") == &json!(true) || who.is_admin()
    };
    match wanted.get("networks") {
        Some(Value::String(text)) if text == "none" => Ok(Vec::new()),
        Some(Value::Array(list)) if !list.is_empty() => {
            let mut nics = Vec::new();
            for one in list {
                if let Some(id) = one.get("port").and_then(Value::as_str) {
                    let port = world
                        .state
                        .get(Kind::Port, id)
                        .filter(|port| port.project == who.project);
                    let port = port
                        .ok_or_else(|| Refusal::bad(format!("Port id {id} could not be found.")))?;
                    if !port.text("device_id").is_empty() {
                        return Err(Refusal::conflict(format!("Port {id} is still in use.")));
                    }
                    nics.push(Nic::Port(id.to_owned()));
                    continue;
                }
                let id = one.get("uuid").and_then(Value::as_str).unwrap_or_default();
                let network = world
                    .state
                    .get(Kind::Network, id)
                    .filter(|network| visible(network));
                if network.is_none() {
                    return Err(Refusal::bad(format!("Network {id} could not be found.")));
                }
                nics.push(Nic::Network(id.to_owned(), fields(one.get("fixed_ip"))));
            }
            Ok(nics)
        }
        stated => {
            if stated.is_none() && minor(call)? >= 37 {
                return Err(Refusal::bad(
                    "Invalid input for field/attribute server. 'networks' is a required property",
                ));
            }
            let own = world.state.ids(Kind::Network, |network| {
                visible(network) && network.get("router:external") != &json!(true)
            });
            match own.as_slice() {
                [] => Ok(Vec::new()),
                [only] => Ok(vec![Nic::Network(only.clone(), fields(None))]),
                _ => Err(Refusal::conflict(
                    "Multiple possible networks found, use a Network ID to be more specific.",
                )),
            }
        }
    }
}

/// The ids of the security groups that a request names, by name or id.
fn groups(world: &World, project: &str, wanted: &Value) -> Result<Option<Vec<String>>, Refusal> {
    let Some(list) = wanted.get("security_groups").and_then(Value::as_array) else {
        return Ok(None);
    };
    let mut ids = Vec::new();
    for one in list {
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        let found = world.state.ids(Kind::SecurityGroup, |group| {
            group.project == project && (group.id == name || group.text("name") == name)
        });
        match found.as_slice() {
            [only] => ids.push(only.clone()),
            [] => {
                return Err(Refusal::bad(format!(
                    "Unable to find security_group with name or id '{name}'"
                )));
            }
            _ => {
                return Err(Refusal::conflict(format!(
                    "Multiple security groups found matching '{name}'. Use an ID to be more specific."
                )));
            }
        }
    }
    Ok(Some(ids))
}

/// Makes and binds the ports of a server.
pub(super) fn plug(
    world: &mut World,
    call: &Call,
    server: &str,
    nics: &[Nic],
) -> Result<(), Refusal> {
    for nic in nics {
        let id = match nic {
            Nic::Port(id) => id.clone(),
            Nic::Network(network, fields) => {
                let project = call.who()?.project.clone();
                let id = network::create_port(
                    world,
                    call,
                    &Wanted {
                        project: &project,
                        network,
                        fields,
                    },
                )?;
                if let Some(server) = world.state.get_mut(Kind::Server, server) {
                    let mut made = server
                        .inner("made_ports")
                        .as_array()
                        .cloned()
                        .unwrap_or_default();
                    made.push(json!(id));
                    server.set_inner("made_ports", made);
                }
                id
            }
        };
        bind(world, &id, server);
    }
    Ok(())
}

fn bind(world: &mut World, port: &str, server: &str) {
    if let Some(port) = world.state.get_mut(Kind::Port, port) {
        port.merge(
            &json!({"device_id": server, "device_owner": "compute:nova", "status": "ACTIVE",
            "binding:host_id": "devcloud", "binding:vif_type": "bridge"}),
        );
    }
}

/// The server goes: its ports, if Nova made them, go with it; others are free again.
pub(super) fn unplug_all(world: &mut World, server: &Record) {
    let made = super::super::image::texts(Some(server.inner("made_ports")));
    for port in world
        .state
        .ids(Kind::Port, |port| port.text("device_id") == server.id)
    {
        unplug(world, &port, made.contains(&port));
    }
}

fn unplug(world: &mut World, port: &str, made: bool) {
    if made {
        network::delete_port(world, port);
    } else if let Some(port) = world.state.get_mut(Kind::Port, port) {
        port.merge(
            &json!({"device_id": "", "device_owner": "", "status": "DOWN", "binding:host_id": "",
            "binding:vif_type": "unbound"}),
        );
    }
}

fn show(port: &Record) -> Value {
    json!({"net_id": port.get("network_id"), "port_id": port.id, "mac_addr": port.get("mac_address"),
        "port_state": port.get("status"), "fixed_ips": port.get("fixed_ips")})
}

/// `/servers/ID/os-interface`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str, path: &[&str]) -> Outcome {
    let server = find(world, call, id)?.clone();
    let mine = world
        .state
        .ids(Kind::Port, |port| port.text("device_id") == id);
    let tagged = |mut body: Value| -> Result<Value, Refusal> {
        if minor(call)? >= 70 {
            merge(&mut body, &json!({"tag": null}));
        }
        Ok(body)
    };
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let mut all = Vec::new();
            for port in mine
                .iter()
                .filter_map(|port| world.state.get(Kind::Port, port))
            {
                all.push(tagged(show(port))?);
            }
            Ok(Reply::json(200, json!({"interfaceAttachments": all})))
        }
        ("GET", [port]) => {
            let port = mine
                .iter()
                .find(|mine| mine == port)
                .and_then(|port| world.state.get(Kind::Port, port));
            let port = port.ok_or_else(|| {
                Refusal::missing(format!("Instance {id} does not have a port with id"))
            })?;
            Ok(Reply::json(
                200,
                json!({"interfaceAttachment": tagged(show(port))?}),
            ))
        }
        ("POST", []) => {
            let wanted = call
                .body
                .get("interfaceAttachment")
                .cloned()
                .unwrap_or_default();
            let list = match (wanted.get("port_id"), wanted.get("net_id")) {
                (Some(port), _) => json!([{"port": port}]),
                (None, Some(network)) => {
                    let fixed = wanted.pointer("/fixed_ips/0/ip_address");
                    json!([{"uuid": network, "fixed_ip": fixed}])
                }
                (None, None) => json!("auto"),
            };
            let nics = requested(world, call, &json!({"networks": list}))?;
            plug(world, call, id, &nics)?;
            let now = world
                .state
                .ids(Kind::Port, |port| port.text("device_id") == id);
            let new = now.iter().find(|port| !mine.contains(port));
            let new = new.and_then(|port| world.state.get(Kind::Port, port));
            let new = new.ok_or_else(|| Refusal::bad("There is no network to attach to."))?;
            Ok(Reply::json(
                200,
                json!({"interfaceAttachment": tagged(show(new))?}),
            ))
        }
        ("DELETE", [port]) => {
            if !mine.iter().any(|mine| mine == port) {
                return Err(Refusal::missing(format!(
                    "Port id {port} could not be found."
                )));
            }
            let made = super::super::image::texts(Some(server.inner("made_ports")));
            unplug(world, port, made.iter().any(|made| made == port));
            Ok(Reply::empty(202))
        }
        _ => Err(nothing_here()),
    }
}
