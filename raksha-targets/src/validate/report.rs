//! What a validation found, and what follows from it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::measure::{Lag, Speed};
use super::race::Race;
use crate::layers::MetricsSnapshot;
use crate::open::{OpenedTarget, TargetCapabilities};

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target does what it must.
    Passed,
    /// The target does not claim to do that: why.
    Skipped(String),
    /// The target does something else: what.
    Failed(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// What else there is to say.
    pub note: String,
}

/// Where the commit log of a repository in this target can lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogPlace {
    /// In the target: of several creators of an object exactly one won, every time.
    Target,
    /// In a SQL catalog: creation is not atomic here.
    SqlCatalog,
    /// Nowhere: the target does not do what every target must.
    Unusable,
}

/// What a validation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// The target.
    pub target: String,
    /// What it declares.
    pub declared: TargetCapabilities,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
    /// What came of the races.
    pub race: Race,
    /// How far listings lag.
    pub lag: Lag,
    /// How fast the target is, if that was measured.
    pub speed: Option<Speed>,
    /// By how much the target's clock is ahead of ours, at least; nothing if that could not be seen. No safety depends on it.
    pub clock_ahead_millis: Option<i64>,
    /// The requests that all this took.
    pub requests: MetricsSnapshot,
    /// What follows.
    pub log: LogPlace,
}

impl Validation {
    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.checks.iter().filter_map(|check| match &check.outcome {
            Outcome::Failed(why) => Some((check.name.as_str(), why.as_str())),
            _ => None,
        })
    }
}

pub(super) struct Findings {
    pub(super) checks: Vec<Check>,
    pub(super) race: Race,
    pub(super) lag: Lag,
    pub(super) speed: Option<Speed>,
    pub(super) clock_ahead_millis: Option<i64>,
}

pub(super) fn conclude(target: &OpenedTarget, findings: Findings) -> Validation {
    let Findings {
        checks,
        race,
        lag,
        speed,
        clock_ahead_millis,
    } = findings;
    let mut validation = Validation {
        target: target.description.clone(),
        declared: target.capabilities.clone(),
        checks,
        race,
        lag,
        speed,
        clock_ahead_millis,
        requests: target.metrics.snapshot(),
        log: LogPlace::Unusable,
    };
    let creates = validation.race.is_atomic() && validation.declared.atomic_create;
    // If creating is all that fails, the target is fit for everything but the log.
    let fit = validation
        .failures()
        .all(|(name, _)| name.starts_with("creating"));
    let sound = validation.failures().next().is_none();
    validation.log = match (fit, creates && sound) {
        (false, _) => LogPlace::Unusable,
        (true, true) => LogPlace::Target,
        (true, false) => LogPlace::SqlCatalog,
    };
    validation
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.target)?;
        for check in &self.checks {
            let (mark, why) = match &check.outcome {
                Outcome::Passed => ("ok", check.note.as_str()),
                Outcome::Skipped(why) => ("-", why.as_str()),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
            };
            let took = check.took.as_secs_f64();
            writeln!(f, "  {mark:6}  {:50} {took:7.2} s  {why}", check.name)?;
        }
        let race = &self.race;
        let mark = if race.is_atomic() { "ok" } else { "no" };
        write!(
            f,
            "  {mark:6}  exactly one of {} creators wins, in {} rounds",
            race.racers, race.rounds
        )?;
        if !race.is_atomic() {
            write!(
                f,
                ": several in {}, none in {}, another's bytes in {}, errors in {}",
                race.several_winners, race.no_winner, race.other_content, race.errors
            )?;
        }
        if let Some(error) = &race.first_error {
            write!(f, " ({error})")?;
        }
        writeln!(f)?;
        let lag = |lag: Option<Duration>| match lag {
            Some(Duration::ZERO) => "at once".into(),
            Some(lag) => format!("after {:.1} s", lag.as_secs_f64()),
            None => "not in half a minute".into(),
        };
        writeln!(
            f,
            "          listings show what was stored {}, and cease to show what was deleted {}",
            lag(self.lag.appears),
            lag(self.lag.vanishes)
        )?;
        if let Some(speed) = &self.speed {
            let mib = f64::from(1 << 20);
            writeln!(
                f,
                "          {:.0} MiB/s written, {:.0} MiB/s read in {} streams; 100 bytes stored in {:.1} ms, read in {:.1} ms",
                speed.write / mib,
                speed.read / mib,
                speed.streams,
                speed.small_put.as_secs_f64() * 1e3,
                speed.small_get.as_secs_f64() * 1e3,
            )?;
        }
        match self.clock_ahead_millis {
            Some(0) => writeln!(f, "          its clock agrees with ours")?,
            Some(ahead) => writeln!(f, "          its clock is {ahead} ms ahead of ours")?,
            None => {}
        }
        let verdict = match self.log {
            LogPlace::Target => "the commit log can lie in the target",
            LogPlace::SqlCatalog => "the commit log must lie in a SQL catalog",
            LogPlace::Unusable => "this target cannot be used",
        };
        writeln!(f, "  => {verdict}")
    }
}
