//! What exists in the cloud, as data: it is one JSON file beside the disks.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What there can be in the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are OpenStack's
#[non_exhaustive]
pub enum Kind {
    User,
    Project,
    Role,
    Token,
    ApplicationCredential,
    AccessRule,
    Trust,
    Flavor,
    Server,
    KeyPair,
    ServerGroup,
    Volume,
    Snapshot,
    Attachment,
    VolumeType,
    Group,
    GroupType,
    GroupSnapshot,
    Image,
    Network,
    Subnet,
    Port,
    Router,
    FloatingIp,
    SecurityGroup,
    Container,
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).unwrap_or_default();
        f.write_str(name.as_str().unwrap_or_default())
    }
}

/// One thing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    /// Whose it is; empty for what belongs to the cloud.
    pub(super) project: String,
    /// The order of creation.
    pub(super) serial: u64,
    /// What the service shows of it in full; an object.
    pub(super) body: Value,
    /// What the service knows and does not show; an object.
    pub(super) inner: Value,
}

impl Record {
    /// A field of the body as text; empty if it is none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).as_str().unwrap_or_default()
    }

    /// A field of the body; null if there is none.
    pub(super) fn get(&self, key: &str) -> &Value {
        self.body.get(key).unwrap_or(&Value::Null)
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        set(&mut self.body, key, value.into());
    }

    /// Sets all fields of the object `fields`.
    pub(super) fn merge(&mut self, fields: &Value) {
        merge(&mut self.body, fields);
    }

    pub(super) fn inner(&self, key: &str) -> &Value {
        self.inner.get(key).unwrap_or(&Value::Null)
    }

    pub(super) fn inner_text(&self, key: &str) -> &str {
        self.inner(key).as_str().unwrap_or_default()
    }

    pub(super) fn set_inner(&mut self, key: &str, value: impl Into<Value>) {
        set(&mut self.inner, key, value.into());
    }
}

/// Sets a field of an object; what is no object becomes one.
pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = as_map(object) {
        map.insert(key.to_owned(), value);
    }
}

/// Sets all fields of `fields` in `object`.
pub(super) fn merge(object: &mut Value, fields: &Value) {
    if let (Some(map), Some(fields)) = (as_map(object), fields.as_object()) {
        map.extend(fields.clone());
    }
}

pub(super) fn as_map(object: &mut Value) -> Option<&mut Map<String, Value>> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    object.as_object_mut()
}

/// Something that happens by itself, later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Work {
    /// When, in milliseconds since 1970.
    pub(super) due: u64,
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) change: Change,
}

/// What happens to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Change {
    /// These fields of the body get these values.
    Set(Value),
    /// It is gone, and what belongs to it.
    Remove,
}

/// What exists, by kind and id.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    serial: u64,
    tables: BTreeMap<Kind, BTreeMap<String, Record>>,
    pub(super) work: Vec<Work>,
    /// Limits that differ from the default ones, by project and resource.
    pub(super) quotas: BTreeMap<String, BTreeMap<String, i64>>,
    /// The records that guests wrote, by server.
    pub(super) guests: BTreeMap<String, super::guest::Guest>,
    pub(super) denials: Vec<super::policy::Denial>,
}

impl State {
    /// Adds a thing; the order of additions is the order of creation.
    pub(super) fn add(&mut self, kind: Kind, project: &str, id: &str, body: Value) -> &mut Record {
        self.serial += 1;
        let record = Record {
            id: id.to_owned(),
            project: project.to_owned(),
            serial: self.serial,
            body,
            inner: Value::Object(Map::new()),
        };
        let table = self.tables.entry(kind).or_default();
        table.insert(id.to_owned(), record);
        table.entry(id.to_owned()).or_default()
    }

    pub(super) fn get(&self, kind: Kind, id: &str) -> Option<&Record> {
        self.tables.get(&kind)?.get(id)
    }

    pub(super) fn get_mut(&mut self, kind: Kind, id: &str) -> Option<&mut Record> {
        self.tables.get_mut(&kind)?.get_mut(id)
    }

    pub(super) fn remove(&mut self, kind: Kind, id: &str) -> Option<Record> {
        self.tables.get_mut(&kind)?.remove(id)
    }

    /// All of a kind, oldest first.
    pub(super) fn all(&self, kind: Kind) -> Vec<&Record> {
        let mut all: Vec<_> = self
            .tables
            .get(&kind)
            .into_iter()
            .flat_map(BTreeMap::values)
            .collect();
        all.sort_by_key(|record| record.serial);
        all
    }

    /// All of a kind that `wanted` says yes to, oldest first.
    pub(super) fn filter(&self, kind: Kind, wanted: impl Fn(&Record) -> bool) -> Vec<&Record> {
        let mut all = self.all(kind);
        all.retain(|record| wanted(record));
        all
    }

    /// All of a kind in a project, oldest first.
    pub(super) fn of(&self, kind: Kind, project: &str) -> Vec<&Record> {
        self.filter(kind, |record| record.project == project)
    }

    /// The ids of those that `wanted` says yes to, oldest first: for changing them one by one.
    pub(super) fn ids(&self, kind: Kind, wanted: impl Fn(&Record) -> bool) -> Vec<String> {
        let found = self.filter(kind, wanted);
        found.into_iter().map(|record| record.id.clone()).collect()
    }
}

/// What exists in a cloud, without what comes and goes by itself (tokens): to compare before and after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// By kind, by id: name and status.
    pub things: BTreeMap<Kind, BTreeMap<String, String>>,
}

impl Inventory {
    pub(super) fn of(state: &State) -> Self {
        let mut things = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (kind, table) in &state.tables {
            if *kind == Kind::Token {
                continue;
            }
            for record in table.values() {
                let text = format!("{} {}", record.text("name"), record.text("status"));
                let of_kind = things.entry(*kind).or_default();
                of_kind.insert(record.id.clone(), text.trim().to_owned());
            }
        }
        Self { things }
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.things.get(&kind).map_or(0, BTreeMap::len)
    }

    /// What is in `later` and not here, and the other way round, one line each: `+ volume ID name status`. Changes of name and status are
    /// not looked at.
    pub fn difference(&self, later: &Self) -> Vec<String> {
        let lines = |sign, from: &Self, to: &Self| {
            let mut lines = Vec::new();
            for (kind, table) in &to.things {
                for (id, text) in table {
                    if !from
                        .things
                        .get(kind)
                        .is_some_and(|known| known.contains_key(id))
                    {
                        lines.push(format!("{sign} {kind} {id} {text}"));
                    }
                }
            }
            lines
        };
        let mut all = lines('+', self, later);
        all.extend(lines('-', later, self));
        all
    }
}
