//! `raksha restore`: from a plan that can be looked at first.

use raksha_core::protect::{RestoreFrom, RestoreOptions, Scope};
use raksha_core::{Kind, Result};

use crate::arguments::Restore;
use crate::context::Context;
use crate::{output, progress};

pub async fn restore(context: &Context, asked: Restore) -> Result<()> {
    let raksha = context.raksha().await?;
    let from = match raksha.find_run(&asked.run).await {
        Ok(run) => RestoreFrom::from(run.id),
        // The job store may be lost: everything that a restore needs is in the repository.
        Err(e) if e.kind() == Kind::NotFound => {
            match raksha.repository().find_point(&asked.run).await {
                Ok(point) => RestoreFrom::from(point),
                Err(_) => return Err(e),
            }
        }
        Err(e) => return Err(e),
    };
    let mut options = RestoreOptions::default();
    options.servers = asked.servers;
    options.leave_stopped = asked.leave_stopped;
    options.scope = match (asked.disks_only, asked.networks_only) {
        (true, _) => Scope::Disks,
        (_, true) => Scope::Networks,
        _ => Scope::Servers,
    };
    let plan = raksha.plan_restore(from, options).await?;
    if asked.plan {
        return match context.json {
            true => output::json(&plan),
            false => {
                println!("{plan}");
                Ok(())
            }
        };
    }
    eprintln!("{plan}");
    let handle = raksha.restore(plan).await?;
    let stop = handle.cancel();
    let cancel = context.cancel.clone();
    tokio::spawn(async move {
        cancel.cancelled().await;
        stop.cancel();
    });
    let watch = tokio::spawn(progress::events(handle.events()));
    let report = handle.finish().await;
    let _ = watch.await;
    let report = report?;
    match context.json {
        true => output::json(&report),
        false => {
            println!("{}", report.restore);
            Ok(())
        }
    }
}
