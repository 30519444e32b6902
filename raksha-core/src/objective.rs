//! Recovery point objectives: how old the newest verified point may become.
//!
//! What counts is not that runs said that they succeeded, but that there is a point which was verified and is young enough. Everything
//! here is a pure function of times that the caller gives, so that what happened while nobody looked is found out afterwards, with the times at
//! which it happened.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// The shortest objective.
const SHORTEST: Duration = Duration::from_secs(60);

/// A recovery point objective (RPO): at any time there is a verified point that is not older than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// How old the newest verified point may become.
    #[serde(with = "crate::time::words")]
    pub rpo: Duration,
    /// From this age on, the objective is at risk; three quarters of it unless given.
    #[serde(
        default,
        with = "crate::time::maybe_words",
        skip_serializing_if = "Option::is_none"
    )]
    pub warn_after: Option<Duration>,
}

/// How a job stands to its objective.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveState {
    /// The newest verified point is young enough.
    #[default]
    Met,
    /// It will soon be too old.
    AtRisk,
    /// It is too old.
    Late,
}

/// The state of an objective changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When: it may have been found out later.
    pub at: Timestamp,
    /// What it is since then.
    pub to: ObjectiveState,
}

impl Objective {
    /// At risk from three quarters of `rpo` on.
    pub fn new(rpo: Duration) -> Self {
        Self {
            rpo,
            warn_after: None,
        }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |field: &'static str, message: &str| {
            Err(Error::new(Kind::Invalid, "check objective", message).with("field", field))
        };
        if self.rpo < SHORTEST {
            return refuse("rpo", "give at least 1 minute");
        }
        if self.warn_after.is_some_and(|warn| warn > self.rpo) {
            return refuse(
                "warn_after",
                "a warning that comes after the objective is late is none: give less than the objective",
            );
        }
        Ok(())
    }

    /// The age from which on it is at risk.
    fn warning(&self) -> Duration {
        self.warn_after.unwrap_or(self.rpo * 3 / 4)
    }

    /// When it will be at risk if no newer point than `newest` is verified.
    pub fn at_risk_at(&self, newest: Timestamp) -> Timestamp {
        newest.after(self.warning())
    }

    /// When it will be late if no newer point than `newest` is verified.
    pub fn late_at(&self, newest: Timestamp) -> Timestamp {
        // The age that is still allowed is allowed.
        newest.after(self.rpo).after(Duration::from_millis(1))
    }

    /// How things stand at `now`, if `newest` is when the newest verified point was taken; before there is one, when the job was made.
    pub fn state(&self, newest: Timestamp, now: Timestamp) -> ObjectiveState {
        match now {
            _ if now >= self.late_at(newest) => ObjectiveState::Late,
            _ if now >= self.at_risk_at(newest) => ObjectiveState::AtRisk,
            _ => ObjectiveState::Met,
        }
    }

    /// When the state will change by itself after `now`; none once it is late.
    pub fn next_change(&self, newest: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let changes = [self.at_risk_at(newest), self.late_at(newest)];
        changes.into_iter().find(|at| *at > now)
    }

    /// What happened since the state was last found to be `known`, in order, each with the time at which it happened: nothing; or it got worse, step by
    /// step; or, as is known only now, better.
    pub fn transitions(
        &self,
        known: ObjectiveState,
        newest: Timestamp,
        now: Timestamp,
    ) -> Vec<Transition> {
        let state = self.state(newest, now);
        if state < known {
            return vec![Transition { at: now, to: state }];
        }
        let steps = [
            (ObjectiveState::AtRisk, self.at_risk_at(newest)),
            (ObjectiveState::Late, self.late_at(newest)),
        ];
        let taken = steps
            .into_iter()
            .filter(|(to, _)| known < *to && *to <= state);
        taken.map(|(to, at)| Transition { at, to }).collect()
    }
}

impl fmt::Display for ObjectiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::AtRisk => "at risk",
            Self::Late => "late",
        })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a verified point not older than {}",
            humantime::format_duration(self.rpo)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ObjectiveState::{AtRisk, Late, Met};

    const HOUR: Duration = Duration::from_secs(3600);

    fn hours(n: u32) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).after(HOUR * n)
    }

    fn told(all: &[Transition]) -> Vec<(Timestamp, ObjectiveState)> {
        all.iter().map(|t| (t.at, t.to)).collect()
    }

    #[test]
    fn the_age_of_the_newest_point_decides() {
        let objective = Objective::new(HOUR * 8);
        let newest = hours(0);
        let states = [0, 5, 6, 8].map(|n| objective.state(newest, hours(n)));
        assert_eq!(
            states,
            [Met, Met, AtRisk, AtRisk],
            "just 8 hours old is not too old"
        );
        let late = hours(8).after(Duration::from_millis(1));
        assert_eq!(objective.state(newest, late), Late);
        assert_eq!(objective.next_change(newest, hours(1)), Some(hours(6)));
        assert_eq!(objective.next_change(newest, hours(6)), Some(late));
        assert_eq!(objective.next_change(newest, late), None);
        assert_eq!(
            objective.state(hours(9), hours(0)),
            Met,
            "a point from the future is young"
        );
    }

    #[test]
    fn what_happened_while_nobody_looked_is_told_with_its_time() {
        let objective = Objective::new(HOUR * 8);
        let (newest, late) = (hours(0), hours(8).after(Duration::from_millis(1)));
        let since = |known, now| told(&objective.transitions(known, newest, now));
        assert_eq!(since(Met, hours(5)), []);
        assert_eq!(since(Met, hours(7)), [(hours(6), AtRisk)]);
        assert_eq!(since(AtRisk, hours(7)), [], "it is told once");
        // The scheduler was down for days.
        assert_eq!(since(Met, hours(100)), [(hours(6), AtRisk), (late, Late)]);
        assert_eq!(since(AtRisk, hours(100)), [(late, Late)]);
        assert_eq!(since(Late, hours(200)), []);

        // A point of hour 20 was verified just now.
        let again = |known, now| told(&objective.transitions(known, hours(20), now));
        assert_eq!(again(Late, hours(21)), [(hours(21), Met)]);
        assert_eq!(
            again(Late, hours(27)),
            [(hours(27), AtRisk)],
            "it is old already"
        );
        assert_eq!(again(Late, hours(40)), [], "and too old");
    }

    #[test]
    fn an_objective_is_stored_as_what_it_says_and_checked() {
        let objective: Objective = serde_json::from_str(r#"{"rpo":"1day"}"#).unwrap();
        assert_eq!(objective, Objective::new(HOUR * 24));
        assert_eq!(
            serde_json::to_string(&objective).unwrap(),
            r#"{"rpo":"1day"}"#
        );
        let after = Objective {
            warn_after: Some(HOUR * 25),
            ..objective
        };
        assert!(
            after
                .check()
                .unwrap_err()
                .to_string()
                .contains("warn_after")
        );
        assert!(
            Objective::new(Duration::ZERO)
                .check()
                .unwrap_err()
                .to_string()
                .contains("rpo")
        );
    }
}
