//! A recovery point, looked at closely.

use raksha_core::cloud::DiskConsistency;
use raksha_core::{RecoveryPoint, Result};

use crate::context::Context;
use crate::output::{size, table};

/// Shows a point.
pub async fn show(context: &Context, text: &str) -> Result<()> {
    let repository = context.open().await?;
    let point = (repository.point(context.point(&repository, text).await?)).await?;
    context.output.show(&point, || describe(&point))
}

fn describe(point: &RecoveryPoint) -> String {
    let summary = &point.summary;
    let mut lines = vec![
        format!("name     {}", summary.name),
        format!("taken    {}", summary.taken),
    ];
    if let Some(principal) = &summary.principal {
        lines.push(format!("made by  {principal}"));
    }
    for server in &point.graph.servers {
        let ports = &point.graph.ports;
        let own = ports.iter().filter(|port| server.ports.contains(&port.id));
        let addresses: Vec<&str> = own
            .flat_map(|port| port.fixed_ips.iter().map(|ip| ip.address.as_str()))
            .collect();
        lines.push(format!("server   {} {}", server.name, addresses.join(" ")));
    }
    let ledger = &point.ledger;
    if !ledger.disks.is_empty() {
        let skew = humantime::format_duration(ledger.skew);
        lines.push(format!(
            "reached  {}, all disks within {skew}",
            ledger.reached()
        ));
    }
    let rows = point.disks.iter().map(|disk| {
        let reached = ledger.disks.iter().find(|entry| entry.disk == disk.disk);
        [
            disk.disk.to_string(),
            size(disk.counts.logical_bytes),
            size(disk.counts.stored_bytes),
            reached
                .map(|entry| entry.level.to_string())
                .unwrap_or_default(),
            reached.map(means).unwrap_or_default(),
        ]
    });
    lines.push(table(["DISK", "SIZE", "ADDED", "REACHED", "BY"], rows));
    for omission in &point.graph.omissions {
        lines.push(format!("left out {}: {}", omission.what, omission.reason));
    }
    lines.join("\n")
}

fn means(entry: &DiskConsistency) -> String {
    match entry.freeze {
        Some(freeze) => format!("{}, frozen for {} ms", entry.means, freeze.as_millis()),
        None => entry.means.clone(),
    }
}
