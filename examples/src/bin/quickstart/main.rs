//! The whole story on the embedded cloud and an embedded target: two servers that share a private network are backed up, write, are backed up
//! again, are lost, and come back as they were at either run.
//!
//! No arguments, no services, no root: `cargo run --release --bin quickstart`.

mod compare;
mod disks;
mod servers;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raksha_core::cloud::{Selection, ServerSelector};
use raksha_core::env::Env;
use raksha_core::id::{JobId, ProjectId, RunId};
use raksha_core::local::LocalCloud;
use raksha_core::protect::{Cloud, NewJob, Raksha, RestoreOptions, RunReport};
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret};
use raksha_core::store::JobStore;
use raksha_core::{Error, Kind, Result};
use raksha_targets::{OpenOptions, SqlJobs};

#[tokio::main]
async fn main() -> ExitCode {
    let scratch = std::env::temp_dir().join(format!("raksha-quickstart-{}", std::process::id()));
    let told = story(&scratch).await;
    // The disks are large, and everything worth knowing has been printed.
    let _ = std::fs::remove_dir_all(&scratch);
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn story(scratch: &Path) -> Result<()> {
    let env = Env::system();
    std::fs::create_dir_all(scratch).map_err(|e| Error::io("make scratch directory", e))?;

    show::chapter(
        "A cloud: two servers, a private network, disks with file systems full of files of this machine",
    );
    let home = scratch.join("cloud");
    let cloud = LocalCloud::create(&home, env.clone()).await?;
    servers::build(&cloud, &home).await?;
    show::graph(&cloud.graph().await?);

    show::chapter(
        "A repository in a directory, sealed with a passphrase, and a backup job for both servers",
    );
    let target = scratch.join("target");
    let opened = raksha_targets::open(
        &target.to_string_lossy(),
        &OpenOptions::default().create(true),
    )
    .await?;
    let repository = Repository::create(
        opened.repository()?,
        Parameters::default(),
        &Secret::passphrase("correct horse battery staple"),
        EngineOptions::default(),
    )
    .await?;
    let jobs: Arc<dyn JobStore> = Arc::new(SqlJobs::sqlite(&scratch.join("jobs.sqlite")).await?);
    let project = ProjectId::new("demo");
    let raksha = Raksha::new(
        Cloud::new(cloud.clone()),
        repository.clone(),
        Arc::clone(&jobs),
        project.clone(),
    );
    let servers = ["web", "db"].map(|name| ServerSelector::Name(name.into()));
    let job = raksha
        .create_job(NewJob::new("nightly", Selection(servers.to_vec())))
        .await?;
    println!("  job {job}");

    show::chapter("The first run reads everything");
    let first = run(&raksha, job).await?;
    let before = compare::keep(&home, &scratch.join("before"))?;

    show::chapter("The servers write; the second run stores what is new");
    servers::write(&cloud).await?;
    let second = run(&raksha, job).await?;
    let after = compare::keep(&home, &scratch.join("after"))?;

    show::runs(&[("first", &first), ("second", &second)]);

    show::chapter("Everything is lost");
    std::fs::remove_dir_all(&home).map_err(|e| Error::io("lose the cloud", e))?;
    println!("  the cloud's directory is gone");

    for (name, ran, originals) in [("first", &first, &before), ("second", &second, &after)] {
        show::chapter(&format!("The {name} run is restored, into an empty cloud"));
        let place = scratch.join(format!("restored-{name}"));
        let restored = restore(&repository, &jobs, &project, ran.report.run, &place, &env).await?;
        let equal = compare::all(originals, &restored).await?;
        println!("  {equal} disks are byte for byte what they were");
        if name == "second" {
            show::graph(&restored.graph().await?);
        }
    }
    let stats = repository.stats().await?;
    show::repository(&stats);
    Ok(())
}

/// A run, and how long it took.
pub struct Ran {
    report: RunReport,
    took: Duration,
}

/// Runs a job, with progress.
async fn run(raksha: &Raksha, job: JobId) -> Result<Ran> {
    let began = Instant::now();
    let handle = raksha.run(job).await?;
    println!("  run {}", handle.id());
    let watch = tokio::spawn(show::progress(handle.events()));
    let report = handle.finish().await;
    watch
        .await
        .map_err(|e| Error::new(Kind::Internal, "show progress", "it stopped").caused_by(e))?;
    Ok(Ran {
        report: report?,
        took: began.elapsed(),
    })
}

/// Restores a run into a cloud that is made for it.
async fn restore(
    repository: &Repository,
    jobs: &Arc<dyn JobStore>,
    project: &ProjectId,
    run: RunId,
    place: &Path,
    env: &Env,
) -> Result<LocalCloud> {
    let cloud = LocalCloud::create(place, env.clone()).await?;
    let raksha = Raksha::new(
        Cloud::new(cloud.clone()),
        repository.clone(),
        Arc::clone(jobs),
        project.clone(),
    );
    let plan = raksha.plan_restore(run, RestoreOptions::default()).await?;
    println!("{}", show::indented(&plan.to_string()));
    let handle = raksha.restore(plan).await?;
    let watch = tokio::spawn(show::progress(handle.events()));
    let report = handle.finish().await;
    watch
        .await
        .map_err(|e| Error::new(Kind::Internal, "show progress", "it stopped").caused_by(e))?;
    report?;
    Ok(cloud)
}
