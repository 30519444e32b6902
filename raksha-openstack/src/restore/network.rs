//! Creating networks, subnets, routers, security groups, ports and floating IPs.

use raksha_core::cloud::{
    FloatingIp, Network, Port, Recorder, ResourceKind as K, Router, RouterInterface, SecurityGroup,
    Subnet,
};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::Restorer;
use super::bodies;
use super::make::{Order, temporary_kind, text};
use super::there::There;
use crate::client::{Request, Service};

/// How Neutron calls a kind of resource: in paths, and in answers.
struct Words {
    kind: K,
    path: &'static str,
    key: &'static str,
    operation: &'static str,
}

const NETWORK: Words = Words {
    kind: K::Network,
    path: "networks",
    key: "network",
    operation: "create network",
};
const SUBNET: Words = Words {
    kind: K::Subnet,
    path: "subnets",
    key: "subnet",
    operation: "create subnet",
};
const ROUTER: Words = Words {
    kind: K::Router,
    path: "routers",
    key: "router",
    operation: "create router",
};
const GROUP: Words = Words {
    kind: K::SecurityGroup,
    path: "security-groups",
    key: "security_group",
    operation: "create security group",
};
const PORT: Words = Words {
    kind: K::Port,
    path: "ports",
    key: "port",
    operation: "create port",
};
const FLOATING_IP: Words = Words {
    kind: K::FloatingIp,
    path: "floatingips",
    key: "floatingip",
    operation: "create floating IP",
};

/// What is not the same from cloud to cloud, and what servers can be without: as large packets as there were, where a network has by itself what the cloud
/// has; and names in DNS. No cloud tells beforehand what it takes.
const DISPENSABLE: [&str; 3] = ["mtu", "dns_name", "dns_domain"];

impl Restorer {
    pub(super) async fn network(
        &self,
        point: &Network,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let (id, _) = self
            .neutron(&NETWORK, bodies::network(point, there), recorder)
            .await?;
        let description = point.description.as_deref().unwrap_or_default();
        self.describe(&NETWORK, &id, description, &point.tags)
            .await?;
        Ok(id)
    }

    pub(super) async fn subnet(
        &self,
        point: &Subnet,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let (id, _) = self
            .neutron(&SUBNET, bodies::subnet(point, there)?, recorder)
            .await?;
        self.describe(&SUBNET, &id, said(&point.raw), &point.tags)
            .await?;
        Ok(id)
    }

    pub(super) async fn router(
        &self,
        point: &Router,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let (id, _) = self
            .neutron(&ROUTER, bodies::router(point, there)?, recorder)
            .await?;
        for side in &point.interfaces {
            self.add_interface(&id, side, there, recorder).await?;
        }
        if !point.routes.is_empty() {
            let body = json!({ "router": { "routes": bodies::routes(&point.routes) } });
            let request = Request::put(format!("routers/{id}"), body);
            let request = request.operation("set a router's routes");
            self.client.send(Service::Network, request).await?;
        }
        self.describe(&ROUTER, &id, said(&point.raw), &point.tags)
            .await?;
        Ok(id)
    }

    /// Joins a live router to a subnet, at the subnet's gateway or else by a port of its own.
    pub(super) async fn add_interface(
        &self,
        router: &str,
        side: &RouterInterface,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<()> {
        let subnet = there.id(K::Subnet, side.subnet.as_str())?;
        let mut subnets = there.request.graph.subnets.iter();
        let point = subnets
            .find(|point| point.id == side.subnet)
            .ok_or_else(|| {
                let message = "the point has no such subnet: restore one that has";
                let error = Error::new(Kind::Invalid, "join router and subnet", message);
                error.with("subnet", &side.subnet)
            })?;
        let body = if point.gateway.as_ref() == Some(&side.address) {
            json!({ "subnet_id": subnet })
        } else {
            let body = bodies::interface_port(side, point, there)?;
            let (port, _) = self.neutron(&PORT, body, recorder).await?;
            json!({ "port_id": port })
        };
        let request = Request::put(format!("routers/{router}/add_router_interface"), body);
        let request = request.operation("join router and subnet");
        let Err(error) = self.client.send(Service::Network, request).await else {
            return Ok(());
        };
        // It was repeated, and the first one had done it.
        if self.interface(router, subnet).await?.is_some() {
            return Ok(());
        }
        Err(error)
    }

    /// The port by which a live router is on a subnet.
    pub(super) async fn interface(&self, router: &str, subnet: &str) -> Result<Option<Value>> {
        let ports = self.interfaces(router).await?;
        let on_it = |port: &Value| {
            let ips = port.get("fixed_ips").and_then(Value::as_array);
            ips.is_some_and(|ips| {
                ips.iter()
                    .any(|ip| super::make::is(ip, "subnet_id", subnet))
            })
        };
        Ok(ports.into_iter().find(on_it))
    }

    /// The ports by which a live router is on subnets, its gateway apart.
    pub(super) async fn interfaces(&self, router: &str) -> Result<Vec<Value>> {
        let request = Request::get("ports").query("device_id", router);
        let mut ports = self.client.list(Service::Network, request, "ports").await?;
        ports.retain(|port| {
            let owner = port.get("device_owner").and_then(Value::as_str);
            owner.is_some_and(|owner| {
                owner.starts_with("network:router_interface")
                    || owner == "network:ha_router_replicated_interface"
            })
        });
        Ok(ports)
    }

    pub(super) async fn security_group(
        &self,
        point: &SecurityGroup,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let body = bodies::security_group(point, there);
        let (id, made) = self.neutron(&GROUP, body, recorder).await?;
        // Itself, too, can be the other side of a rule.
        let mut ids = there.ids.clone();
        ids.insert(
            raksha_core::cloud::ResourceKey::new(K::SecurityGroup, point.id.as_str()),
            id.as_str(),
        );
        let there = There::new(there.request, &ids);

        // Neutron adds rules of its own, which let everything out.
        let added = made.get("security_group_rules").and_then(Value::as_array);
        for rule in added.into_iter().flatten() {
            let request = Request::delete(format!("security-group-rules/{}", text(rule, "id")?));
            let gone = self.client.send(Service::Network, request).await;
            super::make::unless_gone(gone)?;
        }
        for rule in &point.rules {
            let remote = rule.remote_group.as_ref();
            if remote.is_none_or(|remote| there.known(K::SecurityGroup, remote.as_str()).is_some())
            {
                self.add_rule(bodies::security_group_rule(rule, &id, there)?)
                    .await?;
            }
        }
        // Rules of earlier groups that waited for this one.
        for group in &there.request.graph.security_groups {
            let key = raksha_core::cloud::ResourceKey::new(K::SecurityGroup, group.id.as_str());
            let Some(live) = there.ids.get(&key) else {
                continue;
            };
            if group.id == point.id || there.mapped(&key).is_some() {
                continue;
            }
            for rule in &group.rules {
                if rule.remote_group.as_ref() == Some(&point.id) {
                    self.add_rule(bodies::security_group_rule(rule, live, there)?)
                        .await?;
                }
            }
        }
        let description = point.description.as_deref().unwrap_or_default();
        self.describe(&GROUP, &id, description, &point.tags).await?;
        Ok(id)
    }

    /// Adds a rule; one that is there already is one that was added.
    async fn add_rule(&self, body: Value) -> Result<()> {
        let body = json!({ "security_group_rule": body });
        // A second one of the same is refused as a conflict.
        let request = Request::post("security-group-rules", body).idempotent(true);
        let request = request.operation("create security group rule");
        match self.client.send(Service::Network, request).await {
            Err(error) if error.kind() != Kind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn port(
        &self,
        point: &Port,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let body = bodies::port(point, there)?;
        let made = match self.neutron(&PORT, body.clone(), recorder).await {
            // On a network that was just made, DHCP may have been faster.
            Err(error) if error.kind() == Kind::AlreadyExists => {
                if !self.move_dhcp(&body).await? {
                    return Err(error);
                }
                self.neutron(&PORT, body, recorder).await
            }
            made => made,
        };
        let (id, _) = made?;
        self.describe(&PORT, &id, said(&point.raw), &point.tags)
            .await?;
        Ok(id)
    }

    /// Has DHCP serve from other addresses than those that `port` asks for; whether it was in the way.
    async fn move_dhcp(&self, port: &Value) -> Result<bool> {
        let mut moved = false;
        let wanted = port.get("fixed_ips").and_then(Value::as_array);
        let request = Request::get("ports").query("network_id", text(port, "network_id")?);
        let request = request.query("device_owner", "network:dhcp");
        for dhcp in self.client.list(Service::Network, request, "ports").await? {
            let ips = dhcp.get("fixed_ips").and_then(Value::as_array);
            let (Some(ips), Some(wanted)) = (ips, wanted) else {
                continue;
            };
            if !ips.iter().any(|ip| wanted.contains(ip)) {
                continue;
            }
            // Without an address it gets another one.
            let other = ips.iter().map(|ip| match wanted.contains(ip) {
                true => json!({ "subnet_id": ip.get("subnet_id") }),
                false => ip.clone(),
            });
            let body = json!({ "port": { "fixed_ips": other.collect::<Value>() } });
            let request = Request::put(format!("ports/{}", text(&dhcp, "id")?), body);
            let request = request.operation("move DHCP to another address");
            self.client.send(Service::Network, request).await?;
            moved = true;
        }
        Ok(moved)
    }

    /// Takes the address that it was, if the cloud gives it, or else any.
    pub(super) async fn floating_ip(
        &self,
        point: &FloatingIp,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let same = bodies::floating_ip(point, there, true)?;
        let made = match self.neutron(&FLOATING_IP, same, recorder).await {
            // In another cloud there is no such address.
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Denied | Kind::AlreadyExists | Kind::Invalid
                ) =>
            {
                tracing::info!(address = %point.address, %error, "the floating IP gets another address");
                let any = bodies::floating_ip(point, there, false)?;
                self.neutron(&FLOATING_IP, any, recorder).await
            }
            made => made,
        };
        let (id, _) = made?;
        let tags = point.raw.get("tags").and_then(Value::as_array);
        let tags = tags.into_iter().flatten().filter_map(Value::as_str);
        let tags: Vec<String> = tags.map(str::to_owned).collect();
        self.describe(&FLOATING_IP, &id, said(&point.raw), &tags)
            .await?;
        Ok(id)
    }

    /// Creates something; if the cloud does not take it like this, without what can be [dispensed with](DISPENSABLE).
    async fn neutron(
        &self,
        words: &Words,
        body: Value,
        recorder: &dyn Recorder,
    ) -> Result<(String, Value)> {
        let mut less = body.clone();
        let mut left_out = DISPENSABLE.to_vec();
        left_out.retain(|key| {
            less.as_object_mut()
                .is_some_and(|fields| fields.remove(*key).is_some())
        });
        match self.neutron_as_it_is(words, body, recorder).await {
            Err(error) if error.kind() == Kind::Invalid && !left_out.is_empty() => {
                tracing::warn!(?left_out, %error, "the cloud refuses what the original had, so it is asked for less");
                self.neutron_as_it_is(words, less, recorder).await
            }
            made => made,
        }
    }

    async fn neutron_as_it_is(
        &self,
        words: &Words,
        mut body: Value,
        recorder: &dyn Recorder,
    ) -> Result<(String, Value)> {
        let temporary = self.temporary(temporary_kind(words.kind), Value::Null)?;
        if let Some(body) = body.as_object_mut() {
            body.insert("description".to_owned(), temporary.marker.as_str().into());
        }
        let request = Request::post(words.path, json!({ words.key: body }));
        let order = Order {
            kind: words.kind,
            temporary,
            service: Service::Network,
            request: request.operation(words.operation),
            key: words.key,
        };
        self.make(order, recorder).await
    }

    /// Puts the point's description in the place of the marker, and its labels.
    async fn describe(
        &self,
        words: &Words,
        id: &str,
        description: &str,
        tags: &[String],
    ) -> Result<()> {
        let body = json!({ words.key: { "description": description } });
        let request = Request::put(format!("{}/{id}", words.path), body);
        let request = request.operation(words.operation);
        self.client.send(Service::Network, request).await?;
        if tags.is_empty() {
            return Ok(());
        }
        let body = json!({ "tags": tags });
        let request = Request::put(format!("{}/{id}/tags", words.path), body);
        let request = request.operation("set tags");
        self.client.send(Service::Network, request).await?;
        Ok(())
    }
}

/// The description that the original had.
fn said(raw: &Value) -> &str {
    let said = raw.get("description").and_then(Value::as_str);
    said.unwrap_or_default()
}
