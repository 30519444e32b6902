//! Servers.

use raksha_core::Result;
use raksha_core::cloud::{Attachment, DiskSource, ResourceKind as K, ResourceRef, Server};
use serde_json::{Value, json};

use super::{Body, put};
use crate::client::Microversion;
use crate::restore::there::There;

/// From here on tags are told at birth.
const TAGS: Microversion = Microversion::new(2, 52);
/// From here on disks have tags, apart from a gap between 2.33 and 2.41 in which they had not.
const DISK_TAGS: Microversion = Microversion::new(2, 42);
/// From here on servers have a description.
const DESCRIPTION: Microversion = Microversion::new(2, 19);

/// What the body of a server needs beside the point and the mapping.
#[derive(Debug, Clone, Copy)]
pub(in crate::restore) struct ServerParts<'a> {
    /// The live flavor's id.
    pub(in crate::restore) flavor: &'a str,
    /// The image that carries its own root disk.
    pub(in crate::restore) root: Option<&'a str>,
    /// The description until its id is known.
    pub(in crate::restore) marker: &'a str,
    /// What Nova is asked in.
    pub(in crate::restore) microversion: Microversion,
}

/// The whole body of the request for a server, with the same disks and ports in the same order.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for something that it needs.
pub(in crate::restore) fn server(
    point: &Server,
    there: There<'_>,
    parts: ServerParts<'_>,
) -> Result<Value> {
    let ServerParts {
        flavor,
        root,
        marker,
        microversion,
    } = parts;
    let mut body = Body::new();
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::Server(point))),
    );
    put(&mut body, "flavorRef", Some(flavor));
    put(&mut body, "imageRef", Some(root.unwrap_or_default()));
    put(
        &mut body,
        "availability_zone",
        there.zone(point.availability_zone.as_deref()),
    );
    put(&mut body, "config_drive", Some(point.config_drive));
    put(&mut body, "user_data", point.user_data.as_deref());
    put(&mut body, "metadata", Some(json!(point.metadata)));
    if let Some(key) = &point.key_pair {
        put(
            &mut body,
            "key_name",
            Some(there.id(K::KeyPair, key.as_str())?),
        );
    }
    if microversion >= DESCRIPTION {
        put(&mut body, "description", Some(marker));
    }
    if microversion >= TAGS && !point.tags.is_empty() {
        put(&mut body, "tags", Some(point.tags.clone()));
    }
    let mut disks = Vec::new();
    for attachment in &point.attachments {
        disks.extend(disk(attachment, there, root, microversion)?);
    }
    put(&mut body, "block_device_mapping_v2", Some(disks));
    let mut ports = Vec::new();
    for port in &point.ports {
        ports.push(json!({ "port": there.id(K::Port, port.as_str())? }));
    }
    put(
        &mut body,
        "networks",
        Some(if ports.is_empty() {
            json!("none")
        } else {
            json!(ports)
        }),
    );
    let mut whole = Body::new();
    put(&mut whole, "server", Some(body));
    if let Some(group) = &point.server_group {
        let group = there.id(K::ServerGroup, group.as_str())?;
        put(
            &mut whole,
            "os:scheduler_hints",
            Some(json!({ "group": group })),
        );
    }
    Ok(Value::Object(whole))
}

/// One disk; none for a disk that comes with the flavor.
fn disk(
    attachment: &Attachment,
    there: There<'_>,
    root: Option<&str>,
    microversion: Microversion,
) -> Result<Option<Value>> {
    let mut body = Body::new();
    match (&attachment.source, root) {
        (DiskSource::Volume(id), _) => {
            put(&mut body, "source_type", Some("volume"));
            put(&mut body, "destination_type", Some("volume"));
            put(&mut body, "uuid", Some(there.id(K::Volume, id.as_str())?));
            put(
                &mut body,
                "delete_on_termination",
                Some(attachment.delete_on_termination),
            );
        }
        (DiskSource::Local { name, .. }, Some(image)) if name == "root" => {
            put(&mut body, "source_type", Some("image"));
            put(&mut body, "destination_type", Some("local"));
            put(&mut body, "uuid", Some(image));
            put(&mut body, "delete_on_termination", Some(true));
        }
        (DiskSource::Local { .. }, _) => return Ok(None),
    }
    let index = attachment.boot_index.map_or(-1, i64::from);
    put(&mut body, "boot_index", Some(index));
    put(&mut body, "device_name", attachment.device.as_deref());
    if microversion >= DISK_TAGS {
        put(&mut body, "tag", attachment.tag.as_deref());
    }
    Ok(Some(Value::Object(body)))
}
