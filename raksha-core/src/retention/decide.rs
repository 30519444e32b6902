//! Deciding which points stay.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Retention;
use crate::schedule::Zone;
use crate::time::Timestamp;

/// A point, as far as retention is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point<I> {
    /// Its id.
    pub id: I,
    /// The instant that it shows.
    pub taken: Timestamp,
    /// Whether somebody forbade that it is forgotten.
    pub held: bool,
    /// Whether it is known to be whole.
    pub verified: bool,
}

/// What becomes of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision<I> {
    /// The point.
    pub id: I,
    /// The instant that it shows.
    pub taken: Timestamp,
    /// Why it stays; without any reason it expires.
    pub reasons: Vec<Reason>,
}

/// Why a point stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It is the newest one.
    Newest,
    /// Of those that are known to be whole, it is the newest.
    NewestVerified,
    /// It is held.
    Held,
    /// It is from the future: somebody's clock was wrong, and it is not known how old it is.
    Future,
    /// There is no rule.
    NoRule,
    /// It is one of the newest.
    Last,
    /// It is the newest of its hour.
    Hourly,
    /// It is the newest of its day.
    Daily,
    /// It is the newest of its week.
    Weekly,
    /// It is the newest of its month.
    Monthly,
    /// It is the newest of its year.
    Yearly,
    /// It is not much older than the newest one.
    Within,
}

/// What becomes of each point, the newest first. Display is a table with the reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Decisions<I>(pub Vec<Decision<I>>);

impl<I: Copy> Decisions<I> {
    /// Those that stay.
    pub fn kept(&self) -> impl Iterator<Item = I> {
        self.0
            .iter()
            .filter(|d| !d.reasons.is_empty())
            .map(|d| d.id)
    }

    /// Those that expire.
    pub fn expired(&self) -> impl Iterator<Item = I> {
        self.0.iter().filter(|d| d.reasons.is_empty()).map(|d| d.id)
    }
}

impl Retention {
    /// Decides, at the time `now`, which of `points` stay. Their order does not matter.
    ///
    /// Applied again to those that stay, it keeps them all; a policy that counts more keeps all that one which counts less keeps, as long as that has
    /// any rule.
    pub fn decide<I: Copy + Ord>(&self, points: &[Point<I>], now: Timestamp) -> Decisions<I> {
        let mut points: Vec<Point<I>> = points.to_vec();
        points.sort_by_key(|point| std::cmp::Reverse((point.taken, point.id)));
        let mut rules: Vec<Rule> = self
            .counts()
            .map(|(reason, left)| Rule {
                reason,
                left,
                latest: None,
            })
            .collect();
        let newest = points
            .iter()
            .find(|point| point.taken <= now)
            .map(|point| point.taken);
        let (mut first, mut first_verified) = (true, true);
        let decisions = points.iter().map(|point| {
            let mut reasons = Vec::new();
            let mut note = |reason, applies: bool| {
                if applies {
                    reasons.push(reason);
                }
                applies
            };
            if point.taken > now {
                note(Reason::Held, point.held);
                note(Reason::Future, true);
            } else {
                first &= !note(Reason::Newest, first);
                first_verified &= !note(Reason::NewestVerified, first_verified && point.verified);
                note(Reason::Held, point.held);
                note(Reason::NoRule, self.keeps_everything());
                for rule in &mut rules {
                    note(rule.reason, rule.keeps(&self.zone, point.taken));
                }
                let age = newest.map(|newest| newest.since(point.taken));
                note(
                    Reason::Within,
                    self.within
                        .zip(age)
                        .is_some_and(|(within, age)| age <= within),
                );
            }
            Decision {
                id: point.id,
                taken: point.taken,
                reasons,
            }
        });
        Decisions(decisions.collect())
    }
}

/// A rule that keeps the newest point of each period, met with points from the newest to the oldest.
struct Rule {
    reason: Reason,
    /// For how many periods.
    left: u32,
    /// The period of the latest point that it kept.
    latest: Option<Period>,
}

impl Rule {
    fn keeps(&mut self, zone: &Zone, taken: Timestamp) -> bool {
        if self.left == 0 {
            return false;
        }
        let period = Period::of(self.reason, zone, taken);
        if period.is_some() && period == self.latest {
            return false;
        }
        self.latest = period;
        self.left -= 1;
        true
    }
}

/// A period of the calendar. Those of one length differ from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    year: i16,
    /// The month, the week, or the day of the year.
    part: i16,
    hour: i8,
    /// Seconds ahead of UTC: an hour that comes twice is two.
    offset: i32,
}

impl Period {
    /// The period by which `reason` counts; none if it counts points.
    fn of(reason: Reason, zone: &Zone, taken: Timestamp) -> Option<Self> {
        let local = zone.local(taken)?;
        let date = local.date();
        let whole = |year, part| {
            Some(Self {
                year,
                part,
                hour: 0,
                offset: 0,
            })
        };
        match reason {
            Reason::Hourly => Some(Self {
                year: date.year(),
                part: date.day_of_year(),
                hour: local.hour(),
                offset: zone.offset(taken)?,
            }),
            Reason::Daily => whole(date.year(), date.day_of_year()),
            Reason::Weekly => {
                let week = date.iso_week_date();
                whole(week.year(), week.week().into())
            }
            Reason::Monthly => whole(date.year(), date.month().into()),
            Reason::Yearly => whole(date.year(), 0),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newest => "newest",
            Self::NewestVerified => "newest verified",
            Self::Held => "held",
            Self::Future => "from the future",
            Self::NoRule => "no rule",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
        })
    }
}

impl<I: fmt::Display> fmt::Display for Decisions<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}  {:<24}  KEPT FOR", "POINT", "TAKEN")?;
        for decision in &self.0 {
            let id = decision.id.to_string();
            let short: String = id.chars().take(12).collect();
            let reasons: Vec<String> = decision.reasons.iter().map(Reason::to_string).collect();
            let reasons = match reasons.is_empty() {
                true => "- (expires)".to_owned(),
                false => reasons.join(", "),
            };
            write!(f, "\n{short:<12}  {}  {reasons}", decision.taken)?;
        }
        Ok(())
    }
}
