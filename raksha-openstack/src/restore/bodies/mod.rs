//! What the cloud is told to create, as JSON: functions of the point's resource and of what stands for what.

mod access;
mod network;
mod port;
mod server;
mod volume;

pub(super) use access::{key_pair, security_group, security_group_rule, server_group};
pub(super) use network::{interface_port, network, router, routes, subnet};
pub(super) use port::{floating_ip, port};
pub(super) use server::{ServerParts, server};
pub(super) use volume::{
    GIB, RESTORED_ROOT, gib, image, image_metadata, root_image, root_image_stays, volume,
};

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

/// An object under construction.
type Body = Map<String, Value>;

/// Adds `value` if there is one.
fn put(body: &mut Body, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(key.to_owned(), value.into());
    }
}

/// Copies from what the cloud said of the original what the typed fields have no word for.
fn carry(body: &mut Body, raw: &Value, keys: &[&str]) {
    for key in keys {
        let value = raw.get(key).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        });
        put(body, key, value.cloned());
    }
}
