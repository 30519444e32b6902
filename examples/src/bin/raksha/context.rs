//! What commands work on: target, repository, cloud, jobs, as the global options say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raksha_core::cloud::{Selection, ServerSelector};
use raksha_core::env::Env;
use raksha_core::id::ProjectId;
use raksha_core::local::LocalCloud;
use raksha_core::protect::{Cancel, Cloud, Raksha};
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target};
use raksha_core::{Error, Kind, Result};
use raksha_targets::{OpenOptions, SqlJobs};

use crate::arguments::Global;

pub struct Context {
    pub json: bool,
    pub cancel: Cancel,
    global: Global,
}

impl Context {
    pub fn new(global: Global, cancel: Cancel) -> Self {
        Self {
            json: global.json,
            cancel,
            global,
        }
    }

    /// Who does this, for the repository's log.
    pub fn who(&self) -> String {
        std::env::var("USER").unwrap_or_else(|_| "raksha".into())
    }

    pub async fn target(&self, create: bool) -> Result<Target> {
        let url = self
            .global
            .target
            .as_deref()
            .ok_or_else(|| usage("no target was given: use --target or RAKSHA_TARGET"))?;
        let opened = raksha_targets::open(url, &OpenOptions::default().create(create)).await?;
        Ok(Target::with_catalog(
            Arc::clone(&opened.objects),
            opened.log()?,
        ))
    }

    pub fn secret(&self) -> Result<Secret> {
        if let Some(path) = &self.global.key_file {
            return key_file(path);
        }
        if let Some(path) = &self.global.passphrase_file {
            return passphrase_file(path);
        }
        match std::env::var("RAKSHA_PASSPHRASE") {
            Ok(passphrase) => Ok(Secret::passphrase(passphrase)),
            Err(_) => Err(usage(
                "no key was given: use --passphrase-file, --key-file or RAKSHA_PASSPHRASE",
            )),
        }
    }

    fn engine(&self) -> EngineOptions {
        let mut options = EngineOptions::default();
        options.memory = self.global.memory;
        options.cache = self.global.cache.clone();
        options
    }

    pub async fn create_repository(&self, parameters: Parameters) -> Result<Repository> {
        let secret = self.secret()?;
        Repository::create(self.target(true).await?, parameters, &secret, self.engine()).await
    }

    pub async fn repository(&self) -> Result<Repository> {
        let secret = self.secret()?;
        Repository::open(self.target(false).await?, &secret, self.engine()).await
    }

    pub async fn cloud(&self) -> Result<Cloud> {
        let url = self
            .global
            .cloud
            .as_deref()
            .ok_or_else(|| usage("no cloud was given: use --cloud or RAKSHA_CLOUD"))?;
        match url.split_once(':') {
            Some(("local", directory)) if !directory.is_empty() => Ok(Cloud::new(
                LocalCloud::open(directory, Env::system()).await?,
            )),
            _ => Err(usage("a cloud is given as local:DIR").with("cloud", url)),
        }
    }

    pub async fn raksha(&self) -> Result<Raksha> {
        let (cloud, repository) = (self.cloud().await?, self.repository().await?);
        let jobs = SqlJobs::sqlite(&self.jobs_file()?).await?;
        let project = ProjectId::new(&self.global.project);
        Ok(Raksha::new(cloud, repository, Arc::new(jobs), project).with_principal(self.who()))
    }

    /// The file that jobs are kept in; its directory is made.
    fn jobs_file(&self) -> Result<PathBuf> {
        let file = match &self.global.jobs {
            Some(url) => match url.split_once(':') {
                Some(("sqlite", path)) if !path.is_empty() => PathBuf::from(path),
                _ => return Err(usage("jobs are kept in sqlite:FILE").with("jobs", url)),
            },
            None => {
                let home =
                    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
                let data = std::env::var_os("XDG_DATA_HOME")
                    .map(PathBuf::from)
                    .or(home);
                let data =
                    data.ok_or_else(|| usage("say where jobs are kept: use --jobs sqlite:FILE"))?;
                data.join("raksha/jobs.sqlite")
            }
        };
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.map_err(|e| Error::io("make directory for jobs", e).with("file", file.display()))?;
        Ok(file)
    }
}

/// What servers a text selects.
pub fn selector(text: &str) -> Result<ServerSelector> {
    Ok(match text.split_once('=') {
        None if text == "all" => ServerSelector::All,
        None => ServerSelector::IdOrName(text.into()),
        Some(("id", id)) => ServerSelector::Id(id.into()),
        Some(("name", name)) => ServerSelector::Name(name.into()),
        Some(("tag", tag)) => ServerSelector::Tag(tag.into()),
        Some((key, value)) => match key.strip_prefix("metadata:") {
            Some(key) => ServerSelector::Metadata {
                key: key.into(),
                value: value.into(),
            },
            None => {
                return Err(usage(
                    "select servers by an id, a name, tag=TAG, metadata:KEY=VALUE, or all",
                )
                .with("selector", text));
            }
        },
    })
}

pub fn selection(texts: &[String]) -> Result<Selection> {
    texts
        .iter()
        .map(|text| selector(text))
        .collect::<Result<_>>()
        .map(Selection)
}

pub fn key_file(path: &Path) -> Result<Secret> {
    let bytes = std::fs::read(path)
        .map_err(|e| Error::io("read key file", e).with("file", path.display()))?;
    Ok(Secret::key_file(&bytes))
}

pub fn passphrase_file(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path);
    let text =
        text.map_err(|e| Error::io("read passphrase file", e).with("file", path.display()))?;
    Ok(Secret::passphrase(text.lines().next().unwrap_or_default()))
}

fn usage(message: &str) -> Error {
    Error::new(Kind::Invalid, "read options", message)
}
