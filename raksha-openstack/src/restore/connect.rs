//! What a server needs of live things that the restore uses as they are: a router's place on a new subnet, a floating IP that leads to it.

use raksha_core::cloud::{Recorder, ResourceKind as K, Server, Temporary};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::Restorer;
use super::make::{is, text, unless_gone};
use super::there::There;
use crate::client::{Request, Service};

/// A router's place on a subnet, of a router that this restore did not make.
pub(super) const PLACE: &str = "restored router interface";
/// A floating IP's leading to a port, of a floating IP that this restore did not make.
pub(super) const LEADING: &str = "restored floating IP association";

impl Restorer {
    /// Gives the routers that stand for those of the point their places on the subnets of `server`.
    pub(super) async fn connect_routers(
        &self,
        server: &Server,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<()> {
        let graph = &there.request.graph;
        let ports = graph
            .ports
            .iter()
            .filter(|port| server.ports.contains(&port.id));
        let subnets: Vec<_> = ports
            .flat_map(|port| &port.fixed_ips)
            .map(|ip| &ip.subnet)
            .collect();
        for router in &graph.routers {
            let Some(live) = there.known(K::Router, router.id.as_str()) else {
                continue;
            };
            for side in router
                .interfaces
                .iter()
                .filter(|side| subnets.contains(&&side.subnet))
            {
                let subnet = there.id(K::Subnet, side.subnet.as_str())?;
                if self.interface(live, subnet).await?.is_some() {
                    continue;
                }
                let detail = json!({ "router": live, "subnet": subnet });
                let temporary = self.temporary(PLACE, detail)?;
                recorder.record(&temporary).await?;
                self.add_interface(live, side, there, recorder).await?;
            }
        }
        Ok(())
    }

    /// Has the floating IPs that stand for those of the point lead to the ports of `server`.
    pub(super) async fn connect_floating_ips(
        &self,
        server: &Server,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<()> {
        for floating in &there.request.graph.floating_ips {
            let port = floating
                .port
                .as_ref()
                .filter(|port| server.ports.contains(port));
            let live = there.known(K::FloatingIp, floating.id.as_str());
            let (Some(port), Some(live)) = (port, live) else {
                continue;
            };
            let port = there.id(K::Port, port.as_str())?;
            let request = Request::get(format!("floatingips/{live}"));
            let now = self.client.send(Service::Network, request).await?;
            let now = now.take("floatingip")?;
            if is(&now, "port_id", port) {
                continue;
            }
            if let Some(other) = now.get("port_id").and_then(Value::as_str) {
                let message = "the floating IP that it shall have leads to something else: free it, or leave it out of the mapping";
                return Err(Error::new(Kind::AlreadyExists, LEAD, message)
                    .with("floating IP", &floating.address)
                    .with("leads to port", other));
            }
            let detail = json!({ "floating_ip": live, "port": port });
            recorder.record(&self.temporary(LEADING, detail)?).await?;
            let body = json!({ "port_id": port, "fixed_ip_address": floating.fixed_address });
            self.lead(live, &body).await?;
        }
        Ok(())
    }

    /// Takes back a place or a leading.
    pub(super) async fn disconnect(&self, temporary: &Temporary) -> Result<()> {
        let detail = &temporary.detail;
        if temporary.kind == PLACE {
            let (router, subnet) = (text(detail, "router")?, text(detail, "subnet")?);
            if let Some(port) = self.interface(router, subnet).await? {
                self.leave(router, text(&port, "id")?).await?;
            }
            return Ok(());
        }
        let (floating, port) = (text(detail, "floating_ip")?, text(detail, "port")?);
        let request = Request::get(format!("floatingips/{floating}"));
        let now = unless_gone(self.client.send(Service::Network, request).await)?;
        let Some(now) = now else {
            return Ok(());
        };
        if !is(&now.take("floatingip")?, "port_id", port) {
            return Ok(());
        }
        self.lead(floating, &json!({ "port_id": null })).await
    }

    async fn lead(&self, floating: &str, body: &Value) -> Result<()> {
        let body = json!({ "floatingip": body });
        let request = Request::put(format!("floatingips/{floating}"), body);
        let request = request.operation(LEAD);
        self.client.send(Service::Network, request).await.map(drop)
    }

    /// Takes a router off a subnet, by its port there.
    pub(super) async fn leave(&self, router: &str, port: &str) -> Result<()> {
        let body = json!({ "port_id": port });
        let request = Request::put(format!("routers/{router}/remove_router_interface"), body);
        let request = request.operation("take a router off a subnet");
        let left = self.client.send(Service::Network, request).await;
        unless_gone(left).map(drop)
    }
}

const LEAD: &str = "associate floating IP";
