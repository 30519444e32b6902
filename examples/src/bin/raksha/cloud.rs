//! Clouds by their addresses.

use std::collections::BTreeMap;

use raksha_core::env::Env;
use raksha_core::id::ProjectId;
use raksha_core::local::LocalCloud;
use raksha_core::protect::Cloud;
use raksha_core::{Error, Kind, Result};
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::{CephAccess, OpenStack, OpenStackOptions};

/// A cloud, and as whom it is used.
#[derive(Clone)]
pub struct Opened {
    pub cloud: Cloud,
    /// On whose authority, in the cloud's words.
    pub principal: String,
    /// The project that the credentials belong to, where the cloud has projects.
    pub project: Option<ProjectId>,
}

/// Opens `local:DIRECTORY` or `openstack:NAME?OPTION=VALUE&…`.
pub async fn open(address: &str, env: &Env) -> Result<Opened> {
    match address.split_once(':') {
        Some(("local", directory)) => {
            let user = std::env::var("USER");
            Ok(Opened {
                cloud: Cloud::new(LocalCloud::open(directory, env.clone()).await?),
                principal: user.unwrap_or_else(|_| "unknown".to_owned()),
                project: None,
            })
        }
        Some(("openstack", rest)) => {
            let openstack = connect(rest, env).await?;
            let principal = openstack.client().principal();
            let (user, project) = (principal.user, principal.project);
            Ok(Opened {
                cloud: Cloud::new(openstack),
                principal: format!(
                    "user {} ({}) in project {} ({})",
                    user.name, user.id, project.name, project.id
                ),
                project: Some(ProjectId::new(project.id)),
            })
        }
        _ => Err(Error::new(
            Kind::Invalid,
            "open cloud",
            "there is no such kind of cloud: write local:DIRECTORY, or openstack:NAME with a name from clouds.yaml",
        )
        .with("cloud", address)),
    }
}

/// Whether clouds at such an address have projects.
pub fn has_projects(address: &str) -> bool {
    address.starts_with("openstack:")
}

/// Connects to the cloud that `NAME?OPTION=VALUE&…` means; without a name, to the one of the `OS_*` variables.
pub async fn connect(text: &str, env: &Env) -> Result<OpenStack> {
    let (name, given) = text.split_once('?').unwrap_or((text, ""));
    let sources = Sources::system();
    let config = match name {
        "" => CloudConfig::from_environment(&sources)?,
        name => CloudConfig::named(name, &sources)?,
    };
    OpenStack::connect(&config, options(given)?, env.clone()).await
}

fn options(given: &str) -> Result<OpenStackOptions> {
    let wrong = |why: String| Error::new(Kind::Invalid, "open cloud", why);
    let mut left = BTreeMap::new();
    for pair in given.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| {
                wrong("write options as OPTION=VALUE".to_owned()).with("option", pair)
            })?;
        if left.insert(key, value).is_some() {
            return Err(wrong("it is given twice".to_owned()).with("option", key));
        }
    }
    let mut options = OpenStackOptions::default();
    if let Some(user) = left.remove("ceph_user") {
        let keyring = format!("/etc/ceph/ceph.client.{user}.keyring");
        options.operator = Some(CephAccess {
            conf: left
                .remove("ceph_conf")
                .unwrap_or("/etc/ceph/ceph.conf")
                .into(),
            keyring: left.remove("ceph_keyring").unwrap_or(&keyring).into(),
            user: user.to_owned(),
            pools: Vec::new(),
        });
    }
    match left.keys().next() {
        None => Ok(options),
        Some(unknown) => Err(wrong(
            "there is no such option, or it needs ceph_user beside it; there are ceph_user, ceph_conf and ceph_keyring".to_owned(),
        )
        .with("option", unknown)),
    }
}
