//! Progress on stderr: bars on a terminal, a line now and then elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use raksha_core::cloud::ResourceKind;
use raksha_core::image::Meter;
use raksha_core::protect::{Event, Events};
use raksha_core::store::RunCounts;

use crate::output::size;

/// How often a line about a disk is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a meter is looked at.
const TICK: Duration = Duration::from_millis(200);

/// What bytes are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Into the repository.
    In,
    /// Out of it.
    Out,
}

/// Shows progress.
pub struct Progress {
    shows: Shows,
    way: Way,
    disks: HashMap<String, Shown>,
}

enum Shows {
    Nothing,
    Lines,
    Bars(MultiProgress),
}

struct Shown {
    bar: ProgressBar,
    line: Instant,
}

impl Progress {
    pub fn new(way: Way, quiet: bool) -> Self {
        let shows = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shows::Nothing,
            (false, true) => Shows::Bars(MultiProgress::new()),
            (false, false) => Shows::Lines,
        };
        Self {
            shows,
            way,
            disks: HashMap::new(),
        }
    }

    /// Shows `events` until they end, in the background.
    pub fn watch(mut self, mut events: Events) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                self.event(event);
            }
        })
    }

    /// Shows how far `meter` is with a disk, for as long as `work` takes.
    pub async fn during<T>(
        mut self,
        name: &str,
        size: u64,
        meter: Arc<Meter>,
        work: impl Future<Output = T>,
    ) -> T {
        let look = async {
            loop {
                tokio::time::sleep(TICK).await;
                self.disk(name, size, meter.counts());
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = look => unreachable!("it looks for ever"),
        };
        self.finish(name, size, meter.counts());
        done
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Phase { phase } => self.line(&phase.to_string()),
            Event::Snapshotted { ledger } => {
                self.line(&format!("consistency reached: {}", ledger.reached()));
            }
            Event::Disk { disk, size, counts } => self.disk(&disk.to_string(), size, counts),
            Event::DiskDone { disk, size, counts } => self.finish(&disk.to_string(), size, counts),
            // Which address a floating IP gets is the cloud's to say.
            Event::Created { key, name, id } if key.kind == ResourceKind::FloatingIp => {
                self.line(&format!("created {} in place of {name} ({id})", key.kind));
            }
            Event::Created { key, name, id } => {
                self.line(&format!("created {} {name} ({id})", key.kind));
            }
            Event::Warning { warning } => self.line(&format!("warning: {warning}")),
            _ => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.shows {
            Shows::Nothing => {}
            Shows::Lines => eprintln!("{text}"),
            Shows::Bars(bars) => bars.suspend(|| eprintln!("{text}")),
        }
    }

    fn disk(&mut self, name: &str, bytes: u64, counts: RunCounts) {
        let told = self.told(counts);
        let shown = self.shown(name, bytes);
        shown.bar.set_position(counts.logical_bytes);
        shown.bar.set_message(told);
        if matches!(self.shows, Shows::Lines) {
            let shown = self.shown(name, bytes);
            if shown.line.elapsed() >= LINE_EVERY {
                shown.line = Instant::now();
                let done = size(counts.logical_bytes);
                self.line(&format!(
                    "{name}: {done} of {}, {}",
                    size(bytes),
                    self.told(counts)
                ));
            }
        }
    }

    fn finish(&mut self, name: &str, bytes: u64, counts: RunCounts) {
        self.shown(name, bytes).bar.finish_and_clear();
        self.line(&format!("{name}: {}, {}", size(bytes), self.told(counts)));
    }

    fn told(&self, counts: RunCounts) -> String {
        let RunCounts {
            logical_bytes: _,
            read_bytes,
            new_bytes,
            stored_bytes,
        } = counts;
        let [read, new, stored] = [read_bytes, new_bytes, stored_bytes].map(size);
        match self.way {
            Way::In => format!("read {read}, new {new}, stored {stored}"),
            Way::Out => format!("wrote {read}, holes left out"),
        }
    }

    fn shown(&mut self, name: &str, size: u64) -> &mut Shown {
        let bars = match &self.shows {
            Shows::Bars(bars) => Some(bars),
            Shows::Nothing | Shows::Lines => None,
        };
        self.disks.entry(name.to_owned()).or_insert_with(|| {
            let bar = match bars {
                Some(bars) => bars.add(ProgressBar::new(size).with_style(style())),
                None => ProgressBar::hidden(),
            };
            bar.set_prefix(name.to_owned());
            Shown {
                bar,
                line: Instant::now(),
            }
        })
    }
}

fn style() -> ProgressStyle {
    let template =
        "{prefix:30!} {bar:24} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
