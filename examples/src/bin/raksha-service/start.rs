//! Beginning and ending: everything is opened once, workers work, and what is under way is waited for.

use std::sync::Arc;
use std::time::Duration;

use raksha_core::authority::{Delegations, SealingKey};
use raksha_core::env::Env;
use raksha_core::protect::{Alive, Cancel};
use raksha_core::repository::{EngineOptions, Repository, Secret};
use raksha_core::store::{JobStore, Limits, Placement};
use raksha_core::work::{Worker, WorkerOptions};
use raksha_core::{Error, Result};
use raksha_openstack::authority::{AuthorityOptions, OpenStackAuthority};
use raksha_openstack::client::Client;
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::hooks::ConfiguredHooks;
use raksha_targets::{OpenOptions, SqlCatalogs, SqlJobs};
use tokio::task::JoinSet;

use crate::acting::Acting;
use crate::app::{App, Shared};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::sizes::Sizes;
use crate::tokens::Tokens;
use crate::{openapi, routes};

/// How often it is looked whether what is under way has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Opens all that requests need.
pub async fn app(config: Config) -> Result<App> {
    let env = Env::system();
    let cloud = CloudConfig::named(&config.cloud, &Sources::system())?;
    let client = Client::connect_with(&cloud, config.openstack.client.clone(), env.clone()).await?;
    let jobs = Arc::new(SqlJobs::open(&config.jobs).await?);
    let delegations = delegations(&config, &cloud, jobs.clone(), &env)?;
    let acting = Acting {
        repository: repository(&config).await?,
        jobs: jobs.clone(),
        alive: Alive::new(),
        placement: Placement {
            cloud: cloud.name.clone(),
            target: config
                .target
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned(),
        },
        cloud,
        delegations,
        quotas: Arc::clone(&config.quotas),
        hooks: Arc::new(ConfiguredHooks::new(config.hooks.clone())?),
        options: config.openstack.clone(),
        env: env.clone(),
    };
    let mut how = WorkerOptions::default();
    how.lease = config.workers.lease;
    how.poll = config.workers.poll;
    how.runs_at_once = config.workers.runs_at_once;
    how.limits = Limits {
        per_project: config.workers.per_project,
        ..Limits::default()
    };
    if let Some(authority) = &config.authority {
        how.authority.probe = authority.probe;
        how.authority.forecast = authority.forecast;
    }
    let worker = Worker::new("raksha-service", jobs, Arc::new(acting.clone())).with_options(how);
    Ok(App::new(Shared {
        document: openapi::document(routes::all())?,
        tokens: Tokens::new(client, config.tokens.believed_for, env),
        acting,
        worker,
        metrics: Metrics::default(),
        sizes: Sizes::default(),
        config,
    }))
}

/// By what right runs act that are due.
fn delegations(
    config: &Config,
    cloud: &CloudConfig,
    jobs: Arc<dyn JobStore>,
    env: &Env,
) -> Result<Option<Delegations>> {
    let Some(authority) = &config.authority else {
        return Ok(None);
    };
    let file = &authority.sealing_key_file;
    let key = std::fs::read(file)
        .map_err(|e| Error::io("read sealing key", e).with("file", file.display()))?;
    let mut options = AuthorityOptions::default();
    options.openstack = config.openstack.clone();
    options.roles.clone_from(&authority.roles);
    options.access_rules = authority.access_rules;
    let key = SealingKey::new(&key)?;
    let of_cloud = OpenStackAuthority::new(cloud.clone(), key, options, env.clone());
    Ok(Some(Delegations::new(
        Arc::new(of_cloud),
        jobs,
        env.clone(),
    )))
}

async fn repository(config: &Config) -> Result<Repository> {
    let key = std::fs::read(&config.key_file)
        .map_err(|e| Error::io("read key file", e).with("file", config.key_file.display()))?;
    let opened = raksha_targets::open(&config.target, &OpenOptions::default()).await?;
    let target = match &config.catalog {
        None => opened.repository()?,
        Some(catalog) => {
            let id = Repository::identify(&*opened.objects).await?;
            let log = SqlCatalogs::open(catalog, false).await?;
            let log = log.log(id, &opened.description).await?;
            opened.with_catalog(log).repository()?
        }
    };
    let mut options = EngineOptions::default();
    options.memory = config.memory.unwrap_or(options.memory);
    options.cache.clone_from(&config.cache);
    Repository::open(target, &Secret::key_file(&key), options).await
}

/// Begins what goes on beside requests. The workers end when `drain` is cancelled.
pub fn work(app: &App, drain: &Cancel) -> JoinSet<()> {
    let (lives, events) = (app.acting.alive.listen(), app.worker.events());
    let (counting, following) = (app.clone(), app.clone());
    tokio::spawn(async move { counting.metrics.follow(lives).await });
    tokio::spawn(async move { following.metrics.follow_worker(events).await });
    let mut workers = JoinSet::new();
    for _ in 0..app.config.workers.count {
        let (worker, drain) = (app.worker.clone(), drain.clone());
        workers.spawn(async move { worker.work(&drain).await });
    }
    workers
}

/// Waits until nothing is under way any more, or for as long as the configuration says.
pub async fn drained(app: &App, mut workers: JoinSet<()>) {
    let all = async {
        while workers.join_next().await.is_some() {}
        while app.acting.alive.count() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(app.config.workers.drain, all)
        .await
        .is_err()
    {
        let left = app.acting.alive.count();
        tracing::warn!(left, "what is still under way is left to be cleaned up");
    }
}
