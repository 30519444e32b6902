//! Making one thing in the cloud so that it is never lost and never there twice.

use std::time::Duration;

use raksha_core::cloud::{Recorder, ResourceKind as K, Temporary};
use raksha_core::{Error, Kind, Result};
use serde_json::Value;

use super::Restorer;
use crate::client::{Microversion, Request, Service};

/// What temporaries of restores are called: this, and the kind of resource.
const RESTORED: &str = "restored ";
/// How markers of restores begin.
const MARKER: &str = "raksha-restore-";
/// How often the cloud is asked for one thing whose answer is lost each time.
const ASKED: u32 = 3;
/// When it is looked for after an answer was lost.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// A thing to be made.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) kind: K,
    pub(super) temporary: Temporary,
    /// What is asked, of whom.
    pub(super) service: Service,
    pub(super) request: Request,
    /// What the answer holds it under.
    pub(super) key: &'static str,
}

/// What temporaries of restores that are resources of `kind` are called.
pub(super) fn temporary_kind(kind: K) -> String {
    format!("{RESTORED}{kind}")
}

/// The kind of resource that a temporary of a restore is.
pub(super) fn resource_kind(temporary: &Temporary) -> Option<K> {
    const ALL: [K; 11] = [
        K::Network,
        K::Subnet,
        K::Router,
        K::SecurityGroup,
        K::KeyPair,
        K::ServerGroup,
        K::Image,
        K::Volume,
        K::Port,
        K::Server,
        K::FloatingIp,
    ];
    ALL.into_iter()
        .find(|kind| temporary_kind(*kind) == temporary.kind)
}

impl Restorer {
    /// A temporary with a marker of its own.
    pub(super) fn temporary(&self, kind: impl Into<String>, detail: Value) -> Result<Temporary> {
        let random = u64::from_le_bytes(self.env.random()?);
        Ok(Temporary {
            marker: format!("{MARKER}{random:016x}"),
            kind: kind.into(),
            id: None,
            detail,
        })
    }

    /// Makes what is ordered, and gives back what the cloud says of it.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] where the cloud speaks of a conflict: a name or address is taken. After an error that leaves it open whether
    /// the thing was made, it stays recorded.
    pub(super) async fn make(
        &self,
        order: Order,
        recorder: &dyn Recorder,
    ) -> Result<(String, Value)> {
        recorder.record(&order.temporary).await?;
        let made = match self.ask(&order).await {
            Err(error) if !undecided(&error) => {
                recorder.released(&order.temporary.marker).await?;
                return Err(taken(error));
            }
            made => made?,
        };
        let id = text(&made, "id")?.to_owned();
        let temporary = Temporary {
            id: Some(id.clone()),
            ..order.temporary
        };
        recorder.record(&temporary).await?;
        Ok((id, made))
    }

    /// The same for a thing that is known by its name, which is recorded as its id.
    pub(super) async fn make_named(&self, order: Order, recorder: &dyn Recorder) -> Result<()> {
        recorder.record(&order.temporary).await?;
        match self.ask(&order).await {
            Err(error) if !undecided(&error) => {
                recorder.released(&order.temporary.marker).await?;
                Err(taken(error))
            }
            made => made.map(drop),
        }
    }

    /// Asks until there is an answer, or the thing is found.
    async fn ask(&self, order: &Order) -> Result<Value> {
        let mut asked = 1;
        loop {
            let sent = self.client.send(order.service, order.request.clone()).await;
            let error = match sent.and_then(|answer| answer.take(order.key)) {
                Err(error) if undecided(&error) => error,
                decided => return decided,
            };
            for pause in LOOKS {
                tokio::time::sleep(pause).await;
                let Ok(found) = self.find_marked(order.kind, &order.temporary).await else {
                    continue;
                };
                let mut found = found.into_iter();
                if let Some(made) = found.next() {
                    // An earlier request that arrived late, too.
                    for twin in found {
                        self.remove_one(order.kind, text(&twin, "id")?).await?;
                    }
                    return Ok(made);
                }
            }
            if asked == ASKED {
                return Err(error);
            }
            asked += 1;
        }
    }

    /// What carries the marker of `temporary`.
    pub(super) async fn find_marked(&self, kind: K, temporary: &Temporary) -> Result<Vec<Value>> {
        let marker = temporary.marker.as_str();
        let neutron = match kind {
            K::Network => Some(("networks", "networks")),
            K::Subnet => Some(("subnets", "subnets")),
            K::Router => Some(("routers", "routers")),
            K::SecurityGroup => Some(("security-groups", "security_groups")),
            K::Port => Some(("ports", "ports")),
            K::FloatingIp => Some(("floatingips", "floatingips")),
            _ => None,
        };
        if let Some((path, key)) = neutron {
            let request = Request::get(path).query("description", marker);
            let mut found = self.client.list(Service::Network, request, key).await?;
            // A cloud that does not know the filter would answer with everything.
            found.retain(|one| is(one, "description", marker));
            return Ok(found);
        }
        let (mut found, field) = match kind {
            K::Volume => {
                let request = Request::get("volumes/detail").query("name", marker);
                let found = self.client.list(Service::BlockStorage, request, "volumes");
                (found.await?, "name")
            }
            K::Server => {
                let request = Request::get("servers/detail").microversion(DESCRIPTION);
                let found = self.client.list(Service::Compute, request, "servers");
                (found.await?, "description")
            }
            K::ServerGroup => return self.new_groups(temporary).await,
            K::KeyPair => {
                let name = temporary.id.as_deref().unwrap_or_default();
                let own = self.own_key_pair(name, temporary).await?;
                return Ok(own.into_iter().collect());
            }
            // An image's id is chosen by who makes it.
            _ => return Ok(Vec::new()),
        };
        found.retain(|one| is(one, field, marker));
        Ok(found)
    }

    /// Server groups that were not there before, nobody is in, and look like the one that was asked for.
    async fn new_groups(&self, temporary: &Temporary) -> Result<Vec<Value>> {
        let detail = &temporary.detail;
        let before = detail.get("before").and_then(Value::as_array);
        let name = detail.get("name").and_then(Value::as_str);
        let (Some(before), Some(name)) = (before, name) else {
            return Ok(Vec::new());
        };
        let mut groups = self.server_groups().await?;
        groups.retain(|group| {
            let members = group.get("members").and_then(Value::as_array);
            is(group, "name", name)
                && !group.get("id").is_some_and(|id| before.contains(id))
                && members.is_none_or(Vec::is_empty)
        });
        Ok(groups)
    }

    /// The server groups of the project.
    pub(super) async fn server_groups(&self) -> Result<Vec<Value>> {
        let microversion = self.speaks(Service::Compute, ONE_POLICY).await?;
        let request = Request::get("os-server-groups").microversion(microversion);
        let groups = self.client.list(Service::Compute, request, "server_groups");
        groups.await
    }

    /// The key pair `name`, if its public key is the one that was recorded.
    pub(super) async fn own_key_pair(
        &self,
        name: &str,
        temporary: &Temporary,
    ) -> Result<Option<Value>> {
        let request = Request::get(format!("os-keypairs/{name}"));
        let found = self.client.send(Service::Compute, request).await;
        let Some(found) = unless_gone(found)? else {
            return Ok(None);
        };
        let found = found.take("keypair")?;
        let key = temporary.detail.get("public_key").and_then(Value::as_str);
        let own = key.is_some_and(|key| is(&found, "public_key", key));
        Ok(own.then_some(found))
    }
}

/// From here on servers have a description.
pub(super) const DESCRIPTION: Microversion = Microversion::new(2, 19);
/// From here on a server group has one policy, and not a list.
pub(super) const ONE_POLICY: Microversion = Microversion::new(2, 64);

/// Whether `error` leaves it open if what was asked happened.
pub(super) fn undecided(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unavailable | Kind::Timeout | Kind::Corrupt | Kind::Internal
    )
}

/// A conflict at creation means that a name or address is taken.
fn taken(error: Error) -> Error {
    if error.kind() != Kind::Conflict {
        return error;
    }
    let message = "a name or an address that it needs is taken: remove what has it, map to that, or give the restored one a new name";
    Error::new(Kind::AlreadyExists, "restore resource", message).caused_by(error)
}

/// The text in the field `key` of what the cloud said.
///
/// # Errors
/// [`Kind::Corrupt`] if it is not there.
pub(super) fn text<'a>(of: &'a Value, key: &'static str) -> Result<&'a str> {
    of.get(key).and_then(Value::as_str).ok_or_else(|| {
        let message = "the cloud's answer lacks what it must have";
        Error::new(Kind::Corrupt, "restore resource", message).with("key", key)
    })
}

/// Whether the field `key` is `value`.
pub(super) fn is(of: &Value, key: &str, value: &str) -> bool {
    of.get(key).and_then(Value::as_str) == Some(value)
}

/// What was found; none if it is gone.
pub(super) fn unless_gone<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
