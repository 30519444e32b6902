//! What a newcomer wants to see.

use std::io::IsTerminal;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use raksha_core::cloud::{DiskSource, ResourceGraph};
use raksha_core::protect::{Event, Events};
use raksha_core::repository::Stats;

use crate::Ran;

/// The heading of the next part of the story.
pub fn chapter(title: &str) {
    println!("\n{title}");
}

/// Text moved to the right.
pub fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Servers with their disks and addresses.
pub fn graph(graph: &ResourceGraph) {
    for network in &graph.networks {
        let ranges = graph
            .subnets
            .iter()
            .filter(|s| s.network == network.id)
            .map(|s| s.cidr.as_str());
        println!(
            "  network {} {}",
            network.name,
            ranges.collect::<Vec<_>>().join(" ")
        );
    }
    for server in &graph.servers {
        let ports = graph.ports.iter().filter(|p| server.ports.contains(&p.id));
        let addresses = ports.flat_map(|p| p.fixed_ips.iter().map(|ip| ip.address.as_str()));
        println!(
            "  server  {} at {}",
            server.name,
            addresses.collect::<Vec<_>>().join(" ")
        );
        for attachment in &server.attachments {
            let device = attachment.device.as_deref().unwrap_or("?");
            let (what, size) = match &attachment.source {
                DiskSource::Local { name, size } => (format!("its own {name} disk"), *size),
                DiskSource::Volume(id) => match graph.volumes.iter().find(|v| v.id == *id) {
                    Some(volume) => (format!("volume {}", volume.name), volume.size),
                    None => (format!("volume {id}"), 0),
                },
            };
            println!("          {device} {what}, {}", HumanBytes(size));
        }
    }
}

/// A line for each run: what there was, what was read, what was new, what it took.
pub fn runs(runs: &[(&str, &Ran)]) {
    println!(
        "\n  {:8}{:>12}{:>12}{:>12}{:>12}{:>9}{:>9}{:>9}",
        "run", "logical", "read", "new", "stored", "ratio", "seconds", "MB/s"
    );
    for (name, ran) in runs {
        let counts = ran.report.counts;
        let seconds = ran.took.as_secs_f64();
        println!(
            "  {name:8}{:>12}{:>12}{:>12}{:>12}{:>8.1}x{seconds:>9.2}{:>9.0}",
            HumanBytes(counts.logical_bytes).to_string(),
            HumanBytes(counts.read_bytes).to_string(),
            HumanBytes(counts.new_bytes).to_string(),
            HumanBytes(counts.stored_bytes).to_string(),
            counts.logical_bytes as f64 / counts.stored_bytes.max(1) as f64,
            counts.read_bytes as f64 / 1e6 / seconds,
        );
    }
    println!(
        "  (logical: the size of all disks; read: what is not a hole; new: what the repository did not have; stored: that, compressed and sealed)"
    );
}

/// What the repository holds in the end.
pub fn repository(stats: &Stats) {
    println!(
        "\nThe repository holds {} points of {} in {}; each can be restored or deleted by itself.",
        stats.points,
        HumanBytes(stats.logical_bytes),
        HumanBytes(stats.pack_bytes),
    );
}

/// Shows events until there are no more: bars on a terminal, lines elsewhere.
pub async fn progress(mut events: Events) {
    let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
    let mut disks: Vec<(String, ProgressBar)> = Vec::new();
    while let Some(event) = events.next().await {
        match (event, &bars) {
            (Event::Disk { disk, size, counts }, Some(bars)) => {
                let name = disk.to_string();
                let known = disks.iter().position(|(known, _)| *known == name);
                let at = known.unwrap_or_else(|| {
                    disks.push((name.clone(), bars.add(bar(&name, size))));
                    disks.len() - 1
                });
                if let Some((_, bar)) = disks.get(at) {
                    bar.set_position(counts.logical_bytes);
                }
            }
            (Event::DiskDone { disk, size, .. }, None) => {
                println!("  {disk} done ({})", HumanBytes(size))
            }
            (Event::Phase { phase }, None) => println!("  {phase}"),
            (Event::Warning { warning }, _) => println!("  note: {warning}"),
            _ => {}
        }
    }
    for (_, bar) in disks {
        bar.finish_and_clear();
    }
}

fn bar(name: &str, size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {prefix:28} {bar:32} {bytes}/{total_bytes}");
    let bar = ProgressBar::new(size).with_prefix(name.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
