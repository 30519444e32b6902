//! One cloud's settings, from wherever they come, with openstacksdk's rules for which of several counts.

use std::time::Duration;

use raksha_core::{Error, Result};

use super::files::{self, Files};
use super::sources::Sources;
use super::yaml::{Map, Node};
use super::{OPERATION, invalid};

/// Variables that choose among clouds and do not describe one.
const SELECTORS: [&str; 5] = [
    "OS_CLOUD",
    "OS_CLOUD_NAME",
    "OS_REGION_NAME",
    "OS_CLIENT_CONFIG_FILE",
    "OS_CLIENT_SECURE_FILE",
];

/// Keys in lower case with underscores; values as written.
pub(super) struct Settings {
    pub(super) name: String,
    /// Where they come from, for messages.
    origin: String,
    top: Map,
    auth: Map,
}

impl Settings {
    /// The cloud `name` of the files; `region` chooses one of its regions, else the first counts.
    pub(super) fn from_files(
        name: &str,
        mut files: Files,
        region: Option<&str>,
        sources: &Sources,
    ) -> Result<Self> {
        let Some(Node::Map(own)) = files.clouds.remove(name) else {
            return Err(super::no_such_cloud(name, &files));
        };
        let own = normalise(own);
        let mut top = match ["profile", "cloud"]
            .iter()
            .find_map(|key| text(own.get(*key)))
        {
            Some(profile) => normalise(files::profile(sources, profile)?),
            None => Map::new(),
        };
        files::overlay(&mut top, own);
        let mut settings = Self::new(name, files.origin, top)?;
        settings.choose_region(region)?;
        Ok(settings)
    }

    /// The cloud that the `OS_*` variables describe; `None` if they describe none.
    pub(super) fn from_variables(name: &str, sources: &Sources) -> Result<Option<Self>> {
        let describes = |name: &str| {
            name.starts_with("OS_")
                && !["OS_TEST", "OS_STD", "OS_LOG"]
                    .iter()
                    .any(|other| name.starts_with(other))
        };
        let described: Vec<(&str, &str)> = sources
            .variables()
            .filter(|(name, _)| describes(name))
            .collect();
        if described.iter().all(|(name, _)| SELECTORS.contains(name)) {
            return Ok(None);
        }
        let top = described
            .into_iter()
            .filter(|(name, _)| !["OS_CLOUD", "OS_CLOUD_NAME"].contains(name))
            .filter_map(|(name, value)| {
                Some((
                    name.strip_prefix("OS_")?.to_lowercase(),
                    Node::scalar(value),
                ))
            })
            .collect();
        Self::new(name, "the OS_* variables".to_owned(), top).map(Some)
    }

    fn new(name: &str, origin: String, mut top: Map) -> Result<Self> {
        let auth = top.remove("auth");
        let mut settings = Self {
            name: name.to_owned(),
            origin,
            top,
            auth: Map::new(),
        };
        match auth {
            Some(Node::Map(auth)) => settings.auth = auth,
            Some(Node::Scalar(text)) if text.is_empty() => {}
            None => {}
            Some(_) => return Err(settings.fault("auth must be a mapping of settings")),
        }
        Ok(settings)
    }

    /// Resolves `regions` (names, or names with values of their own) and a list in `region_name` to one region.
    fn choose_region(&mut self, wanted: Option<&str>) -> Result<()> {
        let listed = match self.top.remove("regions") {
            Some(Node::List(items)) => items,
            Some(Node::Scalar(text)) if text.is_empty() => Vec::new(),
            None => Vec::new(),
            Some(_) => return Err(self.fault("regions must be a list")),
        };
        let mut regions: Vec<(String, Map)> = Vec::new();
        for item in listed {
            let region = match item {
                Node::Scalar(name) => Some((name.to_string(), Map::new())),
                Node::Map(mut map) => {
                    let values = match map.remove("values") {
                        Some(Node::Map(values)) => normalise(values),
                        _ => Map::new(),
                    };
                    text(map.get("name")).map(|name| (name.to_owned(), values))
                }
                Node::List(_) => None,
            };
            regions.push(region.ok_or_else(|| self.fault("an entry of regions has no name"))?);
        }
        if regions.is_empty() {
            regions = match self.top.get("region_name") {
                Some(Node::Scalar(names)) if !names.is_empty() => names
                    .split(',')
                    .map(|name| (name.trim().to_owned(), Map::new()))
                    .collect(),
                Some(Node::List(items)) => items
                    .iter()
                    .filter_map(|item| Some((text(Some(item))?.to_owned(), Map::new())))
                    .collect(),
                _ => Vec::new(),
            };
        }
        let names = || {
            regions
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let position = match wanted {
            None => 0,
            Some(wanted) => match regions.iter().position(|(name, _)| name == wanted) {
                Some(position) => position,
                None if regions.is_empty() => {
                    self.top
                        .insert("region_name".to_owned(), Node::scalar(wanted));
                    return Ok(());
                }
                None => {
                    let fault =
                        self.fault("the cloud has no such region; names are case-sensitive");
                    return Err(fault.with("region", wanted).with("regions", names()));
                }
            },
        };
        if position < regions.len() {
            let (name, mut values) = regions.swap_remove(position);
            if let Some(Node::Map(auth)) = values.remove("auth") {
                files::overlay(&mut self.auth, auth);
            }
            files::overlay(&mut self.top, values);
            self.top
                .insert("region_name".to_owned(), Node::scalar(name));
        }
        Ok(())
    }

    /// A setting that says what is wanted (projects, domains, tokens): of `keys` the last that is set counts, and outside the section
    /// `auth` more than inside.
    pub(super) fn target(&self, keys: &[&str]) -> Result<Option<&str>> {
        for key in keys.iter().rev() {
            for map in [&self.top, &self.auth] {
                if let Some(value) = self.text_in(map, key)? {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// A setting that says who one is: of `keys` the last that is set counts, and inside the section `auth` more than outside.
    pub(super) fn credential(&self, keys: &[&str]) -> Result<Option<&str>> {
        for map in [&self.auth, &self.top] {
            for key in keys.iter().rev() {
                if let Some(value) = self.text_in(map, key)? {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// A setting of the connection; of `keys` the last that is set counts.
    pub(super) fn setting(&self, keys: &[&str]) -> Result<Option<&str>> {
        for key in keys.iter().rev() {
            if let Some(value) = self.text_in(&self.top, key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.setting(&[key])? else {
            return Ok(None);
        };
        match value.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Some(true)),
            "false" | "no" | "off" | "0" => Ok(Some(false)),
            _ => Err(self.fault(format!("{key} must be true or false"))),
        }
    }

    pub(super) fn seconds(&self, key: &str) -> Result<Option<Duration>> {
        let Some(value) = self.setting(&[key])? else {
            return Ok(None);
        };
        value
            .parse::<f64>()
            .ok()
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(Some)
            .ok_or_else(|| self.fault(format!("{key} must be a number of seconds above 0")))
    }

    /// The settings `…_endpoint_override`, by what stands before.
    pub(super) fn endpoint_overrides(&self) -> Result<Vec<(&str, &str)>> {
        let mut overrides = Vec::new();
        for key in self.top.keys() {
            if let Some(service) = key.strip_suffix("_endpoint_override")
                && let Some(url) = self.setting(&[key])?
            {
                overrides.push((service, url));
            }
        }
        Ok(overrides)
    }

    fn text_in<'a>(&self, map: &'a Map, key: &str) -> Result<Option<&'a str>> {
        match map.get(key) {
            Some(Node::List(_) | Node::Map(_)) => {
                Err(self.fault(format!("{key} must be one value, not a list or mapping")))
            }
            node => Ok(text(node)),
        }
    }

    /// An error about these settings.
    pub(super) fn fault(&self, message: impl Into<String>) -> Error {
        invalid(message)
            .with("cloud", &self.name)
            .with("from", &self.origin)
    }
}

fn text(node: Option<&Node>) -> Option<&str> {
    match node {
        Some(Node::Scalar(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Keys with underscores for dashes, in nested mappings too.
fn normalise(map: Map) -> Map {
    map.into_iter()
        .map(|(key, value)| {
            let value = match value {
                Node::Map(map) => Node::Map(normalise(map)),
                other => other,
            };
            (key.replace('-', "_"), value)
        })
        .collect()
}

/// The name under which the variables' cloud goes.
pub(super) fn variables_name(sources: &Sources) -> &str {
    sources.get("OS_CLOUD_NAME").unwrap_or("envvars")
}

/// An error for files that leave it open which cloud is meant.
pub(super) fn undecided(files: &Files) -> Error {
    let message = if files.clouds.is_empty() {
        "no cloud is described: write a clouds.yaml (here, in ~/.config/openstack or in /etc/openstack), or set OS_AUTH_URL and the other OS_* variables"
    } else {
        "several clouds are described: name one, or set OS_CLOUD"
    };
    let names = files.clouds.keys().cloned().collect::<Vec<_>>().join(", ");
    let error = Error::new(raksha_core::Kind::Invalid, OPERATION, message);
    if names.is_empty() {
        error
    } else {
        error.with("clouds", names).with("from", &files.origin)
    }
}
