//! How to reach a cloud, and as whom: what openstacksdk and the `openstack` command read, read the same way.
//!
//! # Where settings come from
//!
//! [`CloudConfig::named`] takes the cloud of that name from `clouds.yaml`, with `secure.yaml` laid over it and, if the cloud has the key
//! `profile`, that entry of `clouds-public.yaml` under it. Each is the first of its name (`.yaml`, `.yml`, `.json`) in
//! the directories of [`Sources`]; `OS_CLIENT_CONFIG_FILE` and `OS_CLIENT_SECURE_FILE` name other ones. No other variable plays a part.
//!
//! [`CloudConfig::from_environment`] takes, in this order: the cloud that `OS_CLOUD` names (in the region of `OS_REGION_NAME`, if set);
//! the cloud that the other `OS_*` variables describe, called `envvars` or as `OS_CLOUD_NAME` says; the only cloud of the files.
//! Variables and files are never mixed: what is set beside `OS_CLOUD` is not looked at.
//!
//! # Contradictions
//!
//! As openstacksdk and keystoneauth settle them: an id counts, and the name beside it is not looked at (`project_id` with another
//! `project_name`; users, domains and application credentials likewise); `project_*` counts more than `tenant_*`;
//! projects, domains and tokens outside the section `auth` count more than inside, users and passwords the other way round;
//! `domain_id` or `domain_name` beside a project is the domain of user and project, and alone the scope; `insecure`
//! beats `verify` and the CA certificate. Two scopes (project, domain, trust, system) at once are an error.
//!
//! # Where this differs from openstacksdk, on purpose
//!
//! - A file with a fault, or one that a variable names and that cannot be read, is an error. openstacksdk goes on to the
//!   next file, which may describe another cloud.
//! - A vendor profile that cannot be found is an error, not a warning; the profiles built into openstacksdk are not known here.
//! - Without `auth_type` and password, an application credential or a token is used if there is one. openstacksdk fails.
//! - An application credential with a scope is refused here; openstacksdk leaves that to Keystone.
//! - The domain of a user or project counts more than `domain_*` and `default_domain_*`, also if the former is a name and the latter
//!   an id.
//! - Values stay what was written: an unquoted `0123` is `0123`, where openstacksdk reads the octal number 83.
//! - `OS_REGION_NAME` beside `OS_CLOUD` chooses the region, as for the `openstack` command; openstacksdk does not look at it.
//! - `insecure` and `verify` take `true`, `yes`, `on`, `1` and their opposites and nothing else. openstacksdk reads `OS_INSECURE=1` as false.
//!
//! Not looked at: caches, metrics, networks, API versions, and interface or region per service.

mod files;
mod identity;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use raksha_core::{Error, Kind, Result};
use url::Url;

pub use sources::Sources;

use crate::auth::Auth;
use crate::catalog::Interface;
use crate::service;
use files::Files;
use settings::Settings;

const OPERATION: &str = "read cloud settings";

/// How to reach a cloud, and as whom. Debug prints no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CloudConfig {
    /// The cloud's name in the file; `envvars` or `OS_CLOUD_NAME` if variables describe it.
    pub name: String,
    /// The identity service, with or without the API's version in its path; `http` or `https`.
    pub auth_url: Url,
    /// Who, and for what.
    pub auth: Auth,
    /// The region whose endpoints to use.
    pub region: Option<String>,
    /// Which endpoints to use.
    pub interface: Interface,
    /// Certificates (PEM) of the authorities to trust.
    pub ca_certificate: Option<PathBuf>,
    /// The certificate (PEM) by which to make oneself known to servers that ask for one.
    pub client_certificate: Option<PathBuf>,
    /// The key (PEM) of `client_certificate`, if it is not in the same file.
    pub client_key: Option<PathBuf>,
    /// Whether servers must prove who they are. False only where somebody asked for it.
    pub verify: bool,
    /// Endpoints to use instead of the catalog's, by [official service type](service) if it has one.
    pub endpoint_overrides: BTreeMap<String, Url>,
    /// How long a request may take (`api_timeout`), if somebody said so.
    pub api_timeout: Option<Duration>,
}

impl CloudConfig {
    /// The cloud `name`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none of that name; [`Kind::Invalid`] for settings that are missing, contradict each other
    /// or cannot be read, and [`Kind::Unsupported`] for an unknown vendor profile; each names the setting and what to do.
    pub fn named(name: &str, sources: &Sources) -> Result<Self> {
        Self::choose(name, None, sources)
    }

    /// The cloud that the environment means.
    ///
    /// # Errors
    /// As [`named`](Self::named); [`Kind::Invalid`] also if no cloud is described, or several and `OS_CLOUD` is not set.
    pub fn from_environment(sources: &Sources) -> Result<Self> {
        if let Some(name) = sources.get("OS_CLOUD") {
            return Self::choose(name, sources.get("OS_REGION_NAME"), sources);
        }
        if let Some(settings) =
            Settings::from_variables(settings::variables_name(sources), sources)?
        {
            return Self::new(&settings, sources);
        }
        let files = Files::read(sources)?;
        let mut names = files.clouds.keys().cloned();
        match (names.next(), names.next()) {
            (Some(only), None) => {
                let region = sources.get("OS_REGION_NAME");
                Self::new(
                    &Settings::from_files(&only, files, region, sources)?,
                    sources,
                )
            }
            _ => Err(settings::undecided(&files)),
        }
    }

    fn choose(name: &str, region: Option<&str>, sources: &Sources) -> Result<Self> {
        let files = Files::read(sources)?;
        if name == settings::variables_name(sources)
            && let Some(settings) = Settings::from_variables(name, sources)?
        {
            if files.clouds.contains_key(name) {
                return Err(settings.fault(
                    "a file and the OS_* variables describe a cloud of this name: rename one of them (OS_CLOUD_NAME names the variables' cloud)",
                ));
            }
            return Self::new(&settings, sources);
        }
        Self::new(
            &Settings::from_files(name, files, region, sources)?,
            sources,
        )
    }

    fn new(settings: &Settings, sources: &Sources) -> Result<Self> {
        let region = settings.setting(&["region_name"])?.map(str::to_owned);
        let path = |key| Ok::<_, Error>(settings.setting(&[key])?.map(|path| sources.expand(path)));
        let interface = match settings.setting(&["endpoint_type", "interface"])? {
            Some(text) => text.parse().map_err(|_| {
                settings
                    .fault("interface must be public, internal or admin")
                    .with("interface", text)
            })?,
            None => Interface::default(),
        };
        Ok(Self {
            name: settings.name.clone(),
            auth_url: auth_url(settings, region.as_deref())?,
            auth: identity::auth(settings)?,
            interface,
            ca_certificate: path("cacert")?,
            client_certificate: path("cert")?,
            client_key: path("key")?,
            verify: !settings.truth("insecure")?.unwrap_or(false)
                && settings.truth("verify")?.unwrap_or(true),
            endpoint_overrides: endpoint_overrides(settings)?,
            api_timeout: settings.seconds("api_timeout")?,
            region,
        })
    }
}

/// `{region_name}` in it stands for the region: profiles of clouds with one identity service a region have that.
fn auth_url(settings: &Settings, region: Option<&str>) -> Result<Url> {
    let Some(text) = settings.credential(&["auth_url"])? else {
        return Err(identity::missing(
            settings,
            "the identity service's URL",
            "auth_url",
            "OS_AUTH_URL",
        ));
    };
    let text = match region {
        Some(region) => text.replace("{region_name}", region),
        None => text.to_owned(),
    };
    if text.contains(['{', '}']) {
        return Err(settings
            .fault("auth_url has a placeholder without a value: only {region_name} is known, and needs region_name")
            .with("auth_url", text));
    }
    url(settings, "auth_url", &text)
}

fn endpoint_overrides(settings: &Settings) -> Result<BTreeMap<String, Url>> {
    let mut overrides = BTreeMap::new();
    let stated = settings.endpoint_overrides()?;
    for (service, text) in &stated {
        let name = service.replace('_', "-");
        let official = service::official(&name).unwrap_or(&name);
        // Of several names of one service the first counts, the official one before its aliases.
        let rank = |name: &str| {
            service::names(official)
                .iter()
                .position(|known| *known == name)
        };
        let beaten = stated
            .iter()
            .filter_map(|(other, _)| rank(&other.replace('_', "-")))
            .any(|other| Some(other) < rank(&name));
        let url = url(settings, &format!("{service}_endpoint_override"), text)?;
        if !beaten {
            overrides.insert(official.to_owned(), url);
        }
    }
    Ok(overrides)
}

fn url(settings: &Settings, key: &str, text: &str) -> Result<Url> {
    if text.contains('@') {
        let reason = "must not hold a user or password (no @): state them by settings of their own";
        return Err(settings.fault(format!("{key} {reason}")));
    }
    let fault = |reason: String| settings.fault(reason).with("value", format!("{text:?}"));
    let url =
        Url::parse(text).map_err(|source| fault(format!("{key} is no URL")).caused_by(source))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(fault(format!(
            "{key} must begin with http:// or https:// and name a host"
        )));
    }
    Ok(url)
}

fn no_such_cloud(name: &str, files: &Files) -> Error {
    let message = "no cloud of this name is described: check the name, or write it into clouds.yaml (here, in ~/.config/openstack or in /etc/openstack)";
    let error = Error::new(Kind::NotFound, OPERATION, message).with("cloud", name);
    if files.origin.is_empty() {
        return error.with("files", "none found");
    }
    let names = files.clouds.keys().cloned().collect::<Vec<_>>().join(", ");
    error.with("clouds", names).with("files", &files.origin)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, OPERATION, message)
}
