//! Finding what there is.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::ResourceGraph;
use crate::error::Result;

/// Which servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerSelector {
    /// The server with this id.
    Id(String),
    /// The server with this name; it must be the only one.
    Name(String),
    /// The server with this id or, failing that, this name.
    IdOrName(String),
    /// Every server that carries this tag.
    Tag(String),
    /// Every server that has this key with this value.
    Metadata {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Every server of the project.
    All,
}

impl fmt::Display for ServerSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id={id}"),
            Self::Name(name) => write!(f, "name={name}"),
            Self::IdOrName(text) => f.write_str(text),
            Self::Tag(tag) => write!(f, "tag={tag}"),
            Self::Metadata { key, value } => write!(f, "metadata:{key}={value}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// A set of servers: the union of what its selectors find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(pub Vec<ServerSelector>);

/// Finds resources as the principal that the implementation was made for.
///
/// # Contract
/// The graph holds the selected servers, each once, and everything they refer to that the principal may see; it passes
/// [`ResourceGraph::check`]. What may not be seen is named in its omissions. Nothing in the cloud changes.
///
/// # Errors
/// [`Kind::NotFound`](crate::Kind::NotFound) if an id or name selects nothing (a tag that nobody carries selects the
/// empty set), [`Kind::Invalid`](crate::Kind::Invalid) if a name selects several servers or two selectors by id or name select the same.
#[async_trait]
pub trait ResourceDiscovery: Send + Sync + fmt::Debug {
    /// The selected servers and all that belongs to them.
    async fn discover(&self, selection: &Selection) -> Result<ResourceGraph>;

    /// Names the cloud in which it finds them, and the project there: one text for one place, whoever works in it, and another for any other. It is recorded
    /// with runs and restores, since what they leave is there and nowhere else: elsewhere it looks like something that is gone already.
    fn place(&self) -> String;
}
