//! What a policy would keep, before it is anybody's.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Decisions, Point, Retention};
use crate::error::{Error, Kind, Result};
use crate::schedule::Schedule;
use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The most runs that are simulated: one a minute for a year, and a little more.
const MOST_RUNS: u64 = 600_000;

/// Points that are gathered before the policy is applied to them.
const BATCH: usize = 512;

/// What a retention policy keeps of the points that a schedule makes, over time. Display is a table.
///
/// Each due time makes a point that is verified, retention is applied after each, and nothing is missed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulation {
    /// When it begins.
    pub from: Timestamp,
    /// How many runs were due in all.
    pub runs: u64,
    /// How things stand, from early to late.
    pub samples: Vec<Sample>,
    /// The points at the end, the newest first, numbered in the order in which they were made, and the reasons for which they are kept.
    pub points: Decisions<u64>,
}

/// How things stand at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Runs so far.
    pub runs: u64,
    /// Points that are kept.
    pub kept: u64,
    /// When the oldest of them was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
}

impl Simulation {
    /// Simulates what `retention` keeps of the points of `schedule`, from `from` on for `length`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the schedule or the policy is not valid, or makes more runs than can be simulated.
    pub fn run(
        retention: &Retention,
        schedule: &Schedule,
        from: Timestamp,
        length: Duration,
    ) -> Result<Self> {
        retention.check()?;
        schedule.check()?;
        let end = from.after(length);
        let mut due = schedule.due_between(from, end).peekable();
        let mut points: Vec<Point<u64>> = Vec::new();
        let mut simulation = Self {
            from,
            runs: 0,
            samples: Vec::new(),
            points: Decisions(Vec::new()),
        };
        for at in instants(from, end) {
            let mut applied = points.len();
            while let Some(taken) = due.next_if(|taken| *taken <= at) {
                simulation.runs += 1;
                if simulation.runs > MOST_RUNS {
                    let message = "so many runs are not simulated: choose a longer interval, or a shorter time";
                    return Err(Error::new(Kind::Invalid, "simulate retention", message)
                        .with("runs", MOST_RUNS));
                }
                points.push(Point {
                    id: simulation.runs,
                    taken,
                    held: false,
                    verified: true,
                });
                // Applying it now and then comes to the same as after each run.
                if points.len() > applied * 2 + BATCH {
                    retain(&mut points, retention, taken);
                    applied = points.len();
                }
            }
            retain(&mut points, retention, at);
            simulation.samples.push(Sample {
                at,
                runs: simulation.runs,
                kept: points.len() as u64,
                oldest: points.iter().map(|point| point.taken).min(),
            });
        }
        simulation.points = retention.decide(&points, end);
        Ok(simulation)
    }
}

/// Forgets what expires.
fn retain(points: &mut Vec<Point<u64>>, retention: &Retention, now: Timestamp) {
    if retention.keeps_everything() {
        return;
    }
    let mut kept: Vec<u64> = retention.decide(points, now).kept().collect();
    kept.sort_unstable();
    points.retain(|point| kept.binary_search(&point.id).is_ok());
}

/// After a day, two, a week, two weeks, each thirty days, and at the end.
fn instants(from: Timestamp, end: Timestamp) -> Vec<Timestamp> {
    let days = [1, 2, 7, 14].into_iter().chain((1u32..).map(|n| n * 30));
    let within = days
        .map(|days| from.after(DAY * days))
        .take_while(|at| *at < end);
    within.chain([end]).collect()
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9}  {:>7}  {:>7}  OLDEST POINT",
            "AFTER", "RUNS", "KEPT"
        )?;
        for Sample {
            at,
            runs,
            kept,
            oldest,
        } in &self.samples
        {
            let after = days(at.since(self.from));
            let oldest = oldest.map_or_else(
                || "-".to_owned(),
                |oldest| format!("{} old", days(at.since(oldest))),
            );
            write!(f, "\n{after:>9}  {runs:>7}  {kept:>7}  {oldest}")?;
        }
        Ok(())
    }
}

/// In days, or in hours if it is less than two.
fn days(age: Duration) -> String {
    match age < DAY * 2 {
        true => format!("{} h", age.as_secs() / 3600),
        false => format!("{} days", age.as_secs() / DAY.as_secs()),
    }
}
