//! From what a cloud's services say to a graph of resources.

use raksha_core::cloud::{ResourceGraph, Selection};
use raksha_core::{Error, Kind, Result};

use crate::client::Client;

/// The selected servers and all that belongs to them.
pub(crate) async fn discover(client: &Client, selection: &Selection) -> Result<ResourceGraph> {
    if selection.0.is_empty() {
        return Ok(ResourceGraph::default());
    }
    Err(Error::new(
        Kind::Unsupported,
        "discover servers",
        "servers cannot be selected yet",
    )
    .with("client", format!("{client:?}")))
}
