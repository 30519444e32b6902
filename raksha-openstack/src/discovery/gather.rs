//! Asking for many things with few requests.

use std::collections::{BTreeMap, BTreeSet};

use raksha_core::{Kind, Result};
use serde_json::Value;

use super::OPERATION;
use super::fields::Fields;
use crate::client::{Client, Microversion, Request, Service};

/// So many ids fit into a URL that every proxy lets through: 48 bytes each below 4 KiB.
const IDS_A_REQUEST: usize = 80;

/// So many things are asked for one by one before all of a project are listed instead.
const ONE_BY_ONE: usize = 4;

/// What Neutron lists at `path` under `key` for any of `values` in `filter`, in the order of ids, each once.
pub(super) async fn by_filter(
    client: &Client,
    path: &'static str,
    key: &'static str,
    filter: &str,
    values: &BTreeSet<String>,
    further: &[(&str, &str)],
) -> Result<Vec<Value>> {
    let mut found = BTreeMap::new();
    let values: Vec<&String> = values.iter().collect();
    for values in values.chunks(IDS_A_REQUEST) {
        let mut request = Request::get(path).operation(OPERATION);
        for value in values {
            request = request.query(filter, value);
        }
        for (name, value) in further {
            request = request.query(*name, value);
        }
        for item in client.list(Service::Network, request, key).await? {
            found.insert(Fields::of(path, &item).text("id")?.to_owned(), item);
        }
    }
    Ok(found.into_values().collect())
}

/// The volumes with these ids that may be seen, in the order of ids.
pub(super) async fn volumes(
    client: &Client,
    ids: &BTreeSet<String>,
    microversion: Option<Microversion>,
) -> Result<Vec<Value>> {
    let asked = |path: String| {
        let request = Request::get(path).operation(OPERATION);
        match microversion {
            Some(microversion) => request.microversion(microversion),
            None => request,
        }
    };
    if ids.len() > ONE_BY_ONE {
        // Cinder can filter by much, but not by several ids.
        let request = asked("volumes/detail".to_owned());
        let all = client
            .list(Service::BlockStorage, request, "volumes")
            .await?;
        let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
        for volume in all {
            let id = Fields::of("volume", &volume).text("id")?.to_owned();
            if ids.contains(&id) {
                wanted.insert(id, volume);
            }
        }
        return Ok(wanted.into_values().collect());
    }
    let mut found = Vec::new();
    for id in ids {
        let request = asked(format!("volumes/{id}"));
        match client.send(Service::BlockStorage, request).await {
            Ok(answer) => found.push(answer.take("volume")?),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The images with these ids that may be seen, in the order of ids. One by one: lists leave out hidden images and those of the community, from which
/// servers are made all the same.
pub(super) async fn images(client: &Client, ids: &BTreeSet<String>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for id in ids {
        let request = Request::get(format!("images/{id}")).operation(OPERATION);
        match client.send(Service::Image, request).await {
            Ok(answer) => found.push(answer.body),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// All server groups of the project, in the order of ids. Nova pages them by offset and gives no links.
pub(super) async fn server_groups(
    client: &Client,
    microversion: Option<Microversion>,
) -> Result<Vec<Value>> {
    const PAGE: usize = 500;
    let mut found = BTreeMap::new();
    loop {
        let known = found.len();
        let mut request = Request::get("os-server-groups")
            .query("limit", PAGE)
            .query("offset", known)
            .operation(OPERATION);
        if let Some(microversion) = microversion {
            request = request.microversion(microversion);
        }
        let answer = client.send(Service::Compute, request).await?;
        let page = answer.take("server_groups")?;
        let page = page.as_array().cloned().unwrap_or_default();
        let last = page.len() < PAGE;
        for group in page {
            found.insert(
                Fields::of("server group", &group).text("id")?.to_owned(),
                group,
            );
        }
        if last || found.len() == known {
            return Ok(found.into_values().collect());
        }
    }
}
