//! Backup jobs, and the servers that they can protect.

use raksha_core::Result;
use raksha_core::cloud::{DiskSource, ResourceGraph, Server, ServerSelector};
use raksha_core::objective::Objective;
use raksha_core::protect::NewJob;
use raksha_core::schedule::Schedule;
use raksha_core::store::{BackupJob, IfNotReached, Protection};
use serde_json::json;

use crate::args::{JobVerb, if_not_reached};
use crate::authority;
use crate::context::Context;
use crate::interrupt;
use crate::output::{short, size, table};
use crate::progress::{Progress, Way};
use crate::run::runs_table;
use crate::schedule;
use crate::values::selection;

pub async fn carry_out(context: &Context, verb: JobVerb) -> Result<()> {
    match verb {
        JobVerb::Create {
            name,
            servers,
            consistency,
            refuse,
            schedule,
            retention,
            objective,
            authority,
            hooks,
        } => {
            let new = NewJob::new(name, selection(&servers))
                .with_consistency(consistency.into(), if_not_reached(refuse));
            let now = context.env.now();
            let mut new = schedule::complete(new, now, &schedule, &retention, &objective)?;
            new.hooks = hooks;
            // What cannot be meant is found out before anything is opened.
            new.check()?;
            new.delegation = authority::named(context, authority.as_deref()).await?;
            let id = context.raksha().await?.create_job(new).await?;
            context
                .output
                .show(&json!({ "job": id }), || id.to_string())
        }
        JobVerb::Update {
            job,
            name,
            servers,
            consistency,
            refuse,
            schedule,
            no_schedule,
            retention,
            keep_everything,
            objective,
            no_rpo,
            hooks,
            no_hooks,
        } => {
            let raksha = context.raksha().await?;
            let job = raksha.find_job(&job).await?;
            let mut new = NewJob::of(&job);
            new.name = name.unwrap_or(new.name);
            if !servers.is_empty() {
                new.servers = selection(&servers);
            }
            new.consistency = consistency.map_or(new.consistency, Into::into);
            new.if_not_reached = refuse.map_or(new.if_not_reached, if_not_reached);
            match schedule.schedule(context.env.now())? {
                Some(schedule) => new.schedule = Some(schedule),
                None if no_schedule => new.schedule = None,
                None => {}
            }
            let kept = retention.retention(&schedule.zone);
            if keep_everything || !kept.keeps_everything() {
                new.retention = kept;
            }
            if no_rpo || objective.rpo.is_some() {
                new.objective = objective.rpo.map(Objective::new);
            }
            new.max_parallel = objective.max_parallel.unwrap_or(new.max_parallel);
            if no_hooks || !hooks.is_empty() {
                new.hooks = hooks;
            }
            // It says what it says now, and not what an operator's policy does.
            let same = (&new.schedule, &new.retention, &new.objective)
                == (&job.schedule, &job.retention, &job.objective);
            new.policy = new.policy.filter(|_| same);
            let job = raksha.update_job(job.id, new).await?;
            context.output.show(&job, || job.id.to_string())
        }
        JobVerb::Simulate(options) => schedule::simulate(context, *options).await,
        JobVerb::List => {
            let jobs = context
                .jobs()
                .await?
                .jobs(&context.project().await?)
                .await?;
            context.output.show(&jobs, || {
                let rows = jobs.iter().map(|job| {
                    [
                        short(job.id),
                        job.name.clone(),
                        servers(job),
                        job.consistency.to_string(),
                        scheduled(job),
                        job.created.to_string(),
                    ]
                });
                let head = [
                    "JOB",
                    "NAME",
                    "SERVERS",
                    "CONSISTENCY",
                    "SCHEDULE",
                    "CREATED",
                ];
                table(head, rows)
            })
        }
        JobVerb::Show { job } => {
            let raksha = context.raksha().await?;
            let job = raksha.find_job(&job).await?;
            let runs = raksha.runs(Some(job.id)).await?;
            let protection = context
                .jobs()
                .await?
                .tracking(&job.project, job.id)
                .await?
                .protection;
            let less = match job.if_not_reached {
                IfNotReached::Mark => "points that reach less are kept and say so",
                IfNotReached::Refuse => "runs that reach less fail",
            };
            context.output.show(
                &json!({ "job": job, "runs": runs, "protection": protection }),
                || {
                    let lines = [
                        format!("job          {}", job.id),
                        format!("name         {}", job.name),
                        format!("servers      {}", servers(&job)),
                        format!("consistency  {}, and {less}", job.consistency),
                        format!("schedule     {}", scheduled(&job)),
                        format!("keeps        {}", job.retention),
                        format!("objective    {}", objective(&job, &protection)),
                        format!("authority    {}", authority_of(&job, &protection)),
                        format!("hooks        {}", hooks(&job)),
                        format!("created      {}", job.created),
                        runs_table(&runs),
                    ];
                    lines.join("\n")
                },
            )
        }
        JobVerb::Delete { job } => {
            let raksha = context.raksha().await?;
            let job = raksha.find_job(&job).await?;
            for left in raksha.delete_job(job.id).await? {
                eprintln!(
                    "still in the cloud, see `raksha reap`: {}: {}",
                    left.what, left.error
                );
            }
            context
                .output
                .show(&json!({ "deleted": job.id }), String::new)
        }
        JobVerb::Run { job } => {
            let raksha = context.raksha().await?;
            let job = raksha.find_job(&job).await?;
            let run = raksha.run(job.id).await?;
            let shown = Progress::new(Way::In, context.common.quiet).watch(run.events());
            interrupt::cancels(run.cancel());
            let report = run.finish().await;
            // All that there is to tell comes before the result.
            let _ = shown.await;
            let report = report?;
            context.output.show(&report, || report.run.to_string())
        }
    }
}

fn scheduled(job: &BackupJob) -> String {
    let schedule = job.schedule.as_ref();
    schedule.map_or_else(|| "when asked to".to_owned(), Schedule::to_string)
}

fn objective(job: &BackupJob, protection: &Protection) -> String {
    let newest = match protection.verified {
        Some(verified) => format!("the newest verified point is of {}", verified.taken),
        None => "no point was verified by a worker".to_owned(),
    };
    match job.objective {
        Some(objective) => format!("{objective}: {}; {newest}", protection.objective),
        None => format!("none; {newest}"),
    }
}

fn hooks(job: &BackupJob) -> String {
    let names: Vec<&str> = job.hooks.iter().map(|hook| hook.name.as_str()).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

fn authority_of(job: &BackupJob, protection: &Protection) -> String {
    match (job.delegation, &protection.authority) {
        (None, _) => "that of the worker".to_owned(),
        (Some(id), None) => format!("delegation {}, not looked at yet", short(id)),
        (Some(id), Some(watch)) => format!("delegation {}: {}", short(id), watch.told),
    }
}

fn servers(job: &BackupJob) -> String {
    let servers = job.servers.0.iter().map(ServerSelector::to_string);
    servers.collect::<Vec<_>>().join(", ")
}

/// Shows servers.
pub async fn discover(context: &Context, servers: &[ServerSelector]) -> Result<()> {
    let graph = (context.cloud().await?.cloud.discovery)
        .discover(&selection(servers))
        .await?;
    context.output.show(&graph, || {
        let rows = graph.servers.iter().map(|server| {
            [
                server.id.to_string(),
                server.name.clone(),
                disks(&graph, server).join(", "),
                addresses(&graph, server).join(", "),
            ]
        });
        let mut lines = vec![table(["SERVER", "NAME", "DISKS", "ADDRESSES"], rows)];
        let omitted = graph.omissions.iter();
        lines.extend(omitted.map(|o| format!("not shown: {}: {}", o.what, o.reason)));
        lines.join("\n")
    })
}

fn disks(graph: &ResourceGraph, server: &Server) -> Vec<String> {
    let disks = server
        .attachments
        .iter()
        .map(|attachment| match &attachment.source {
            DiskSource::Local { name, size: bytes } => format!("{name} {}", size(*bytes)),
            DiskSource::Volume(id) => match graph.volumes.iter().find(|v| v.id == *id) {
                Some(volume) => format!("{} {}", volume.name, size(volume.size)),
                None => id.to_string(),
            },
        });
    disks.collect()
}

fn addresses(graph: &ResourceGraph, server: &Server) -> Vec<String> {
    let ports = graph
        .ports
        .iter()
        .filter(|port| server.ports.contains(&port.id));
    let addresses = ports.flat_map(|port| port.fixed_ips.iter().map(|ip| ip.address.clone()));
    addresses.collect()
}
