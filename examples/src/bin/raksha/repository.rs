//! The repository: made, listed, thinned out.

use raksha_core::Result;
use raksha_core::repository::{CollectOptions, Parameters};
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::output::{short, size, table};

/// Makes a repository.
pub async fn init(context: &Context, options: args::InitOptions) -> Result<()> {
    let args::InitOptions {
        segment_size,
        pack_size,
        compression,
    } = options;
    let mut parameters = Parameters::default();
    if let Some(bytes) = segment_size {
        parameters.segment_size = bytes;
    }
    if let Some(bytes) = pack_size {
        // What is too large for the type is too large for a pack.
        parameters.pack_size = u32::try_from(bytes).unwrap_or(u32::MAX);
    }
    if let Some(compression) = compression {
        parameters.compression = compression;
    }
    let repository = context.create(parameters).await?;
    let id = repository.id();
    context
        .output
        .show(&json!({ "repository": id }), || id.to_string())
}

/// Lists points.
pub async fn points(context: &Context) -> Result<()> {
    let points = context.points(&context.open().await?).await?;
    context.output.show(&points, || {
        let rows = points.iter().map(|point| {
            let summary = &point.summary;
            [
                short(point.id),
                summary.taken.to_string(),
                summary.name.clone(),
                summary.run.map(short).unwrap_or_default(),
                summary.servers.to_string(),
                size(summary.counts.logical_bytes),
                size(summary.counts.stored_bytes),
            ]
        });
        table(
            ["POINT", "TAKEN", "NAME", "RUN", "SERVERS", "SIZE", "ADDED"],
            rows,
        )
    })
}

/// Forgets points.
pub async fn forget(context: &Context, points: &[String]) -> Result<()> {
    let repository = context.open().await?;
    let mut ids = Vec::new();
    for text in points {
        ids.push(context.point(&repository, text).await?);
    }
    repository.forget(&ids, &who()).await?;
    context
        .output
        .show(&json!({ "forgotten": ids }), String::new)
}

/// Who asks, for the commit log.
pub fn who() -> String {
    std::env::var("USER").unwrap_or_else(|_| "raksha".to_owned())
}

/// Frees space.
pub async fn collect(context: &Context, options: args::CollectOptions) -> Result<()> {
    let args::CollectOptions {
        dry_run,
        no_delete,
        rewrite_below,
        fence_after,
    } = options;
    let mut how = CollectOptions::default();
    how.dry_run = dry_run;
    how.delete = !no_delete;
    how.who = who();
    how.rewrite_below = rewrite_below;
    how.fence_after = fence_after.or(how.fence_after);
    let done = context.open().await?.collect(&how).await?;
    context.output.show(&done, || {
        let fenced = done
            .fenced
            .iter()
            .map(|session| format!("fenced session {session}"));
        let foreign = done
            .foreign_objects
            .iter()
            .map(|name| format!("not ours, left alone: {name}"));
        let mut lines: Vec<String> = fenced.chain(foreign).collect();
        lines.push(format!(
            "retired {} packs ({}), {} of them rewritten ({} copied)",
            done.retired_packs,
            size(done.retired_bytes),
            done.rewritten_packs,
            size(done.copied_bytes)
        ));
        lines.push(format!(
            "deleted {} objects, {} live",
            done.deleted_objects,
            size(done.live_bytes)
        ));
        lines.join("\n")
    })
}

/// Shows what there is.
pub async fn stats(context: &Context) -> Result<()> {
    let repository = context.open().await?;
    let stats = repository.stats().await?;
    let all = json!({ "repository": repository.id(), "parameters": repository.parameters(), "stats": stats });
    context.output.show(&all, || {
        let rows = [
            ("repository", repository.id().to_string()),
            ("points", stats.points.to_string()),
            ("size of their disks", size(stats.logical_bytes)),
            (
                "packs",
                format!("{} ({})", stats.packs, size(stats.pack_bytes)),
            ),
            ("chunks", stats.chunks.to_string()),
            (
                "indexes",
                format!("{} ({})", stats.indexes, size(stats.index_bytes)),
            ),
            ("log entries", stats.log_entries.to_string()),
            ("open sessions", stats.open_sessions.to_string()),
        ];
        let lines = rows.map(|(name, value)| format!("{name:<22}{value}"));
        lines.join("\n")
    })
}
