//! The servers that this project was founded on.

use raksha_core::{Error, Kind as ErrorKind, Result};
use serde_json::{Value, json};

use super::cloud::DevCloud;
use super::state::Kind;

/// A shape of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Case {
    /// `case1`: booted from an image onto a local disk, with one volume attached and a floating address.
    LocalDisk,
    /// `case2`: booted from a volume, with two more volumes.
    BootedFromVolume,
    /// `case3a` and `case3b`: booted from volumes, on one private network behind a router.
    TwoOnOneNetwork,
}

/// The image of all servers: with a guest agent, which must freeze.
const IMAGE: &str = "raksha-guest";

impl DevCloud {
    /// Makes the servers of a case for `user`, on the network `private` behind the router `r1`; their ids.
    ///
    /// Every disk has a gibibyte and begins with an image of a mebibyte; guests have an agent. Each case can be made once.
    ///
    /// # Errors
    /// What the cloud refuses: quotas, policies, names that are taken.
    pub fn seed(&self, user: &str, case: Case) -> Result<Vec<String>> {
        let image = match self.id_of(Kind::Image, IMAGE) {
            Some(image) => image,
            None => {
                let properties = [
                    ("hw_qemu_guest_agent", "yes"),
                    ("os_require_quiesce", "yes"),
                    ("os_type", "linux"),
                    ("hw_rng_model", "virtio"),
                ];
                let bytes: Vec<u8> = (0..1_u32 << 18)
                    .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
                    .collect();
                self.add_image(IMAGE, &bytes, &properties)?
            }
        };
        let network = self.network(user)?;
        match case {
            Case::LocalDisk => {
                let data = self.volume(user, json!({"name": "case1-data", "size": 1}))?;
                let server = self.server(user, "case1", &network, json!({"imageRef": image}))?;
                let attached = json!({"volumeAttachment": {"volumeId": data}});
                self.ask(
                    user,
                    "POST",
                    &format!("/compute/v2.1/servers/{server}/os-volume_attachments"),
                    attached,
                )?;
                self.float(user, &server)?;
                Ok(vec![server])
            }
            Case::BootedFromVolume => {
                let root = self.volume(
                    user,
                    json!({"name": "case2-root", "size": 1, "imageRef": image}),
                )?;
                let a = self.volume(user, json!({"name": "case2-a", "size": 1}))?;
                let b = self.volume(user, json!({"name": "case2-b", "size": 1}))?;
                Ok(vec![self.server(
                    user,
                    "case2",
                    &network,
                    booted_from(&[root, a, b]),
                )?])
            }
            Case::TwoOnOneNetwork => {
                let mut servers = Vec::new();
                for name in ["case3a", "case3b"] {
                    let volume = format!("{name}-root");
                    let root =
                        self.volume(user, json!({"name": volume, "size": 1, "imageRef": image}))?;
                    servers.push(self.server(user, name, &network, booted_from(&[root]))?);
                }
                Ok(servers)
            }
        }
    }

    /// The network `private`, its router and the security group `lab`, made if they are missing; the network's id.
    fn network(&self, user: &str) -> Result<String> {
        let path = "/network/v2.0";
        let known = self.ask(
            user,
            "GET",
            &format!("{path}/networks?name=private"),
            Value::Null,
        )?;
        if let Some(id) = known.pointer("/networks/0/id").and_then(Value::as_str) {
            return Ok(id.to_owned());
        }
        let make = |of: &str, body: Value| self.ask(user, "POST", &format!("{path}/{of}"), body);
        let network = make("networks", json!({"network": {"name": "private"}}))?;
        let network = id(&network, "network")?;
        let subnet = make(
            "subnets",
            json!({"subnet": {"name": "private", "network_id": network, "ip_version": 4,
            "cidr": "10.77.0.0/24"}}),
        )?;
        let public = self.ask(
            user,
            "GET",
            &format!("{path}/networks?name=public"),
            Value::Null,
        )?;
        let gateway = public
            .pointer("/networks/0/id")
            .cloned()
            .unwrap_or_default();
        let router = make(
            "routers",
            json!({"router": {"name": "r1", "external_gateway_info": {"network_id": gateway}}}),
        )?;
        let add = format!(
            "{path}/routers/{}/add_router_interface",
            id(&router, "router")?
        );
        self.ask(
            user,
            "PUT",
            &add,
            json!({"subnet_id": id(&subnet, "subnet")?}),
        )?;
        let group = make(
            "security-groups",
            json!({"security_group": {"name": "lab", "description": "lab"}}),
        )?;
        let group = id(&group, "security_group")?;
        let ssh = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 22,
            "port_range_max": 22, "remote_ip_prefix": "0.0.0.0/0"});
        let ping = json!({"security_group_id": group, "direction": "ingress", "protocol": "icmp",
            "remote_ip_prefix": "0.0.0.0/0"});
        for rule in [ssh, ping] {
            make("security-group-rules", json!({"security_group_rule": rule}))?;
        }
        Ok(network)
    }

    fn volume(&self, user: &str, wanted: Value) -> Result<String> {
        let made = self.ask(
            user,
            "POST",
            "/volume/v3/{project}/volumes",
            json!({"volume": wanted}),
        )?;
        id(&made, "volume")
    }

    fn server(&self, user: &str, name: &str, network: &str, more: Value) -> Result<String> {
        let flavors = self.ask(user, "GET", "/compute/v2.1/flavors", Value::Null)?;
        let flavors = flavors
            .get("flavors")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let tiny = flavors
            .iter()
            .find(|flavor| flavor.get("name") == Some(&json!("raksha.tiny")));
        let mut wanted = json!({"name": name, "flavorRef": tiny.and_then(|tiny| tiny.get("id")),
            "networks": [{"uuid": network}], "security_groups": [{"name": "lab"}]});
        super::state::merge(&mut wanted, &more);
        let made = self.ask(
            user,
            "POST",
            "/compute/v2.1/servers",
            json!({"server": wanted}),
        )?;
        id(&made, "server")
    }

    /// A floating address that points to the first port of a server.
    fn float(&self, user: &str, server: &str) -> Result<()> {
        let path = "/network/v2.0";
        let ports = self.ask(
            user,
            "GET",
            &format!("{path}/ports?device_id={server}"),
            Value::Null,
        )?;
        let public = self.ask(
            user,
            "GET",
            &format!("{path}/networks?name=public"),
            Value::Null,
        )?;
        let wanted = json!({"floating_network_id": public.pointer("/networks/0/id"), "port_id": ports.pointer("/ports/0/id")});
        self.ask(
            user,
            "POST",
            &format!("{path}/floatingips"),
            json!({"floatingip": wanted}),
        )?;
        Ok(())
    }
}

/// The devices of a server that boots from the first of these volumes.
fn booted_from(volumes: &[String]) -> Value {
    let devices = volumes.iter().enumerate().map(|(nth, volume)| {
        json!({"uuid": volume, "source_type": "volume", "destination_type": "volume",
            "boot_index": if nth == 0 { 0 } else { -1 }, "delete_on_termination": false})
    });
    json!({"block_device_mapping_v2": devices.collect::<Vec<_>>()})
}

fn id(made: &Value, of: &str) -> Result<String> {
    let id = made
        .get(of)
        .and_then(|thing| thing.get("id"))
        .and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| {
        Error::new(
            ErrorKind::Internal,
            "seed test cloud",
            "an answer has no id",
        )
        .with("answer", made)
    })
}
