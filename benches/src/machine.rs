//! The machine that figures hold for.

use std::{fs, io};

use serde::{Deserialize, Serialize};

/// What figures depend on besides the programs' own doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that may be used.
    pub cores: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Processes that were running or ready to, averaged over the minute before the beginning.
    pub load: f64,
}

impl Machine {
    /// This one, now.
    pub fn read() -> io::Result<Self> {
        let load = read("/proc/loadavg");
        Ok(Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory: kibibytes(&field("/proc/meminfo", "MemTotal")) << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load
                .split(' ')
                .next()
                .and_then(|l| l.parse().ok())
                .unwrap_or(0.0),
        })
    }
}

fn kibibytes(text: &str) -> u64 {
    let number = text.split(' ').next().unwrap_or_default();
    number.parse().unwrap_or(0)
}

/// The first `name: value` of a file in /proc.
fn field(file: &str, name: &str) -> String {
    let text = read(file);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("?", |value| value.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}

/// What cannot be read is left out: the figures are good without it.
fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
