//! What was measured, and where it is kept.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use raksha_benches::machine::Machine;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::scale::usage::{cpu, peak};

/// All that was measured so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    pub figures: Vec<Figure>,
}

/// What one process did to one repository, and what it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// What it did.
    pub what: String,
    /// Chunks that the index of the repository lists, without those of trees.
    pub chunks: u64,
    /// Its recovery points.
    pub points: u64,
    #[serde(flatten)]
    pub took: Took,
    /// The machine that it ran on, and how busy that was before.
    pub machine: Machine,
}

/// What something took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Took {
    /// CPU seconds, user and system, over all threads.
    pub cpu: f64,
    /// Seconds by the wall clock.
    pub wall: f64,
    /// The most memory that the process had at any time, in MiB.
    pub peak: u64,
    /// How often it was done.
    pub times: u64,
}

impl Took {
    /// This and that, which the same process did.
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            wall: self.wall + other.wall,
            peak: self.peak.max(other.peak),
            times: self.times + other.times,
        }
    }
}

/// Something that has begun.
pub struct Begun {
    cpu: Duration,
    wall: Instant,
}

impl Begun {
    pub fn now() -> Result<Self> {
        Ok(Self {
            cpu: cpu()?,
            wall: Instant::now(),
        })
    }

    /// What it took until now, done so many times.
    pub fn took(&self, times: u64) -> Result<Took> {
        Ok(Took {
            cpu: (cpu()? - self.cpu).as_secs_f64(),
            wall: self.wall.elapsed().as_secs_f64(),
            peak: peak()?,
            times,
        })
    }
}

impl Figures {
    /// Those that the file has, if there is one.
    pub fn load(file: &Path) -> Result<Self> {
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(format!("{}: {e}", file.display()).into()),
        }
    }

    /// Adds a figure, in place of the one that was measured of the same before.
    pub fn add(&mut self, figure: Figure) {
        let same = |old: &Figure| {
            (&old.what, old.chunks, old.points) == (&figure.what, figure.chunks, figure.points)
        };
        self.figures.retain(|old| !same(old));
        self.figures.push(figure);
    }

    pub fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()).into())
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Took {
            cpu,
            wall,
            peak,
            times,
        } = self.took;
        write!(
            f,
            "{:>11} chunks {:>8} points  {:<36}{cpu:>9.2} s CPU {wall:>9.2} s wall {peak:>6} MiB",
            self.chunks, self.points, self.what
        )?;
        if times > 1 {
            let each = |seconds: f64| seconds / times as f64 * 1e6;
            write!(
                f,
                "   {:.2} us CPU, {:.2} us wall each",
                each(cpu),
                each(wall)
            )?;
        }
        Ok(())
    }
}

/// Lets a process of its own, which begins as this program, do this; gives the last line that it prints.
pub fn in_a_process(arguments: &[&str]) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", arguments.join(" "), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}
