//! Progress on standard error: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use raksha_core::image::Meter;
use raksha_core::protect::{Event, Events};

/// Shows the events of a run or restore until there are no more.
pub async fn events(mut events: Events) {
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
                eprintln!("{disk}: done, {}", HumanBytes(size))
            }
            (Event::Phase { phase }, None) => eprintln!("{phase}"),
            (Event::Warning { warning }, _) => eprintln!("note: {warning}"),
            _ => {}
        }
    }
    disks.iter().for_each(|(_, bar)| bar.finish_and_clear());
}

/// Shows how far a single disk is, while `work` goes on.
pub async fn meter<T>(
    name: &str,
    size: u64,
    meter: Arc<Meter>,
    work: impl Future<Output = T>,
) -> T {
    let bar = match std::io::stderr().is_terminal() {
        true => bar(name, size),
        false => ProgressBar::hidden(),
    };
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => bar.set_position(meter.counts().logical_bytes),
        }
    };
    bar.finish_and_clear();
    done
}

fn bar(name: &str, size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:28} {bar:32} {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(size).with_prefix(name.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
