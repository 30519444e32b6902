//! From what a cloud's services say to a graph of resources.
//!
//! # How it is found
//!
//! Servers by the selectors; their volumes by `os-volume_attachments`; images and key pairs by what the server names; server groups by their members;
//! ports by their device, and from them networks, subnets, floating IPs, security groups with those that their rules name, and, by the
//! interface ports on the subnets, routers with the external networks that they lead to. Lists are asked for many things at once.
//!
//! # What a tenant is not told
//!
//! - Boot order: the volume that a server boots from is taken to be the one at the root device, or else the first bootable one. Further ones in
//!   the boot order are not known as such.
//! - User data and the root device's name: administrators alone, in the default policy.
//! - The key pair of a server that another user made.
//! - Of a server's own disks the content, but for the root disk: an ephemeral disk is in the graph since it is a disk that the guest has; a
//!   swap disk is noted as an omission.
//!
//! Everything that is left out is in the graph's omissions; everything that was said is in `raw`, a server's volume attachments under the key
//! `os-volume_attachments` of the server.

mod fields;
#[cfg(test)]
mod fuzz;
mod gather;
mod network;
mod networking;
mod notes;
mod order;
mod select;
mod server;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use raksha_core::cloud::{
    Flavor, Image, KeyPair, ResourceGraph, Selection, Server, ServerGroup, Volume,
};
use raksha_core::id::{ImageId, KeyPairId, PortId};
use raksha_core::{Error, Kind, Result};
use serde_json::Value;

use crate::client::{Client, Microversion, Request, Service};
use fields::Fields;
use notes::Notes;
use order::Orders;

const OPERATION: &str = "discover servers";

/// So many servers are looked at in detail at once.
const AT_ONCE: usize = 4;

/// Volume attachments tell tags from 2.70 on, and what goes with the server from 2.79 on.
const ATTACHMENTS: Microversion = Microversion::new(2, 79);

/// From 2.64 on a server group has one policy with its rules.
const SERVER_GROUPS: Microversion = Microversion::new(2, 64);

/// From 2.2 on a key pair tells its type.
const KEY_PAIRS: Microversion = Microversion::new(2, 2);

/// From 3.13 on a volume tells its group.
const VOLUMES: Microversion = Microversion::new(3, 13);

/// The selected servers and all that belongs to them.
pub(crate) async fn discover(client: &Client, selection: &Selection) -> Result<ResourceGraph> {
    let (servers, orders) = select::servers(client, selection).await?;
    if servers.is_empty() {
        return Ok(ResourceGraph::default());
    }
    let notes = Notes::default();
    let ids = servers
        .iter()
        .map(|server| Fields::of("server", server).text("id").map(str::to_owned))
        .collect::<Result<BTreeSet<String>>>()?;
    let asking = Asking {
        client,
        notes: &notes,
    };
    let images: BTreeSet<String> = servers.iter().filter_map(server::image_of).collect();
    let (attachments, flavors, images, key_pairs, groups, surroundings) = futures_util::try_join!(
        asking.attachments(&servers),
        asking.flavors(&servers),
        asking.images(&images),
        asking.key_pairs(&servers),
        asking.server_groups(&ids),
        network::around(client, &ids, &notes),
    )?;
    let mut slots = Vec::new();
    for (server, listed) in servers.iter().zip(&attachments) {
        slots.push(server::volume_slots(server, listed.as_deref())?);
    }
    let wanted: BTreeSet<String> = slots
        .iter()
        .flatten()
        .map(|slot| slot.volume.to_string())
        .collect();
    let volumes = asking.volumes(&wanted).await?;
    let mut graph = ResourceGraph {
        volumes,
        images,
        ports: surroundings.ports,
        networks: surroundings.networks,
        subnets: surroundings.subnets,
        routers: surroundings.routers,
        security_groups: surroundings.security_groups,
        floating_ips: surroundings.floating_ips,
        key_pairs,
        server_groups: groups,
        ..ResourceGraph::default()
    };
    let own = client.principal().user.id;
    for (((raw, listed), slots), flavor) in
        servers.into_iter().zip(attachments).zip(slots).zip(flavors)
    {
        let parts = Parts {
            raw,
            listed,
            slots,
            flavor,
        };
        let server = parts.assemble(&graph, &orders, &own, &notes)?;
        graph.servers.push(server);
    }
    graph.omissions = notes.into_omissions();
    Ok(graph)
}

struct Asking<'a> {
    client: &'a Client,
    notes: &'a Notes,
}

impl Asking<'_> {
    async fn request(&self, path: String, service: Service, best: Microversion) -> Result<Request> {
        let request = Request::get(path).operation(OPERATION);
        Ok(match self.client.at_most(service, best).await? {
            Some(microversion) => request.microversion(microversion),
            None => request,
        })
    }

    /// What Nova lists of each server's volumes; none where that may not be seen.
    async fn attachments(&self, servers: &[Value]) -> Result<Vec<Option<Vec<Value>>>> {
        let mut asked = Vec::new();
        for server in servers {
            asked.push(self.attachments_of(server));
        }
        stream::iter(asked).buffered(AT_ONCE).try_collect().await
    }

    async fn attachments_of(&self, server: &Value) -> Result<Option<Vec<Value>>> {
        let server = Fields::of("server", server);
        if server
            .list("os-extended-volumes:volumes_attached")
            .is_empty()
        {
            return Ok(Some(Vec::new()));
        }
        let path = format!("servers/{}/{}", server.text("id")?, server::ATTACHMENTS);
        let request = self.request(path, Service::Compute, ATTACHMENTS).await?;
        let listed = self
            .client
            .list(Service::Compute, request, "volumeAttachments")
            .await;
        let what = "device names and tags of volumes in servers";
        self.notes.visible(what, listed.map(Some))
    }

    /// The flavor of each server: its own words or, from a Nova before 2.47, what Nova says of the flavor now.
    async fn flavors(&self, servers: &[Value]) -> Result<Vec<Flavor>> {
        let mut known: BTreeMap<String, Flavor> = BTreeMap::new();
        let mut flavors = Vec::new();
        for server in servers {
            if let Some(flavor) = server::embedded_flavor(server)? {
                flavors.push(flavor);
                continue;
            }
            let fields = Fields::of("server", server);
            let id = fields.inner("flavor").and_then(|f| f.maybe("id"));
            let id = id.unwrap_or_default();
            let flavor = match known.get(&id) {
                Some(flavor) => flavor.clone(),
                None => {
                    let flavor = self.flavor(&id).await.map_err(|error| {
                        error.with("server", fields.maybe("id").unwrap_or_default())
                    })?;
                    known.insert(id, flavor.clone());
                    flavor
                }
            };
            flavors.push(flavor);
        }
        Ok(flavors)
    }

    async fn flavor(&self, id: &str) -> Result<Flavor> {
        let request = Request::get(format!("flavors/{id}")).operation(OPERATION);
        let answer = match self.client.send(Service::Compute, request).await {
            Err(error) if error.kind() == Kind::NotFound => {
                let message = "the server's flavor was deleted, and this Nova is too old to tell its values otherwise (2.47 can): resize the server to a flavor that exists";
                return Err(Error::new(Kind::Unsupported, OPERATION, message).with("flavor", id));
            }
            answer => answer?,
        };
        let mut flavor = server::listed_flavor(&answer.take("flavor")?)?;
        let request = Request::get(format!("flavors/{id}/os-extra_specs")).operation(OPERATION);
        let specs = self.client.send(Service::Compute, request).await;
        let specs = self
            .notes
            .visible("extra specs of flavors", specs.map(|answer| answer.body))?;
        flavor.extra_specs = Fields::of("flavor", &specs).texts("extra_specs");
        Ok(flavor)
    }

    async fn images(&self, ids: &BTreeSet<String>) -> Result<Vec<Image>> {
        let images = gather::images(self.client, ids).await?;
        let images: Vec<Image> = images
            .into_iter()
            .map(storage::image)
            .collect::<Result<_>>()?;
        let gone = |id: &&String| !images.iter().any(|image| image.id.as_str() == *id);
        for id in ids.iter().filter(gone) {
            let reason = "servers were made from it, and it was deleted or is not shown to this user; their disks do not need it";
            self.notes.add(format!("image {id}"), reason);
        }
        Ok(images)
    }

    async fn volumes(&self, ids: &BTreeSet<String>) -> Result<Vec<Volume>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let microversion = self.client.at_most(Service::BlockStorage, VOLUMES).await?;
        let volumes = gather::volumes(self.client, ids, microversion).await?;
        volumes.into_iter().map(storage::volume).collect()
    }

    /// The key pairs of this user. Those of others have the same names and are other keys.
    async fn key_pairs(&self, servers: &[Value]) -> Result<Vec<KeyPair>> {
        let own = self.client.principal().user.id;
        let mut names = BTreeSet::new();
        for server in servers {
            let server = Fields::of("server", server);
            let Some(name) = server.maybe("key_name") else {
                continue;
            };
            if server.maybe("user_id").as_deref() == Some(own.as_str()) {
                names.insert(name);
            } else {
                self.notes.add(
                    format!("key pair {name} of server {}", server.text("id")?),
                    "another user made the server, and key pairs are shown to their owners alone; the key is on the server's disk",
                );
            }
        }
        let mut found = Vec::new();
        for name in names {
            let path = format!("os-keypairs/{name}");
            let request = self.request(path, Service::Compute, KEY_PAIRS).await?;
            let answer = self.client.send(Service::Compute, request).await;
            let what = format!("key pair {name}");
            if let Some(answer) = self.notes.visible(&what, answer.map(Some))? {
                found.push(server::key_pair(answer.take("keypair")?)?);
            }
        }
        Ok(found)
    }

    /// The groups that the servers are members of.
    async fn server_groups(&self, servers: &BTreeSet<String>) -> Result<Vec<ServerGroup>> {
        let microversion = self.client.at_most(Service::Compute, SERVER_GROUPS).await?;
        let groups = gather::server_groups(self.client, microversion).await;
        let groups = self.notes.visible("server groups", groups)?;
        let has_member = |group: &Value| {
            let members = Fields::of("server group", group).words("members");
            members.iter().any(|member| servers.contains(member))
        };
        groups
            .into_iter()
            .filter(has_member)
            .map(server::server_group)
            .collect()
    }
}

/// What there is of one server.
struct Parts {
    raw: Value,
    listed: Option<Vec<Value>>,
    slots: Vec<server::VolumeSlot>,
    flavor: Flavor,
}

impl Parts {
    /// The server, with references to what `graph` holds; `own` is the user who asks.
    fn assemble(
        self,
        graph: &ResourceGraph,
        orders: &Orders,
        own: &str,
        notes: &Notes,
    ) -> Result<Server> {
        let Self {
            mut raw,
            listed,
            mut slots,
            flavor,
        } = self;
        let fields = Fields::of("server", &raw);
        let id = fields.text("id")?;
        let called = format!("server {} ({id})", fields.maybe("name").unwrap_or_default());
        slots.retain_mut(|slot| {
            let volume = graph.volumes.iter().find(|v| v.id == slot.volume);
            if let Some(volume) = volume {
                slot.bootable = volume.bootable;
            } else {
                notes.add(
                    format!("volume {} of {called}", slot.volume),
                    "it is not shown to this user, and is not protected",
                );
            }
            volume.is_some()
        });
        if let Some(size) = server::swap_size(&flavor) {
            notes.add(
                format!("the swap disk of {called}, {size} bytes"),
                "its content is worth nothing after a restart: it is made anew with the server",
            );
        }
        if raw.get("OS-EXT-SRV-ATTR:user_data").is_none() {
            notes.add(
                format!("the user data of {called}"),
                "Nova shows it to administrators alone, or to whom its policy os-extended-server-attributes names",
            );
        }
        let image = server::image_of(&raw);
        let image = graph
            .images
            .iter()
            .find(|known| Some(known.id.as_str()) == image.as_deref());
        // A key pair of the same name may be another user's.
        let ours = fields.maybe("user_id").is_some_and(|user| user == own);
        let key_pair = fields
            .maybe("key_name")
            .filter(|_| ours)
            .map(KeyPairId::new);
        let group = graph.server_groups.iter().find(|group| {
            Fields::of("server group", &group.raw)
                .words("members")
                .iter()
                .any(|m| m == id)
        });
        let around = server::Around {
            flavor,
            image: image.map(|image| ImageId::new(image.id.as_str())),
            image_size: image.and_then(storage::disk_size),
            key_pair: key_pair.filter(|key| graph.key_pairs.iter().any(|known| known.id == *key)),
            server_group: group.map(|group| group.id.clone()),
            ports: ports_of(id, graph, orders),
            volumes: slots,
        };
        if let (Some(object), Some(listed)) = (raw.as_object_mut(), listed)
            && !listed.is_empty()
        {
            object.insert(server::ATTACHMENTS.to_owned(), Value::Array(listed));
        }
        server::server(raw, around)
    }
}

/// The ports of `server` in the guest's order.
fn ports_of(server: &str, graph: &ResourceGraph, orders: &Orders) -> Vec<PortId> {
    let mut ports: Vec<(usize, Option<String>, &PortId)> = graph
        .ports
        .iter()
        .filter(|port| Fields::of("port", &port.raw).maybe("device_id").as_deref() == Some(server))
        .map(|port| {
            let made = Fields::of("port", &port.raw).maybe("created_at");
            (orders.place(server, &port.mac), made, &port.id)
        })
        .collect();
    ports.sort();
    ports.into_iter().map(|(_, _, id)| id.clone()).collect()
}
