//! Opening what a verb needs, and no more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raksha_core::authority::Delegations;
use raksha_core::env::Env;
use raksha_core::id::{PointId, ProjectId, RepositoryId};
use raksha_core::protect::{Hooks, Raksha};
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target};
use raksha_core::store::JobStore;
use raksha_core::work::{DelegatedProjects, Projects};
use raksha_core::{Error, Kind, ListedPoint, Result};
use raksha_openstack::hooks::ConfiguredHooks;
use raksha_targets::{OpenedTarget, SqlCatalogs, SqlJobs};
use tokio::sync::OnceCell;

use crate::args::{Common, ReplicaOptions};
use crate::catalog;
use crate::cloud::{self, Opened};
use crate::output::Output;
use crate::{secret, target};

/// Races by which a target is tried before a repository is made in it. One that does not keep order is usually caught in the first five.
const RACES: u32 = 10;

/// What the command line said, and what can be opened with it.
pub struct Context {
    pub common: Common,
    pub output: Output,
    pub env: Env,
    /// The cloud of `--cloud`, once it is open.
    opened: OnceCell<Opened>,
}

impl Context {
    pub fn new(common: Common) -> Self {
        Self {
            output: Output::new(common.json),
            common,
            env: Env::system(),
            opened: OnceCell::new(),
        }
    }

    /// The project of `--project`; without it, the one that the cloud's credentials belong to.
    pub async fn project(&self) -> Result<ProjectId> {
        if let Some(project) = &self.common.project {
            return Ok(ProjectId::new(project.as_str()));
        }
        let of_cloud = match &self.common.cloud {
            Some(address) if cloud::has_projects(address) => self.cloud().await?.project,
            _ => None,
        };
        Ok(of_cloud.unwrap_or_else(|| ProjectId::new("default")))
    }

    /// The key that the command line or the environment names.
    pub fn secret(&self) -> Result<Secret> {
        let key = &self.common.key;
        secret::read(
            key.passphrase_file.as_deref(),
            key.key_file.as_deref(),
            "RAKSHA",
        )
    }

    fn address(&self) -> Result<&str> {
        let target = self.common.target.as_deref();
        target.ok_or_else(|| missing("a target", "--target", "RAKSHA_TARGET"))
    }

    /// The target of `--target`, with no catalog.
    pub async fn bare_target(&self, create: bool) -> Result<OpenedTarget> {
        self.bare_target_at(self.address()?, create).await
    }

    async fn bare_target_at(&self, address: &str, create: bool) -> Result<OpenedTarget> {
        let options = target::options(address, create, &self.env).await?;
        raksha_targets::open(address, &options).await
    }

    /// The target with the repository in it.
    pub async fn target(&self) -> Result<Target> {
        self.target_at(self.address()?, self.common.catalog.as_deref())
            .await
    }

    async fn target_at(&self, address: &str, catalog: Option<&str>) -> Result<Target> {
        let opened = self.bare_target_at(address, false).await?;
        let Some(catalog) = catalog else {
            return opened.repository();
        };
        let id = Repository::identify(&*opened.objects).await?;
        let catalogs = SqlCatalogs::open(catalog, false).await?;
        let log = catalogs.log(id, &opened.description).await?;
        opened.with_catalog(log).repository()
    }

    fn engine(&self, address: &str) -> EngineOptions {
        let mut options = EngineOptions::default();
        options.memory = self.common.memory.unwrap_or(options.memory);
        let caches = user_directory("XDG_CACHE_HOME", ".cache");
        options.cache = caches.map(|dir| dir.join("raksha").join(plain(address)));
        options
    }

    pub async fn create(&self, parameters: Parameters) -> Result<Repository> {
        let secret = self.secret()?;
        let id = RepositoryId::from_bytes(self.env.random()?);
        let opened = self.bare_target(true).await?;
        let target = match self.common.catalog {
            Some(_) => {
                let catalogs = catalog::open(self, true).await?;
                let log = catalogs.log(id, &opened.description).await?;
                opened.with_catalog(log).repository()?
            }
            None => {
                let target = opened.repository()?;
                orders_writers(&opened).await?;
                target
            }
        };
        let options = self.engine(self.address()?);
        Repository::create_as(id, target, parameters, &secret, options).await
    }

    pub async fn open(&self) -> Result<Repository> {
        let secret = self.secret()?;
        let target = self.target().await?;
        Repository::open(target, &secret, self.engine(self.address()?)).await
    }

    /// A second repository, at `address`.
    pub async fn open_replica(
        &self,
        address: &str,
        replica: &ReplicaOptions,
    ) -> Result<Repository> {
        let ReplicaOptions {
            replica_catalog,
            replica_passphrase_file,
            replica_key_file,
        } = replica;
        let secret = secret::read(
            replica_passphrase_file.as_deref(),
            replica_key_file.as_deref(),
            "RAKSHA_REPLICA",
        )?;
        let target = self.target_at(address, replica_catalog.as_deref()).await?;
        Repository::open(target, &secret, self.engine(address)).await
    }

    /// The address of the cloud.
    pub fn cloud_address(&self) -> Result<&str> {
        let cloud = self.common.cloud.as_deref();
        cloud.ok_or_else(|| missing("a cloud", "--cloud", "RAKSHA_CLOUD"))
    }

    /// The cloud of `--cloud`.
    pub async fn cloud(&self) -> Result<Opened> {
        let opened = self
            .opened
            .get_or_try_init(|| async { cloud::open(self.cloud_address()?, &self.env).await });
        opened.await.cloned()
    }

    pub async fn jobs(&self) -> Result<Arc<dyn JobStore>> {
        let path = match &self.common.jobs {
            Some(address) => match address.strip_prefix("sqlite:") {
                Some(path) if !path.contains('?') => PathBuf::from(path),
                _ => return Ok(Arc::new(SqlJobs::open(address).await?)),
            },
            None => self.default_jobs()?,
        };
        if let Some(directory) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|e| {
                Error::io("make directory for jobs", e).with("directory", directory.display())
            })?;
        }
        if !path.exists() && !self.common.quiet {
            eprintln!("jobs are kept in {}", path.display());
        }
        Ok(Arc::new(SqlJobs::sqlite(&path).await?))
    }

    /// Beside a target in a directory; else in the user's data directory.
    fn default_jobs(&self) -> Result<PathBuf> {
        let address = self.address()?;
        let directory = match address.split_once(':') {
            Some(("file", path)) => Some(path.trim_start_matches("//")),
            Some(_) => None,
            None => Some(address),
        };
        if let Some(directory) = directory {
            let directory = directory.split('?').next().unwrap_or(directory);
            return Ok(PathBuf::from(format!(
                "{}.jobs.sqlite",
                directory.trim_end_matches('/')
            )));
        }
        let data = user_directory("XDG_DATA_HOME", ".local/share");
        let data = data.ok_or_else(|| missing("a place for jobs", "--jobs", "RAKSHA_JOBS"))?;
        let name = format!("{}.jobs.sqlite", plain(address));
        Ok(data.join("raksha").join(name))
    }

    /// The delegations in `--jobs`, of the cloud of `--service`.
    pub async fn delegations(&self, access_rules: bool) -> Result<Delegations> {
        let options = &self.common.service;
        let address = options.service.as_deref();
        let address = address.ok_or_else(|| missing("a service", "--service", "RAKSHA_SERVICE"))?;
        let file = options.service_key_file.as_deref().ok_or_else(|| {
            missing(
                "a service key",
                "--service-key-file",
                "RAKSHA_SERVICE_KEY_FILE",
            )
        })?;
        let key = secret::service_key(file)?;
        let authority = cloud::authority(address, key, access_rules, &self.env)?;
        let jobs = self.jobs().await?;
        Ok(Delegations::new(
            Arc::new(authority),
            jobs,
            self.env.clone(),
        ))
    }

    /// What a worker opens projects with: by their delegations if `--service` is there, else, and for jobs without one, with the cloud of `--cloud`.
    pub async fn projects(&self) -> Result<Arc<dyn Projects>> {
        if self.common.service.service.is_none() {
            return Ok(Arc::new(self.raksha().await?));
        }
        let delegations = self.delegations(true).await?;
        let mut projects =
            DelegatedProjects::new(delegations, self.open().await?, self.jobs().await?);
        if let Some(hooks) = self.hooks()? {
            projects = projects.with_hooks(hooks);
        }
        Ok(Arc::new(match &self.common.cloud {
            Some(_) => projects.otherwise(Arc::new(self.raksha().await?)),
            None => projects,
        }))
    }

    /// The hooks of `--hooks`.
    fn hooks(&self) -> Result<Option<Arc<dyn Hooks>>> {
        let Some(file) = &self.common.hooks_file else {
            return Ok(None);
        };
        let named = |error: Error| error.with("file", file.display());
        let json = std::fs::read(file).map_err(|e| named(Error::io("read hooks", e)))?;
        Ok(Some(Arc::new(
            ConfiguredHooks::parse(&json).map_err(named)?,
        )))
    }

    /// Everything together, with the cloud of `--cloud`.
    pub async fn raksha(&self) -> Result<Raksha> {
        self.raksha_into(None).await
    }

    /// Everything together, with the cloud at this address, or else that of `--cloud`.
    pub async fn raksha_into(&self, into: Option<&str>) -> Result<Raksha> {
        let opened = match into {
            Some(address) => cloud::open(address, &self.env).await?,
            None => self.cloud().await?,
        };
        let repository = self.open().await?;
        let jobs = self.jobs().await?;
        let raksha = Raksha::new(opened.cloud, repository, jobs, self.project().await?);
        let raksha = raksha.with_principal(opened.principal);
        Ok(match self.hooks()? {
            Some(hooks) => raksha.with_hooks(hooks),
            None => raksha,
        })
    }

    /// The points of the project, and those of single disks, which belong to whoever has the key.
    pub async fn points(&self, repository: &Repository) -> Result<Vec<ListedPoint>> {
        let mut points = repository.points().await?;
        let project = self.project().await?;
        points.retain(|p| {
            p.summary
                .project
                .as_ref()
                .is_none_or(|owner| *owner == project)
        });
        Ok(points)
    }

    /// One of [these](Self::points), by the beginning of its id.
    pub async fn point(&self, repository: &Repository, text: &str) -> Result<PointId> {
        let id = repository.find_point(text).await?;
        if self
            .points(repository)
            .await?
            .iter()
            .any(|point| point.id == id)
        {
            return Ok(id);
        }
        let message = "the project has no such recovery point";
        Err(Error::new(Kind::NotFound, "find recovery point", message).with("point", text))
    }
}

/// What a target declares is one thing, what it does under racing writers another.
async fn orders_writers(opened: &OpenedTarget) -> Result<()> {
    if raksha_targets::creates_atomically(opened, &Env::system(), RACES).await? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Unsupported,
        "create repository",
        "of writers that race for a name in this target, not exactly one wins: it cannot hold the commit log; name a SQL catalog with --catalog. \
         `raksha target validate` tells more",
    )
    .with("target", &opened.description))
}

pub fn missing(what: &str, option: &str, variable: &str) -> Error {
    let message = format!("{what} is needed: give {option} or set {variable}");
    Error::new(Kind::Invalid, "read the command line", message)
}

/// One of the directories of the XDG base directory specification.
fn user_directory(variable: &str, in_home: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let given = given.filter(|path| path.is_absolute());
    given.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(in_home)))
}

/// An address as a plain file name.
fn plain(address: &str) -> String {
    let absolute = std::path::absolute(address)
        .ok()
        .filter(|_| !address.contains(':'));
    let text = absolute.map_or_else(|| address.to_owned(), |path| path.display().to_string());
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}
