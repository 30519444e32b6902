//! Volumes and images: from Cinder's and Glance's words to values.

use std::collections::BTreeMap;

use raksha_core::Result;
use raksha_core::cloud::{Image, Volume};
use raksha_core::id::{ImageId, VolumeId};
use serde_json::Value;

use super::fields::Fields;

/// What every image has; everything else that is text is a property. Source: the schema of images in the Image API v2 reference.
const ATTRIBUTES: &[&str] = &[
    "checksum",
    "container_format",
    "created_at",
    "direct_url",
    "disk_format",
    "file",
    "id",
    "locations",
    "min_disk",
    "min_ram",
    "name",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "owner",
    "protected",
    "schema",
    "self",
    "size",
    "status",
    "stores",
    "tags",
    "updated_at",
    "virtual_size",
    "visibility",
];

pub(super) fn volume(raw: Value) -> Result<Volume> {
    let fields = Fields::of("volume", &raw);
    Ok(Volume {
        id: VolumeId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        description: fields.maybe("description"),
        size: fields.number("size")?.saturating_mul(1 << 30),
        volume_type: fields.maybe("volume_type"),
        availability_zone: fields.maybe("availability_zone"),
        bootable: fields.flag("bootable", false),
        multiattach: fields.flag("multiattach", false),
        encrypted: fields.flag("encrypted", false),
        metadata: fields.texts("metadata"),
        image_metadata: fields.texts("volume_image_metadata"),
        raw,
    })
}

pub(super) fn image(raw: Value) -> Result<Image> {
    let fields = Fields::of("image", &raw);
    let properties: BTreeMap<String, String> = raw
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !ATTRIBUTES.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    Ok(Image {
        id: ImageId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        // Null only while an image has no data yet.
        disk_format: fields.maybe("disk_format").unwrap_or_default(),
        min_disk_gib: fields.count("min_disk").unwrap_or_default(),
        min_memory_mib: fields.count("min_ram").unwrap_or_default(),
        properties,
        raw,
    })
}

/// How large a disk made from the image is, in bytes, if Glance knows: of raw images the size, of others what was found in them.
pub(super) fn disk_size(image: &Image) -> Option<u64> {
    let fields = Fields::of("image", &image.raw);
    let virtual_size = fields.count("virtual_size").filter(|size| *size > 0);
    virtual_size.or_else(|| fields.count("size").filter(|_| image.disk_format == "raw"))
}
