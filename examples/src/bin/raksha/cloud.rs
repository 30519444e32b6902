//! Clouds by their addresses.

use std::collections::BTreeMap;
use std::str::FromStr;

use raksha_core::authority::SealingKey;
use raksha_core::cloud::SecretText;
use raksha_core::env::Env;
use raksha_core::id::ProjectId;
use raksha_core::local::LocalCloud;
use raksha_core::protect::Cloud;
use raksha_core::{Error, Kind, Result};
use raksha_openstack::authority::{AuthorityOptions, OpenStackAuthority};
use raksha_openstack::client::Service;
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::roads::RoadKind;
use raksha_openstack::validate::{ValidateOptions, validate};
use raksha_openstack::{CephAccess, OpenStack, OpenStackOptions};

use crate::args::CloudVerb;
use crate::context::Context;

/// A cloud, and as whom it is used.
#[derive(Clone)]
pub struct Opened {
    pub cloud: Cloud,
    /// On whose authority, in the cloud's words.
    pub principal: String,
    /// The project that the credentials belong to, where the cloud has projects.
    pub project: Option<ProjectId>,
    /// The test cloud, which goes when nobody holds it.
    #[cfg(feature = "devcloud")]
    _served: Option<raksha_openstack::testkit::DevCloud>,
}

impl Opened {
    fn local(cloud: LocalCloud) -> Self {
        let user = std::env::var("USER");
        Self {
            cloud: Cloud::new(cloud),
            principal: user.unwrap_or_else(|_| "unknown".to_owned()),
            project: None,
            #[cfg(feature = "devcloud")]
            _served: None,
        }
    }

    fn openstack(cloud: OpenStack) -> Self {
        let principal = cloud.client().principal();
        let (user, project) = (principal.user, principal.project);
        Self {
            cloud: Cloud::new(cloud),
            principal: format!(
                "user {} ({}) in project {} ({})",
                user.name, user.id, project.name, project.id
            ),
            project: Some(ProjectId::new(project.id)),
            #[cfg(feature = "devcloud")]
            _served: None,
        }
    }
}

/// Does what is asked of a cloud.
pub async fn carry_out(context: &Context, verb: CloudVerb) -> Result<()> {
    match verb {
        CloudVerb::Validate { r#try } => {
            let address = context.cloud_address()?;
            let Some(("openstack", rest)) = address.split_once(':') else {
                return Err(Error::new(
                    Kind::Unsupported,
                    "validate cloud",
                    "only OpenStack clouds differ in what they grant: name openstack:NAME",
                )
                .with("cloud", address));
            };
            let cloud = connect(rest, &context.env).await?;
            let found = validate(&cloud, ValidateOptions::new(r#try)).await?;
            context.output.show(&found, || found.to_string())
        }
    }
}

/// Opens `local:DIRECTORY`, `openstack:NAME?OPTION=VALUE&…` or, in a build that has it, `devcloud:DIRECTORY`.
pub async fn open(address: &str, env: &Env) -> Result<Opened> {
    match address.split_once(':') {
        Some(("local", directory)) => {
            let cloud = LocalCloud::open(directory, env.clone()).await?;
            Ok(Opened::local(cloud))
        }
        Some(("openstack", rest)) => Ok(Opened::openstack(connect(rest, env).await?)),
        #[cfg(feature = "devcloud")]
        Some(("devcloud", directory)) => serve(directory, env).await,
        _ => Err(Error::new(
            Kind::Invalid,
            "open cloud",
            "there is no such kind of cloud: write local:DIRECTORY, or openstack:NAME with a name from clouds.yaml",
        )
        .with("cloud", address)),
    }
}

/// Serves the test cloud of a directory to this process, as user demo. A new one gets the servers case1, case2, case3a and case3b.
#[cfg(feature = "devcloud")]
async fn serve(directory: &str, env: &Env) -> Result<Opened> {
    use raksha_openstack::testkit::{Case, DevCloud, Kind as Thing, Options};
    std::fs::create_dir_all(directory)
        .map_err(|e| Error::io("open cloud", e).with("directory", directory))?;
    let served = DevCloud::open(directory, Options::default()).await?;
    if served.id_of(Thing::Image, "raksha-guest").is_none() {
        for case in [
            Case::LocalDisk,
            Case::BootedFromVolume,
            Case::TwoOnOneNetwork,
        ] {
            served.seed("demo", case)?;
        }
    }
    let config = served.cloud_config("demo");
    let cloud = OpenStack::connect(&config, OpenStackOptions::default(), env.clone()).await?;
    Ok(Opened {
        _served: Some(served),
        ..Opened::openstack(cloud)
    })
}

/// Whether clouds at such an address have projects.
pub fn has_projects(address: &str) -> bool {
    address.starts_with("openstack:") || address.starts_with("devcloud:")
}

/// Connects to the cloud that `NAME?OPTION=VALUE&…` means; without a name, to the one of the `OS_*` variables.
pub async fn connect(text: &str, env: &Env) -> Result<OpenStack> {
    let (config, options) = described(text)?;
    OpenStack::connect(&config, options, env.clone()).await
}

fn described(text: &str) -> Result<(CloudConfig, OpenStackOptions)> {
    let (name, given) = text.split_once('?').unwrap_or((text, ""));
    let sources = Sources::system();
    let config = match name {
        "" => CloudConfig::from_environment(&sources)?,
        name => CloudConfig::named(name, &sources)?,
    };
    Ok((config, options(given)?))
}

/// What proves to a service who uses the cloud of an address.
pub async fn token(address: &str, env: &Env) -> Result<SecretText> {
    let cloud = connect(of_openstack(address)?, env).await?;
    let source = cloud.client().token_source(Service::Identity);
    Ok(source.token().await?.value)
}

/// How the service of this address acts for tenants.
pub fn authority(
    address: &str,
    key: SealingKey,
    access_rules: bool,
    env: &Env,
) -> Result<OpenStackAuthority> {
    let (config, options) = described(of_openstack(address)?)?;
    let mut how = AuthorityOptions::default();
    how.openstack = options;
    how.access_rules = access_rules;
    Ok(OpenStackAuthority::new(config, key, how, env.clone()))
}

fn of_openstack(address: &str) -> Result<&str> {
    address.strip_prefix("openstack:").ok_or_else(|| {
        let message =
            "only OpenStack clouds know tenants that lend their authority: name openstack:NAME";
        Error::new(Kind::Unsupported, "use authority", message).with("cloud", address)
    })
}

const OPTIONS: &str =
    "ceph_user, ceph_conf, ceph_keyring, roads, work, pause, group_types and hints";

fn wrong(why: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, "open cloud", why)
}

fn options(given: &str) -> Result<OpenStackOptions> {
    let mut left = BTreeMap::new();
    for pair in given.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| wrong("write options as OPTION=VALUE").with("option", pair))?;
        if left.insert(key, value).is_some() {
            return Err(wrong("it is given twice").with("option", key));
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
    if let Some(roads) = left.remove("roads") {
        options.roads.allowed = roads.split(',').map(road).collect::<Result<_>>()?;
    }
    if let Some(work) = left.remove("work") {
        options.roads.work = work.into();
    }
    if let Some(pause) = truth("pause", left.remove("pause"))? {
        options.snapshots.pause = pause;
    }
    if let Some(types) = left.remove("group_types") {
        options.snapshots.group_types = types.split(',').map(str::to_owned).collect();
    }
    if let Some(hints) = truth("hints", left.remove("hints"))? {
        options.snapshots.hints = hints;
    }
    match left.keys().next() {
        None => Ok(options),
        Some(unknown) => {
            let message = format!(
                "there is no such option, or it needs ceph_user beside it; there are {OPTIONS}"
            );
            Err(wrong(message).with("option", unknown))
        }
    }
}

fn road(text: &str) -> Result<RoadKind> {
    [RoadKind::Rbd, RoadKind::File, RoadKind::Image]
        .into_iter()
        .find(|road| road.to_string() == text)
        .ok_or_else(|| {
            wrong("there is no such road to a disk; there are rbd, file and image")
                .with("road", text)
        })
}

fn truth(option: &'static str, value: Option<&str>) -> Result<Option<bool>> {
    let truth = value.map(bool::from_str).transpose();
    truth.map_err(|_| wrong("write true or false").with("option", option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused_by_name() {
        let all =
            options("ceph_user=u&ceph_conf=/c&roads=rbd,image&work=/w&pause=true&hints=false&group_types=gold,silver")
                .unwrap();
        let ceph = all.operator.unwrap();
        assert_eq!(
            ceph.keyring.to_str(),
            Some("/etc/ceph/ceph.client.u.keyring")
        );
        assert_eq!(all.roads.allowed, [RoadKind::Rbd, RoadKind::Image]);
        assert!(all.snapshots.pause && !all.snapshots.hints);
        assert_eq!(all.snapshots.group_types, ["gold", "silver"]);
        for (text, word) in [
            ("colour=red", "colour"),
            ("ceph_conf=/c", "ceph_conf"),
            ("roads=iscsi", "iscsi"),
            ("pause=perhaps", "pause"),
            ("work=/a&work=/b", "twice"),
            ("pause", "OPTION=VALUE"),
        ] {
            let error = options(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
