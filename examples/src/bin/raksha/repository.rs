//! `raksha init`, `points`, `forget`, `hold`, `collect`, `verify`, `stats`, `log`: the repository itself.

use raksha_core::format::Chunking;
use raksha_core::repository::{
    Cipher, CollectOptions, Compression, Parameters, Verified, VerifyOptions, verify_keyless,
};
use raksha_core::{Error, Kind, Result};
use serde_json::json;

use crate::arguments::{ChunkingName, Collect, Init};
use crate::context::Context;
use crate::output::{self, table};

/// Entries of the log fetched at a time.
const BATCH: usize = 512;

pub async fn init(context: &Context, options: Init) -> Result<()> {
    let mut parameters = Parameters::default();
    parameters.chunking = match options.chunking {
        ChunkingName::Fixed => Chunking::Fixed { size: 64 << 10 },
        ChunkingName::FastCdc => Chunking::STREAM,
        ChunkingName::Aligned => Chunking::DISK,
    };
    parameters.compression = match options.compression.as_str() {
        "none" => Compression::None,
        level => match level.parse() {
            Ok(level) => Compression::Zstd { level },
            Err(_) => {
                let message = "the compression is a level of zstd, from -7 to 19, or none";
                return Err(
                    Error::new(Kind::Invalid, "read options", message).with("compression", level)
                );
            }
        },
    };
    if options.no_seal {
        parameters.cipher = Cipher::None;
    }
    let repository = context.create_repository(parameters).await?;
    if context.json {
        return output::json(
            &json!({ "repository": repository.id(), "parameters": repository.parameters() }),
        );
    }
    println!("{}", repository.id());
    Ok(())
}

pub async fn points(context: &Context) -> Result<()> {
    let points = context.repository().await?.points().await?;
    if context.json {
        return output::json(&points);
    }
    let rows = points.iter().map(|point| {
        let summary = &point.summary;
        [
            short(&point.id.to_string()),
            summary.taken.to_string(),
            summary.name.clone(),
            summary.servers.to_string(),
            output::bytes(summary.counts.logical_bytes),
            output::bytes(summary.counts.new_bytes),
        ]
    });
    table(
        ["POINT", "TAKEN", "NAME", "SERVERS", "LOGICAL", "NEW"],
        &rows.collect::<Vec<_>>(),
    );
    Ok(())
}

pub async fn forget(context: &Context, prefixes: &[String]) -> Result<()> {
    let repository = context.repository().await?;
    let mut points = Vec::new();
    for prefix in prefixes {
        points.push(repository.find_point(prefix).await?);
    }
    repository.forget(&points, &context.who()).await
}

pub async fn hold(context: &Context, prefix: &str, held: bool) -> Result<()> {
    let repository = context.repository().await?;
    let point = repository.find_point(prefix).await?;
    repository.hold(point, held, &context.who()).await
}

pub async fn collect(context: &Context, options: Collect) -> Result<()> {
    let mut how = CollectOptions::default();
    how.dry_run = options.dry_run;
    how.rewrite_below = options.rewrite_below;
    how.fence_after = Some(options.fence_after);
    how.delete = !options.no_delete;
    how.who = context.who();
    let done = context.repository().await?.collect(&how).await?;
    if context.json {
        return output::json(&done);
    }
    let (did, deleted) = match options.dry_run {
        true => ("would retire", "would delete"),
        false => ("retired", "deleted"),
    };
    println!(
        "{did} {} packs ({})",
        done.retired_packs,
        output::bytes(done.retired_bytes)
    );
    println!(
        "  {} of them rewritten: {} copied",
        done.rewritten_packs,
        output::bytes(done.copied_bytes)
    );
    if !options.dry_run {
        println!(
            "{deleted} {} objects; {} are live",
            done.deleted_objects,
            output::bytes(done.live_bytes)
        );
    }
    for session in &done.fenced {
        println!("fenced off session {session}");
    }
    for object in &done.foreign_objects {
        println!("left alone what is not ours: {object}");
    }
    Ok(())
}

pub async fn verify(context: &Context, keyless: bool) -> Result<()> {
    let found = match keyless {
        true => verify_keyless(&context.target(false).await?).await?,
        false => {
            context
                .repository()
                .await?
                .verify(&VerifyOptions::default())
                .await?
        }
    };
    match context.json {
        true => output::json(&found)?,
        false => show(&found),
    }
    match found.damage.len() {
        0 => Ok(()),
        n => Err(Error::new(
            Kind::Corrupt,
            "verify",
            format!("{n} objects are damaged or missing"),
        )),
    }
}

fn show(found: &Verified) {
    println!("{} objects, {}", found.objects, output::bytes(found.bytes));
    println!("{} log entries", found.log_entries);
    if found.chunks > 0 || found.points > 0 {
        println!(
            "{} chunks opened, {} points walked",
            found.chunks, found.points
        );
    }
    for object in &found.foreign {
        println!("not ours: {object}");
    }
    for damage in &found.damage {
        println!("DAMAGED {damage}");
    }
    if found.is_whole() {
        println!("everything is whole");
    }
}

pub async fn stats(context: &Context) -> Result<()> {
    let repository = context.repository().await?;
    let stats = repository.stats().await?;
    if context.json {
        return output::json(&stats);
    }
    println!("points         {}", stats.points);
    println!("logical        {}", output::bytes(stats.logical_bytes));
    println!(
        "packs          {} in {}",
        output::bytes(stats.pack_bytes),
        stats.packs
    );
    println!("chunks         {}", stats.chunks);
    println!(
        "indexes        {} in {}",
        output::bytes(stats.index_bytes),
        stats.indexes
    );
    println!(
        "log entries    {} ({} void)",
        stats.log_entries, stats.void_entries
    );
    for session in repository.sessions().await? {
        println!(
            "open session   {} by {}, last seen {}",
            session.id, session.by, session.seen
        );
    }
    Ok(())
}

pub async fn log(context: &Context, from: u64) -> Result<()> {
    let repository = context.repository().await?;
    let mut next = from;
    loop {
        let entries = repository.history(next, BATCH).await?;
        if entries.is_empty() {
            return Ok(());
        }
        next += entries.len() as u64;
        for entry in entries {
            if context.json {
                output::json(&entry)?;
                continue;
            }
            let action = serde_json::to_value(&entry.action).unwrap_or_default();
            let kind = action.get("kind").and_then(|k| k.as_str()).unwrap_or("?");
            let session = entry
                .session
                .map(|s| format!(" session {s}"))
                .unwrap_or_default();
            let by = entry.by.map(|by| format!(" by {by}")).unwrap_or_default();
            println!("{:>8}  {}  {kind}{session}{by}", entry.number, entry.time);
        }
    }
}

/// The beginning of an id: enough to name it among some thousands.
pub fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
