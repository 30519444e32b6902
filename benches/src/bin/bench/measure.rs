//! What a process took.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wait4::Wait4;

use crate::Result;

/// What a process, with all the children it waited for, took until it ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Usage {
    /// CPU seconds in its own code, over all threads.
    pub user: f64,
    /// CPU seconds in the kernel for it.
    pub system: f64,
    /// Seconds by the wall clock.
    pub wall: f64,
    /// The most bytes it had in memory at once. Never below what this program has itself: a child begins as its copy.
    pub peak: u64,
}

impl Usage {
    /// CPU seconds, user and system.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Runs a command to its end; gives what it took and what it printed to standard output.
///
/// A command that does not succeed is an error that ends with what it printed to standard error.
pub fn run(command: &mut Command) -> Result<(Usage, String)> {
    let shown = show(command);
    let failed = |e: std::io::Error| format!("{shown}: {e}");
    // A file, not a pipe: nobody has to read it while the command runs.
    let mut stderr = tempfile::tempfile().map_err(failed)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr.try_clone().map_err(failed)?);
    let began = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).map_err(failed)?;
    }
    let ended = child.wait4().map_err(failed)?;
    let wall = began.elapsed();
    if !ended.status.success() {
        let mut said = String::new();
        stderr.seek(SeekFrom::Start(0)).map_err(failed)?;
        stderr.read_to_string(&mut said).map_err(failed)?;
        return Err(format!("{shown}: {}\n{}", ended.status, said.trim_end()).into());
    }
    let usage = Usage {
        user: ended.rusage.utime.as_secs_f64(),
        system: ended.rusage.stime.as_secs_f64(),
        wall: wall.as_secs_f64(),
        peak: ended.rusage.maxrss,
    };
    Ok((usage, stdout))
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_cpu_time_of_children_too() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sh -c '{busy}'; :")]);
        let (usage, said) = run(&mut command).unwrap();
        assert_eq!(said, "done\n");
        assert!(usage.cpu() > 0.01, "{usage:?}");
        assert!(usage.peak > 100 << 10, "{usage:?}");
    }

    #[test]
    fn says_why_a_command_failed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such disk >&2; exit 3"]);
        let error = run(&mut command).unwrap_err().to_string();
        assert!(
            error.contains("no such disk") && error.contains('3'),
            "{error}"
        );
    }
}
