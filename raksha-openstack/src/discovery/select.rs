//! Which servers are meant.

use std::collections::{BTreeMap, BTreeSet};

use raksha_core::cloud::{Selection, ServerSelector};
use raksha_core::{Error, Kind, Result};
use serde_json::Value;

use super::OPERATION;
use super::fields::Fields;
use super::order::Orders;
use crate::client::{Client, Microversion, Request, Service};

/// From 2.47 on a server tells its flavor as values; tags (2.26) and description (2.19) are older.
const SERVERS: Microversion = Microversion::new(2, 47);

/// From here on servers have tags, and can be found by them.
const TAGS: Microversion = Microversion::new(2, 26);

/// The servers that `selection` means, as Nova describes them, and the order of their ports.
pub(super) async fn servers(
    client: &Client,
    selection: &Selection,
) -> Result<(Vec<Value>, Orders)> {
    let mut selecting = Selecting {
        client,
        microversion: client.at_most(Service::Compute, SERVERS).await?,
        orders: Orders::default(),
        all: None,
        names: None,
        chosen: BTreeMap::new(),
        order: Vec::new(),
    };
    let needs_all = |selector: &ServerSelector| {
        matches!(
            selector,
            ServerSelector::All | ServerSelector::Metadata { .. }
        )
    };
    if selection.0.iter().any(needs_all) {
        selecting.all = Some(selecting.list(None).await?);
    }
    let mut singled_out = BTreeSet::new();
    for selector in &selection.0 {
        let found = selecting.select(selector).await?;
        if let Found::One(server) = &found {
            let id = Fields::of("server", server).text("id")?;
            if !singled_out.insert(id.to_owned()) {
                let message = "two selectors select the same server: remove one";
                return Err(Error::new(Kind::Invalid, OPERATION, message)
                    .with("selector", selector)
                    .with("server", id));
            }
        }
        match found {
            Found::One(server) => selecting.choose(server)?,
            Found::Many(servers) => {
                for server in servers {
                    selecting.choose(server)?;
                }
            }
        }
    }
    let Selecting {
        orders,
        mut chosen,
        order,
        ..
    } = selecting;
    let servers = order.iter().filter_map(|id| chosen.remove(id)).collect();
    Ok((servers, orders))
}

/// What a selector finds.
enum Found {
    /// The one that it names.
    One(Value),
    /// Any number.
    Many(Vec<Value>),
}

struct Selecting<'a> {
    client: &'a Client,
    microversion: Option<Microversion>,
    orders: Orders,
    /// All servers, if they had to be listed.
    all: Option<Vec<Value>>,
    /// Ids and names of all servers, if they had to be listed.
    names: Option<Vec<(String, String)>>,
    chosen: BTreeMap<String, Value>,
    order: Vec<String>,
}

impl Selecting<'_> {
    fn choose(&mut self, server: Value) -> Result<()> {
        let id = Fields::of("server", &server).text("id")?.to_owned();
        if self.chosen.insert(id.clone(), server).is_none() {
            self.order.push(id);
        }
        Ok(())
    }

    async fn select(&mut self, selector: &ServerSelector) -> Result<Found> {
        match selector {
            ServerSelector::All => Ok(Found::Many(self.all.clone().unwrap_or_default())),
            ServerSelector::Metadata { key, value } => {
                let all = self.all.iter().flatten();
                let carries = |server: &&Value| {
                    let metadata = Fields::of("server", server).texts("metadata");
                    metadata.get(key) == Some(value)
                };
                Ok(Found::Many(all.filter(carries).cloned().collect()))
            }
            ServerSelector::Tag(tag) => self.tagged(tag).await.map(Found::Many),
            ServerSelector::Id(id) => {
                let found = self.by_id(id).await?;
                found
                    .map(Found::One)
                    .ok_or_else(|| nobody(selector, "no server has this id"))
            }
            ServerSelector::Name(name) => self.by_name(name, selector).await.map(Found::One),
            ServerSelector::IdOrName(text) => match self.by_id(text).await? {
                Some(server) => Ok(Found::One(server)),
                None => self.by_name(text, selector).await.map(Found::One),
            },
            other => {
                let message = "servers of an OpenStack cloud cannot be selected like this";
                Err(Error::new(Kind::Unsupported, OPERATION, message).with("selector", other))
            }
        }
    }

    async fn list(&mut self, tag: Option<&str>) -> Result<Vec<Value>> {
        let mut request = Request::get("servers/detail").operation(OPERATION);
        if let Some(tag) = tag {
            request = request.query("tags", tag);
        }
        if let Some(microversion) = self.microversion {
            request = request.microversion(microversion);
        }
        let orders = &mut self.orders;
        self.client
            .list_seen(Service::Compute, request, "servers", &mut |text| {
                orders.read(text)
            })
            .await
    }

    async fn tagged(&mut self, tag: &str) -> Result<Vec<Value>> {
        if self.microversion.is_none_or(|has| has < TAGS) {
            let message = "this Nova is too old to know tags: select servers otherwise";
            return Err(Error::new(Kind::Unsupported, OPERATION, message).with("tag", tag));
        }
        let mut servers = match &self.all {
            Some(all) => all.clone(),
            // A tag holds neither commas nor slashes, and to Nova a comma separates tags.
            None if tag.is_empty() || tag.contains([',', '/']) => Vec::new(),
            None => self.list(Some(tag)).await?,
        };
        servers.retain(|server| {
            let tags = Fields::of("server", server).words("tags");
            tags.iter().any(|carried| carried == tag)
        });
        Ok(servers)
    }

    async fn by_id(&mut self, id: &str) -> Result<Option<Value>> {
        let has_id = |server: &&Value| server.get("id").and_then(Value::as_str) == Some(id);
        if let Some(known) = self.chosen.get(id) {
            return Ok(Some(known.clone()));
        }
        if let Some(all) = &self.all {
            return Ok(all.iter().find(has_id).cloned());
        }
        // What is no id must not become another path.
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || !id.chars().all(is_id) || id == "detail" {
            return Ok(None);
        }
        let mut request = Request::get(format!("servers/{id}")).operation(OPERATION);
        if let Some(microversion) = self.microversion {
            request = request.microversion(microversion);
        }
        let answer = match self.client.send(Service::Compute, request).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            answer => answer?,
        };
        self.orders.read(&answer.text)?;
        let server = answer.take("server")?;
        let project = self.client.principal().project.id;
        let owner = Fields::of("server", &server).maybe("tenant_id");
        if owner.is_some_and(|owner| owner != project) {
            let message = "the server belongs to another project, though this user may see it: connect to that project";
            return Err(Error::new(Kind::NotFound, OPERATION, message).with("server", id));
        }
        Ok(Some(server))
    }

    async fn by_name(&mut self, name: &str, selector: &ServerSelector) -> Result<Value> {
        if self.names.is_none() {
            self.names = Some(self.list_names().await?);
        }
        let names = self.names.iter().flatten();
        let ids: Vec<String> = names
            .filter(|(_, known)| known == name)
            .map(|(id, _)| id.clone())
            .collect();
        match ids.as_slice() {
            [id] => self
                .by_id(id)
                .await?
                .ok_or_else(|| nobody(selector, "the server was deleted a moment ago")),
            [one, other, ..] => {
                let message = "several servers have this name: select one by its id";
                Err(Error::new(Kind::Invalid, OPERATION, message)
                    .with("selector", selector)
                    .with("servers", format!("{one}, {other} ...")))
            }
            [] => Err(nobody(selector, "no server has this name")),
        }
    }

    /// Nova's own filter by name takes regular expressions, whose dialect depends on its database.
    async fn list_names(&self) -> Result<Vec<(String, String)>> {
        let listed;
        let servers = match &self.all {
            Some(all) => all,
            None => {
                let request = Request::get("servers").operation(OPERATION);
                listed = self
                    .client
                    .list(Service::Compute, request, "servers")
                    .await?;
                &listed
            }
        };
        servers
            .iter()
            .map(|server| {
                let server = Fields::of("server", server);
                let name = server.maybe("name").unwrap_or_default();
                Ok((server.text("id")?.to_owned(), name))
            })
            .collect()
    }
}

fn nobody(selector: &ServerSelector, message: &str) -> Error {
    Error::new(Kind::NotFound, OPERATION, message).with("selector", selector)
}
