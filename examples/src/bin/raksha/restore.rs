//! Bringing servers back.

use raksha_core::cloud::{ResourceGraph, ResourceKey, ResourceKind, ResourceMapping};
use raksha_core::id::PointId;
use raksha_core::protect::{Raksha, RestoreOptions, Scope};
use raksha_core::{Error, Kind, Result};

use crate::args;
use crate::context::Context;
use crate::interrupt;
use crate::output::size;
use crate::progress::{Progress, Way};

pub async fn carry_out(context: &Context, given: args::RestoreOptions) -> Result<()> {
    let raksha = context.raksha_into(given.into.as_deref()).await?;
    let point = find(&raksha, &given.from).await?;
    let graph = raksha.point(point).await?.graph;
    let plan = raksha.plan_restore(point, options(&graph, &given)?).await?;
    if given.plan {
        context
            .output
            .show(&plan, || format!("{plan}\n{} to write", size(plan.bytes())))?;
        return plan.check();
    }
    let restore = raksha.restore(plan).await?;
    let shown = Progress::new(Way::Out, context.common.quiet).watch(restore.events());
    interrupt::cancels(restore.cancel());
    let report = restore.finish().await;
    // All that there is to tell comes before the result.
    let _ = shown.await;
    let report = report?;
    context.output.show(&report, || report.restore.to_string())
}

/// The point that `text` means: of a run, or itself. The target alone tells.
async fn find(raksha: &Raksha, text: &str) -> Result<PointId> {
    let points = raksha.points().await?;
    let of_run = points.iter().filter(|p| {
        p.summary
            .run
            .is_some_and(|run| run.to_string().starts_with(text))
    });
    let itself = points.iter().filter(|p| p.id.to_string().starts_with(text));
    let mut found: Vec<PointId> = of_run.chain(itself).map(|point| point.id).collect();
    found.dedup();
    match found.as_slice() {
        [only] => Ok(*only),
        // Perhaps a run that made no point: its record says why.
        [] => match raksha.find_run(text).await {
            Ok(run) => raksha.resolve(run.id).await,
            Err(_) => Err(Error::new(
                Kind::NotFound,
                "restore",
                "the project has no such run or recovery point",
            )
            .with("id", text)),
        },
        _ => Err(Error::new(
            Kind::Invalid,
            "restore",
            "several ids begin like this: write more of it",
        )
        .with("id", text)),
    }
}

fn options(graph: &ResourceGraph, given: &args::RestoreOptions) -> Result<RestoreOptions> {
    let keyed = |pairs: &[(String, String)]| -> Result<Vec<(ResourceKey, String)>> {
        let pairs = pairs
            .iter()
            .map(|(what, value)| Ok((key(graph, what)?, value.clone())));
        pairs.collect()
    };
    Ok(RestoreOptions {
        servers: given.servers.clone(),
        scope: given.only.map_or(Scope::Servers, Scope::from),
        mapping: ResourceMapping {
            resources: keyed(&given.maps)?,
            names: keyed(&given.renames)?,
            volume_types: given.volume_types.iter().cloned().collect(),
            flavors: given.flavors.iter().cloned().collect(),
            availability_zones: given.zones.iter().cloned().collect(),
        },
        leave_stopped: given.leave_stopped,
    })
}

/// The resource that `KIND:ID-OR-NAME` means.
fn key(graph: &ResourceGraph, text: &str) -> Result<ResourceKey> {
    let wrong = |why: &str| {
        Error::new(Kind::Invalid, "find resource in the point", why).with("resource", text)
    };
    let (kind, what) = text
        .split_once(':')
        .ok_or_else(|| wrong("write it as KIND:ID-OR-NAME, as in server:web"))?;
    let kind: ResourceKind = serde_json::from_value(kind.replace([' ', '-'], "_").into())
        .map_err(|_| wrong("there is no such kind; there are server, volume, network, subnet, router, security-group, port ..."))?;
    let of_kind = || graph.resources().filter(|r| r.key().kind == kind);
    if let Some(resource) = of_kind().find(|r| r.key().id == what) {
        return Ok(resource.key());
    }
    let mut named = of_kind().filter(|r| r.name() == what);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only.key()),
        (Some(_), Some(_)) => Err(wrong("several have this name: use the id")),
        (None, _) => Err(wrong("the point does not hold it")),
    }
}
