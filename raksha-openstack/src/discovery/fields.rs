//! Reading JSON that a cloud sent.

use std::collections::BTreeMap;

use raksha_core::{Error, Kind, Result};
use serde_json::Value;

/// A JSON object of the cloud, and what it describes.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    what: &'static str,
    value: &'a Value,
}

impl<'a> Fields<'a> {
    pub(super) fn of(what: &'static str, value: &'a Value) -> Self {
        Self { what, value }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// A text that must be there.
    pub(super) fn text(&self, key: &'static str) -> Result<&'a str> {
        let text = self.get(key).and_then(Value::as_str);
        text.ok_or_else(|| self.missing(key))
    }

    /// A text; none if it is absent or empty.
    pub(super) fn maybe(&self, key: &str) -> Option<String> {
        let text = self.get(key)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A number that must be there; some are written as text.
    pub(super) fn number(&self, key: &'static str) -> Result<u64> {
        self.count(key).ok_or_else(|| self.missing(key))
    }

    /// A number.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    /// A truth, in any of the forms that the services use; `otherwise` if it is absent.
    pub(super) fn flag(&self, key: &str, otherwise: bool) -> bool {
        match self.get(key) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => otherwise,
        }
    }

    /// Keys and values; values that are no texts as JSON.
    pub(super) fn texts(&self, key: &str) -> BTreeMap<String, String> {
        let object = self.get(key).and_then(Value::as_object);
        object
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), text_of(value)))
            .collect()
    }

    /// A list of texts.
    pub(super) fn words(&self, key: &str) -> Vec<String> {
        self.list(key).iter().map(text_of).collect()
    }

    /// A list.
    pub(super) fn list(&self, key: &str) -> &'a [Value] {
        self.get(key)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// An object within.
    pub(super) fn inner(&self, key: &str) -> Option<Fields<'a>> {
        let value = self.get(key).filter(|value| value.is_object())?;
        Some(Self::of(self.what, value))
    }

    fn missing(&self, key: &'static str) -> Error {
        let message = "the cloud describes something without what it must have";
        let error = Error::new(Kind::Corrupt, "discover servers", message)
            .with("what", self.what)
            .with("key", key);
        match self.maybe("id") {
            Some(id) => error.with("id", id),
            None => error,
        }
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
