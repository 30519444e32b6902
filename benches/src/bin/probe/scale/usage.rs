//! What this process has used, and what it asked of its target.

use std::time::{Duration, Instant};

use raksha_targets::Metrics;

use crate::Result;

/// A measurement that has begun.
pub struct Usage {
    began: Instant,
    cpu: Duration,
    requests: u64,
    metrics: Metrics,
}

/// What it came to.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub wall: Duration,
    pub cpu: Duration,
    pub requests: u64,
}

impl Usage {
    pub fn begin(metrics: &Metrics) -> Result<Self> {
        Ok(Self {
            began: Instant::now(),
            cpu: cpu()?,
            requests: requests(metrics),
            metrics: metrics.clone(),
        })
    }

    pub fn end(self) -> Result<Used> {
        Ok(Used {
            wall: self.began.elapsed(),
            cpu: cpu()? - self.cpu,
            requests: requests(&self.metrics) - self.requests,
        })
    }
}

impl std::fmt::Display for Used {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            wall,
            cpu,
            requests,
        } = self;
        write!(
            f,
            "{:>8.2} s wall {:>8.2} s CPU {requests:>8} requests",
            wall.as_secs_f64(),
            cpu.as_secs_f64()
        )
    }
}

fn requests(metrics: &Metrics) -> u64 {
    let operations = metrics.snapshot().operations;
    operations.iter().map(|counts| counts.attempts).sum()
}

/// User and system time, in the kernel's ticks of 10 ms.
pub fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in brackets may hold anything; user time is the 12th field behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// The most memory that this process ever had, in MiB.
pub fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or("/proc/self/status tells no VmHWM")? >> 10)
}
