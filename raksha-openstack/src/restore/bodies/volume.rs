//! Volumes, and images: those of the point, and those that carry a disk.

use std::collections::BTreeMap;

use raksha_core::cloud::{Image, ResourceRef, Server, Volume};
use serde_json::{Value, json};

use super::{Body, put};
use crate::restore::there::There;

/// Volumes and flavors count in these.
pub(in crate::restore) const GIB: u64 = 1 << 30;

/// What an image says of itself and no one can set.
const OF_GLANCE: [&str; 22] = [
    "id",
    "name",
    "status",
    "visibility",
    "protected",
    "os_hidden",
    "owner",
    "checksum",
    "size",
    "virtual_size",
    "created_at",
    "updated_at",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "file",
    "self",
    "schema",
    "direct_url",
    "locations",
    "stores",
];

/// What Nova and Cinder note in an image of how it came about.
const OF_ORIGIN: [&str; 9] = [
    "base_image_ref",
    "instance_uuid",
    "image_type",
    "user_id",
    "boot_roles",
    "owner_project_name",
    "owner_user_name",
    "block_device_mapping",
    "bdm_v2",
];

/// `bytes` in GiB, rounded up.
pub(in crate::restore) fn gib(bytes: u64) -> u64 {
    bytes.div_ceil(GIB)
}

/// An empty volume, or one made of `image`. It is called `name` until its id is known.
pub(in crate::restore) fn volume(
    point: &Volume,
    name: &str,
    there: There<'_>,
    image: Option<&str>,
) -> Value {
    let mut body = Body::new();
    put(&mut body, "name", Some(name));
    put(&mut body, "description", point.description.as_deref());
    put(&mut body, "size", Some(gib(point.size).max(1)));
    put(
        &mut body,
        "volume_type",
        there.volume_type(point.volume_type.as_deref()),
    );
    put(
        &mut body,
        "availability_zone",
        there.zone(point.availability_zone.as_deref()),
    );
    put(&mut body, "imageRef", image);
    put(&mut body, "metadata", Some(json!(owned_metadata(point))));
    Value::Object(body)
}

/// What Cinder adds to a volume's metadata by itself is not its owner's to give.
fn owned_metadata(point: &Volume) -> BTreeMap<&str, &str> {
    let metadata = point.metadata.iter();
    metadata
        .filter(|(key, _)| !matches!(key.as_str(), "readonly" | "attached_mode"))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// How an image-made volume's properties become another's: what to set, and what to take away of what it has.
pub(in crate::restore) fn image_metadata(point: &Volume, live: &Value) -> (Value, Vec<String>) {
    let has = live.as_object();
    let gone = has.into_iter().flat_map(|has| has.keys());
    let gone = gone.filter(|key| !point.image_metadata.contains_key(*key));
    (json!(point.image_metadata), gone.cloned().collect())
}

/// An image of the point: its properties, and no bytes.
pub(in crate::restore) fn image(point: &Image, id: &str, there: There<'_>) -> Value {
    let mut body = properties(point);
    put(&mut body, "id", Some(id));
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::Image(point))),
    );
    put(&mut body, "disk_format", Some(point.disk_format.as_str()));
    put(&mut body, "container_format", Some("bare"));
    put(&mut body, "min_disk", Some(point.min_disk_gib));
    put(&mut body, "min_ram", Some(point.min_memory_mib));
    Value::Object(body)
}

/// The property of an image that a restored server was made of, and which stays for as long as the server does.
pub(in crate::restore) const RESTORED_ROOT: &str = "raksha_restored_root";

/// Whether the image that carries a server's own root disk has to stay: Nova shows the properties by which it made the hardware, such as that of the guest
/// agent, nowhere else, so that the next backup of the restored server would not know of them.
pub(in crate::restore) fn root_image_stays(of: Option<&Image>) -> bool {
    of.is_some_and(|image| !properties(image).is_empty())
}

/// The image that carries a disk; for a server's own root, with the properties that make its hardware what it was.
pub(in crate::restore) fn root_image(
    name: &str,
    id: &str,
    size: u64,
    of: Option<(&Server, Option<&Image>)>,
) -> Value {
    let image = of.and_then(|(_, image)| image);
    let mut body = image.map(properties).unwrap_or_default();
    if root_image_stays(image) {
        put(&mut body, RESTORED_ROOT, Some("yes"));
    }
    put(&mut body, "id", Some(id));
    put(&mut body, "name", Some(name));
    put(&mut body, "disk_format", Some("qcow2"));
    put(&mut body, "container_format", Some("bare"));
    put(&mut body, "min_disk", Some(gib(size)));
    put(
        &mut body,
        "min_ram",
        image.map(|image| image.min_memory_mib),
    );
    Value::Object(body)
}

/// The properties that an owner can set, which lie beside an image's other fields.
fn properties(image: &Image) -> Body {
    let mut body = Body::new();
    for (key, value) in &image.properties {
        let own = key == RESTORED_ROOT
            || OF_GLANCE.contains(&key.as_str())
            || OF_ORIGIN.contains(&key.as_str())
            || ["os_hash_", "os_glance_"]
                .iter()
                .any(|of| key.starts_with(of));
        if !own {
            put(&mut body, key, Some(value.as_str()));
        }
    }
    body
}
