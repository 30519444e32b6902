//! Finding out what a target really does, whatever it declares or is called.
//!
//! [`validate`] works under a prefix of its own, which it empties in the end, and reports: which of the things that every target must
//! do it does, whether its creation of objects is atomic under racing writers, how far its listings lag, how fast it is, how
//! far its clock is from ours, and what follows from that.

mod checks;
mod measure;
mod race;
mod report;
mod room;

use object_store::path::Path;
use raksha_core::Result;
use raksha_core::env::Env;

pub use measure::{Lag, Speed};
pub use race::Race;
pub use report::{Check, LogPlace, Outcome, Validation};

use crate::open::{OpenOptions, OpenedTarget, open};
use room::Room;

/// How thoroughly to look.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidateOptions {
    /// Rounds in which writers race for a name. 60 by default: a target that is not atomic is usually caught in the first five.
    pub rounds: u32,
    /// Writers that race. 8 by default.
    pub racers: u32,
    /// Bytes written and read to measure speed. 128 MiB by default; 0 measures none.
    pub measured_bytes: u64,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self {
            rounds: 60,
            racers: 8,
            measured_bytes: 128 << 20,
        }
    }
}

/// Opens the target at `address` and validates it.
///
/// # Errors
/// That the target cannot be opened, or that what was written cannot be removed again. What a check finds is in the report.
pub async fn validate(
    address: &str,
    options: &OpenOptions,
    how: &ValidateOptions,
) -> Result<Validation> {
    let target = open(address, options).await?;
    validate_target(&target, &options.env, how).await
}

/// Validates an open target: see [`validate`].
pub async fn validate_target(
    target: &OpenedTarget,
    env: &Env,
    how: &ValidateOptions,
) -> Result<Validation> {
    let room = Room::new(target, env)?;
    let mut checks = checks::run_all(&room).await;
    // Where writers overwrite what exists, or many believe that they won, nothing else about the target depends on it.
    let race = race::run(&room, how.rounds, how.racers).await;
    let lag = measure::lag(&room).await;
    let speed = measure::speed(&room, how.measured_bytes).await;
    let clock_ahead_millis = measure::clock(&room, env).await;
    checks.push(room.clean().await?);
    Ok(report::conclude(
        target,
        report::Findings {
            checks,
            race,
            lag,
            speed,
            clock_ahead_millis,
        },
    ))
}

/// Whether of several creators of one object exactly one wins, found out with `rounds` races. To be asked before a repository is
/// created whose commit log is to lie in the target.
pub async fn creates_atomically(target: &OpenedTarget, env: &Env, rounds: u32) -> Result<bool> {
    let room = Room::new(target, env)?;
    let race = race::run(&room, rounds, ValidateOptions::default().racers).await;
    room.clean().await?;
    Ok(race.is_atomic())
}

/// The prefix that a validation works under.
fn prefix(id: u64) -> Path {
    Path::from(format!("raksha-validation-{id:016x}"))
}
