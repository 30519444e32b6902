//! Damage: found, taken out of use, healed; prevented by copies in a second repository, and by keeping objects from being deleted.

use std::collections::BTreeSet;

use raksha_core::disk_file::FileReader;
use raksha_core::id::PointId;
use raksha_core::protect::{Cancel, heal, heal_from_replica, replicate};
use raksha_core::repository::{Verified, VerifyOptions, verify_keyless};
use raksha_core::{Error, Kind, Result};
use raksha_targets::KeepOptions;
use serde_json::json;

use crate::args::{KeepArguments, RepairArguments, ReplicateArguments, VerifyArguments};
use crate::context::Context;
use crate::interrupt;
use crate::output::{short, size, table};
use crate::repository::who;

/// Checks everything, or as much as was asked for.
pub async fn verify(context: &Context, arguments: VerifyArguments) -> Result<()> {
    let VerifyArguments {
        points,
        keyless,
        sample,
        rate,
        at_most,
        after,
    } = arguments;
    let found = match keyless {
        true => verify_keyless(&context.target().await?).await?,
        false => {
            let mut options = VerifyOptions::default();
            options.sample = sample;
            options.bytes_per_second = rate;
            options.most_bytes = at_most;
            options.after = after;
            let repository = context.open().await?;
            if !points.is_empty() {
                let mut ids = Vec::new();
                for point in &points {
                    ids.push(repository.find_point(point).await?);
                }
                options.points = Some(ids);
            }
            repository.verify(&options).await?
        }
    };
    context.output.show(&found, || show_verified(&found))?;
    if found.is_whole() {
        return Ok(());
    }
    let message =
        "the repository is damaged: copy back what it names from elsewhere, or see `raksha repair`";
    Err(Error::new(Kind::Corrupt, "verify", message).with("damaged objects", found.damage.len()))
}

fn show_verified(found: &Verified) -> String {
    let damage = found
        .damage
        .iter()
        .map(|damage| format!("damaged: {damage}"));
    let foreign = found.foreign.iter().map(|name| format!("not ours: {name}"));
    let mut lines: Vec<String> = damage.chain(foreign).collect();
    lines.push(format!(
        "read {} objects ({}), {} log entries, {} chunks, {} points",
        found.objects,
        size(found.bytes),
        found.log_entries,
        found.chunks,
        found.points
    ));
    if let Some(sampled) = &found.sampled {
        lines.push(format!(
            "a sample of {} of {} packs: damage to one in a hundred of them would be missed with probability {:.3}, to a single one with {:.3}",
            sampled.packs, sampled.of, sampled.missed_one_in_a_hundred, sampled.missed_single
        ));
    }
    if let Some(next) = &found.next {
        lines.push(format!("not all was read; go on with --after {next}"));
    }
    if found.is_whole() {
        let all = found.sampled.is_none() && found.next.is_none();
        lines.push(match all {
            true => "everything is intact".to_owned(),
            false => "what was read is intact".to_owned(),
        });
    }
    lines.join("\n")
}

/// Takes damaged packs out of use, and stores again what can be had elsewhere.
pub async fn repair(context: &Context, arguments: RepairArguments) -> Result<()> {
    let RepairArguments {
        replica,
        of_replica,
        disk,
    } = arguments;
    let repository = context.open().await?;
    let replica = match replica {
        Some(address) => Some(context.open_replica(&address, &of_replica).await?),
        None => None,
    };
    let found = repository.verify(&VerifyOptions::default()).await?;
    let hurt: BTreeSet<PointId> = (found.damage.iter())
        .flat_map(|damage| damage.hurts.iter().map(|hurt| hurt.point))
        .collect();
    let hurt: Vec<PointId> = hurt.into_iter().collect();
    let salvaged = repository.retire_damaged(&found, &who()).await?;
    let mut without = Vec::new();
    if let Some(replica) = &replica {
        without = heal_from_replica(&repository, &hurt, replica).await?;
    }
    for path in &disk {
        let reader = FileReader::open(path, context.env.clone()).await?;
        heal(&reader, &repository).await?;
    }
    let (mut healed, mut left) = (Vec::new(), Vec::new());
    for point in hurt {
        match repository.is_whole(point).await? {
            true => healed.push(point),
            false => left.push(point),
        }
    }
    let result = json!({
        "salvaged": salvaged,
        "healed": healed,
        "left": left,
        "not_in_replica": without,
    });
    context.output.show(&result, || {
        let mut lines = vec![format!(
            "retired {} packs: {} chunks saved, {} lost",
            salvaged.retired_packs, salvaged.saved_chunks, salvaged.lost_chunks
        )];
        let in_use = salvaged.in_use.iter();
        lines.extend(in_use.map(|pack| format!("in use by an open session: {pack}")));
        lines.extend(without.iter().map(|id| format!("not in the replica: {id}")));
        lines.extend(healed.iter().map(|id| format!("healed: {id}")));
        lines.extend(left.iter().map(|id| format!("not whole: {id}")));
        lines.join("\n")
    })?;
    if left.is_empty() && salvaged.in_use.is_empty() {
        return Ok(());
    }
    let message = "some points are not whole: run their jobs again while the disks still hold the same, or forget them";
    Err(Error::new(Kind::Corrupt, "repair", message).with("points", left.len()))
}

/// Copies points to a second repository.
pub async fn copy(context: &Context, arguments: ReplicateArguments) -> Result<()> {
    let ReplicateArguments { to, of_replica } = arguments;
    let from = context.open().await?;
    let to = context.open_replica(&to, &of_replica).await?;
    let cancel = Cancel::new();
    interrupt::cancels(cancel.clone());
    let copied = replicate(&from, &to, &cancel).await?;
    context.output.show(&copied, || {
        let rows = copied.iter().map(|copied| {
            [
                copied.from.to_string(),
                copied.to.to_string(),
                size(copied.counts.read_bytes),
                size(copied.counts.stored_bytes),
            ]
        });
        table(["POINT", "COPY", "READ", "STORED"], rows)
    })
}

/// Keeps what points need from being deleted.
pub async fn keep(context: &Context, arguments: KeepArguments) -> Result<()> {
    let KeepArguments {
        time,
        at_least,
        bind_all,
    } = arguments;
    let repository = context.open().await?;
    let target = context.bare_target(false).await?;
    let retention = target.retention.as_ref().ok_or_else(|| {
        let message =
            "this target cannot keep objects from being deleted: S3 buckets with object lock can";
        Error::new(Kind::Unsupported, "keep points", message).with("target", &target.description)
    })?;
    let at_least = at_least.unwrap_or(time / 2).min(time);
    let now = context.env.now();
    let options = KeepOptions {
        at_least: now.after(at_least),
        until: now.after(time),
        binds_all: bind_all,
    };
    let kept = raksha_targets::keep(&repository, &**retention, options, &who()).await?;
    context.output.show(&kept, || {
        let rows = kept.horizons.iter();
        let rows = rows.map(|(point, until)| [short(point), until.to_string()]);
        let extended = format!("extended {} of {} objects", kept.extended, kept.objects);
        format!("{}\n{extended}", table(["POINT", "SAFE UNTIL"], rows))
    })
}
