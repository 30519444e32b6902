//! What the service is told: one TOML file. What it does not know in there is refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raksha_core::authority::DelegationKind;
use raksha_core::objective::Objective;
use raksha_core::protect::Quotas;
use raksha_core::retention::Retention;
use raksha_core::schedule::Schedule;
use raksha_core::work;
use raksha_core::{Error, Kind, Result};
use raksha_openstack::OpenStackOptions;
use raksha_openstack::hooks::HookSpec;
use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// Where to listen. Loopback unless told otherwise: there is no TLS here, so what listens elsewhere belongs behind a proxy.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// The cloud, by its name in clouds.yaml: where tokens are validated, and as whom.
    pub cloud: String,
    /// How the cloud is used.
    #[serde(default)]
    pub openstack: OpenStackOptions,
    /// The target with the repository in it.
    pub target: String,
    /// The SQL catalog with the repository's log, where the target cannot hold it.
    pub catalog: Option<String>,
    /// What opens the repository.
    pub key_file: PathBuf,
    /// Where the repository keeps what saves requests.
    pub cache: Option<PathBuf>,
    /// The memory that the repository may use, in bytes.
    pub memory: Option<u64>,
    /// Where jobs and runs are kept: `sqlite:FILE` or `postgres://…`.
    pub jobs: String,
    #[serde(default)]
    pub tokens: Tokens,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub workers: Workers,
    /// What tenants may choose from.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// What jobs may have called before their disks are taken and after.
    #[serde(default)]
    pub hooks: Vec<HookSpec>,
    #[serde(default, deserialize_with = "shared")]
    pub quotas: Arc<Limited>,
    /// Without it, what is due by itself cannot run here.
    pub authority: Option<Authority>,
}

fn shared<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(d: D) -> Result<Arc<T>, D::Error> {
    T::deserialize(d).map(Arc::new)
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8790))
}

/// How tokens are looked at.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// For so long what Keystone said of a token is believed.
    #[serde(with = "words")]
    pub believed_for: Duration,
    /// Who has one of these roles may change things; others only look.
    pub roles: Vec<String>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            believed_for: Duration::from_secs(60),
            roles: vec!["member".to_owned(), "admin".to_owned()],
        }
    }
}

/// What a request may cost.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// How long a request may take.
    #[serde(with = "words")]
    pub time: Duration,
    /// How many things a list has unless somebody asks for more.
    pub page: usize,
    /// How many somebody can ask for.
    pub largest_page: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            time: Duration::from_secs(60),
            page: 100,
            largest_page: 1000,
        }
    }
}

/// The workers inside the service.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Workers {
    /// How many there are; none if others do the work.
    pub count: usize,
    /// How often they look what is due.
    #[serde(with = "words")]
    pub poll: Duration,
    /// How long the run of a worker that died waits until another takes it over.
    #[serde(with = "words")]
    pub lease: Duration,
    /// How many runs each has under way at once.
    pub runs_at_once: usize,
    /// How many runs of one project all workers have under way at once.
    pub per_project: Option<u32>,
    /// Runs and restores that gave no sign of life for so long are taken for dead.
    #[serde(with = "words")]
    pub dead_after: Duration,
    /// When the service is asked to end, it waits so long for what is under way.
    #[serde(with = "words")]
    pub drain: Duration,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            count: 1,
            poll: Duration::from_secs(15),
            lease: Duration::from_secs(300),
            runs_at_once: 2,
            per_project: None,
            dead_after: Duration::from_secs(300),
            drain: Duration::from_secs(3600),
        }
    }
}

/// A policy that the operator publishes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    /// By which tenants choose it.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// When its jobs run.
    pub schedule: Schedule,
    /// What is kept.
    #[serde(default)]
    pub retention: Retention,
    /// How old the newest verified point may become.
    #[serde(default)]
    pub objective: Option<Objective>,
}

/// How much projects may use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limited {
    /// Each, unless it is named.
    pub default: Quotas,
    /// By ids of projects.
    pub projects: BTreeMap<String, Quotas>,
}

impl Limited {
    /// How much a project may use.
    pub fn of(&self, project: &str) -> Quotas {
        let own = self.projects.get(project);
        own.copied().unwrap_or(self.default)
    }
}

/// How runs that are due act for the projects whose jobs they are of.
#[derive(Debug, Deserialize)]
pub struct Authority {
    /// By which way: trust, application_credential or operator.
    #[serde(default = "trust")]
    pub kind: DelegationKind,
    /// What seals the secret parts of delegations: a file with at least 32 bytes that are hard to guess.
    pub sealing_key_file: PathBuf,
    /// The roles that a tenant lends.
    #[serde(default = "member")]
    pub roles: Vec<String>,
    /// Whether application credentials are limited to the requests that a backup sends.
    #[serde(default = "yes")]
    pub access_rules: bool,
    /// So long before a run is due the cloud is asked whether the right to it is still there.
    #[serde(default = "hour", with = "words")]
    pub probe: Duration,
    /// So long before a right ends this is told.
    #[serde(default = "day", with = "words")]
    pub forecast: Duration,
}

fn trust() -> DelegationKind {
    DelegationKind::Trust
}

fn member() -> Vec<String> {
    vec!["member".to_owned()]
}

fn yes() -> bool {
    true
}

fn hour() -> Duration {
    work::AuthorityOptions::default().probe
}

fn day() -> Duration {
    work::AuthorityOptions::default().forecast
}

impl Config {
    /// Reads the file at `path`, and refuses what cannot be meant.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::io("read configuration", e).with("file", path.display()))?;
        Self::parse(&text).map_err(|error| error.with("file", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::new(Kind::Invalid, "read configuration", why);
        let read = toml::Deserializer::parse(text).map_err(|e| wrong(e.to_string()))?;
        let mut unknown = Vec::new();
        let config: Self = serde_ignored::deserialize(read, |path| unknown.push(path.to_string()))
            .map_err(|e| wrong(e.to_string()))?;
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            let message = "there are no such options: correct or remove them".to_owned();
            return Err(wrong(message).with("options", unknown));
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wrong = |why: &str, option: &str| {
            Err(Error::new(Kind::Invalid, "read configuration", why).with("option", option))
        };
        if self.limits.page == 0 || self.limits.page > self.limits.largest_page {
            return wrong(
                "a page has at least one thing, and not more than the largest page",
                "limits.page",
            );
        }
        for (at, policy) in self.policies.iter().enumerate() {
            policy.schedule.check()?;
            policy.retention.check()?;
            if let Some(objective) = &policy.objective {
                objective.check()?;
            }
            let same = |other: &Policy| other.name == policy.name;
            if policy.name.is_empty() || self.policies.iter().skip(at + 1).any(same) {
                return wrong("give each policy a name of its own", "policies.name");
            }
        }
        Ok(())
    }

    /// The policy of this name.
    pub fn policy(&self, name: &str) -> Result<&Policy> {
        let found = self.policies.iter().find(|policy| policy.name == name);
        found.ok_or_else(|| {
            let message = "the operator publishes no policy of this name: choose one of /policies";
            Error::new(Kind::NotFound, "find policy", message).with("policy", name)
        })
    }
}

/// Durations as people write them: `1h 30m`.
mod words {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_duration(&text).map_err(|error| {
            let message = format!("`{text}` is no duration, write it as 1h 30m: {error}");
            serde::de::Error::custom(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "cloud = 'c'\ntarget = 'memory:'\nkey_file = '/k'\njobs = 'sqlite:/j'\n";

    #[test]
    fn the_least_that_is_said_suffices_and_listens_on_loopback() {
        let config = Config::parse(LEAST).unwrap();
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.workers.count, 1);
    }

    #[test]
    fn what_is_not_known_or_cannot_be_meant_is_refused_by_its_name() {
        for (more, word) in [
            ("colour = 'red'", "colour"),
            ("[limits]\nbodies = 3", "limits.bodies"),
            ("[workers]\nlease = 'soon'", "soon"),
            ("[limits]\npage = 5000", "limits.page"),
            (
                "[[policies]]\nname = 'a'\nschedule = { trigger = { cron = '0 1 * * *' }, zome = 'UTC' }",
                "zome",
            ),
            (
                "[[policies]]\nname = 'a'\nschedule = { trigger = { cron = '0 99 * * *' } }",
                "99",
            ),
            ("[quotas.default]\npoint = 1", "quotas.default.point"),
        ] {
            let error = Config::parse(&format!("{LEAST}{more}")).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
