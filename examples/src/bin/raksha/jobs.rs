//! `raksha discover`, `job`, `run`, `reap`: what is protected, and its runs.

use std::time::Duration;

use raksha_core::Result;
use raksha_core::cloud::{Consistency, DiskSource};
use raksha_core::protect::{Dead, NewJob};
use raksha_core::store::{BackupRun, IfNotReached, RunOutcome, RunState};

use crate::arguments::{ConsistencyName, Job, Run};
use crate::context::{Context, selection};
use crate::output::{self, table};
use crate::progress;
use crate::repository::short;

/// After this long without a sign of life a run is taken for dead.
const SILENCE: Duration = Duration::from_secs(300);

pub async fn discover(context: &Context, servers: Vec<String>) -> Result<()> {
    let graph = context
        .cloud()
        .await?
        .discovery
        .discover(&selection(&servers)?)
        .await?;
    if context.json {
        return output::json(&graph);
    }
    let mut rows = Vec::new();
    for server in &graph.servers {
        let ports = graph.ports.iter().filter(|p| server.ports.contains(&p.id));
        let addresses: Vec<&str> = ports
            .flat_map(|p| p.fixed_ips.iter().map(|ip| ip.address.as_str()))
            .collect();
        let disks = server.attachments.iter().map(|a| match &a.source {
            DiskSource::Local { name, .. } => name.clone(),
            DiskSource::Volume(id) => format!("volume:{id}"),
        });
        rows.push([
            server.id.to_string(),
            server.name.clone(),
            addresses.join(" "),
            disks.collect::<Vec<_>>().join(" "),
        ]);
    }
    table(["SERVER", "NAME", "ADDRESSES", "DISKS"], &rows);
    for omission in &graph.omissions {
        eprintln!("left out: {} ({})", omission.what, omission.reason);
    }
    Ok(())
}

pub async fn job(context: &Context, command: Job) -> Result<()> {
    let raksha = context.raksha().await?;
    match command {
        Job::Create {
            name,
            servers,
            consistency,
            refuse,
        } => {
            let or = match refuse {
                true => IfNotReached::Refuse,
                false => IfNotReached::Mark,
            };
            let new =
                NewJob::new(name, selection(&servers)?).with_consistency(level(consistency), or);
            let id = raksha.create_job(new).await?;
            match context.json {
                true => output::json(&raksha.job(id).await?),
                false => {
                    println!("{id}");
                    Ok(())
                }
            }
        }
        Job::List => {
            let jobs = raksha.jobs().await?;
            if context.json {
                return output::json(&jobs);
            }
            let rows = jobs.iter().map(|job| {
                let servers: Vec<String> = job.servers.0.iter().map(ToString::to_string).collect();
                [
                    short(&job.id.to_string()),
                    job.name.clone(),
                    servers.join(" "),
                    job.consistency.to_string(),
                ]
            });
            table(
                ["JOB", "NAME", "SERVERS", "CONSISTENCY"],
                &rows.collect::<Vec<_>>(),
            );
            Ok(())
        }
        Job::Show { job } => {
            let job = raksha.find_job(&job).await?;
            if context.json {
                return output::json(&job);
            }
            println!("job          {}\nname         {}", job.id, job.name);
            job.servers
                .0
                .iter()
                .for_each(|server| println!("server       {server}"));
            println!(
                "consistency  {}\ncreated      {}",
                job.consistency, job.created
            );
            Ok(())
        }
        Job::Delete { job } => {
            let job = raksha.find_job(&job).await?;
            for left in raksha.delete_job(job.id).await? {
                eprintln!("note: {} {} stays in the cloud: {}", left.temporary.kind, left.temporary.marker, left.error);
            }
            Ok(())
        }
        Job::Run { job } => {
            let job = raksha.find_job(&job).await?;
            let handle = raksha.run(job.id).await?;
            let id = handle.id();
            if !context.json {
                println!("{id}");
            }
            let stop = handle.cancel();
            let watch = tokio::spawn(progress::events(handle.events()));
            let cancel = context.cancel.clone();
            tokio::spawn(async move {
                cancel.cancelled().await;
                stop.cancel();
            });
            let report = handle.finish().await;
            let _ = watch.await;
            let report = report?;
            if context.json {
                return output::json(&report);
            }
            eprintln!(
                "point {}: {} logical, {} read, {} new, {} stored",
                short(&report.point.to_string()),
                output::bytes(report.counts.logical_bytes),
                output::bytes(report.counts.read_bytes),
                output::bytes(report.counts.new_bytes),
                output::bytes(report.counts.stored_bytes),
            );
            Ok(())
        }
    }
}

pub async fn run(context: &Context, command: Run) -> Result<()> {
    let raksha = context.raksha().await?;
    match command {
        Run::List { job } => {
            let job = match job {
                Some(job) => Some(raksha.find_job(&job).await?.id),
                None => None,
            };
            let runs = raksha.runs(job).await?;
            if context.json {
                return output::json(&runs);
            }
            let rows = runs.iter().map(|run| {
                [
                    short(&run.id.to_string()),
                    short(&run.job.to_string()),
                    run.started.to_string(),
                    state(run),
                    output::bytes(run.counts.new_bytes),
                ]
            });
            table(
                ["RUN", "JOB", "STARTED", "STATE", "NEW"],
                &rows.collect::<Vec<_>>(),
            );
            Ok(())
        }
        Run::Show { run } => {
            let run = raksha.find_run(&run).await?;
            if context.json {
                return output::json(&run);
            }
            println!(
                "run      {}\njob      {}\nstarted  {}\nstate    {}",
                run.id,
                run.job,
                run.started,
                state(&run)
            );
            let rows = run.disks.iter().map(|disk| {
                let counts = disk.counts;
                [
                    disk.disk.to_string(),
                    output::bytes(counts.logical_bytes),
                    output::bytes(counts.read_bytes),
                    output::bytes(counts.new_bytes),
                    output::bytes(counts.stored_bytes),
                ]
            });
            table(
                ["DISK", "LOGICAL", "READ", "NEW", "STORED"],
                &rows.collect::<Vec<_>>(),
            );
            Ok(())
        }
    }
}

pub async fn reap(context: &Context, all: bool) -> Result<()> {
    let dead = match all {
        true => Dead::All,
        false => Dead::SilentFor(SILENCE),
    };
    let reaped = context.raksha().await?.reap(dead).await?;
    println!(
        "{} runs and {} restores had died; {} things were removed from the cloud",
        reaped.runs.len(),
        reaped.restores.len(),
        reaped.released
    );
    for left in &reaped.left {
        eprintln!("note: {} {} stays in the cloud: {}", left.temporary.kind, left.temporary.marker, left.error);
    }
    Ok(())
}

fn level(name: ConsistencyName) -> Consistency {
    match name {
        ConsistencyName::Crash => Consistency::Crash,
        ConsistencyName::CrashAcrossDisks => Consistency::CrashAcrossDisks,
        ConsistencyName::FileSystem => Consistency::FileSystem,
        ConsistencyName::Application => Consistency::Application,
    }
}

fn state(run: &BackupRun) -> String {
    match &run.state {
        RunState::Running => "running".into(),
        RunState::Ended { outcome, .. } => match outcome {
            RunOutcome::Succeeded { point } => format!("point {}", short(&point.to_string())),
            RunOutcome::Failed { error } => format!("failed: {error}"),
            RunOutcome::Cancelled => "cancelled".into(),
        },
    }
}
