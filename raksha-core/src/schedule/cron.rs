//! Cron expressions: minute, hour, day of month, month, day of week.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Which minutes of the calendar are meant, in five fields as [crontab(5)] has them. Stored and shown as it was written.
///
/// | field | values |
/// | --- | --- |
/// | minute | 0-59 |
/// | hour | 0-23 |
/// | day of month | 1-31 |
/// | month | 1-12, or JAN to DEC |
/// | day of week | 0-7, where 0 and 7 are Sunday, or SUN to SAT |
///
/// A field is `*`, a value, a range `a-b`, a range with a step `a-b/n` or `*/n`, or several of these with commas between. If both the day of
/// the month and the day of the week are given (are not just `*`), a day is meant if either says so, as [POSIX] has it. `@hourly`, `@daily`,
/// `@weekly`, `@monthly` and `@yearly` stand for what they usually do. An expression that means no day at all, such as the 30th of February, is refused.
///
/// [crontab(5)]: https://man7.org/linux/man-pages/man5/crontab.5.html
/// [POSIX]: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/crontab.html
#[derive(Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    /// 0 is Sunday.
    weekdays: Set,
    /// Whether a day may be meant by its place in the month, or in the week, alone.
    either: bool,
}

/// Numbers below 64.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Set(u64);

impl Set {
    fn add(&mut self, value: u8) {
        self.0 |= 1u64.checked_shl(value.into()).unwrap_or(0);
    }

    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.0.checked_shr(value).unwrap_or(0) & 1 == 1)
    }

    /// The least number that is `from` or more.
    fn next(self, from: i8) -> Option<i8> {
        (from..64).find(|value| self.has(*value))
    }
}

/// A field: what it is called, its values, and the names of those from the first on.
struct Field {
    name: &'static str,
    values: RangeInclusive<u8>,
    names: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    values: 0..=59,
    names: &[],
};
const HOUR: Field = Field {
    name: "hour",
    values: 0..=23,
    names: &[],
};
const DAY: Field = Field {
    name: "day of month",
    values: 1..=31,
    names: &[],
};
const MONTH: Field = Field {
    name: "month",
    values: 1..=12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAY: Field = Field {
    name: "day of week",
    values: 0..=7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// The most days that each month can have.
const LENGTHS: [i8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// How many years may lie between two days that an expression means: the 29th of February skips 2100, and so do seven more years.
const YEARS: i16 = 8;

impl Cron {
    /// The first minute that is `from` or later.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let date = from.date();
        if self.on(date)
            && let Some(found) = self.in_day(date, from.hour(), from.minute())
        {
            return Some(found);
        }
        let end = date.year().saturating_add(YEARS);
        let mut date = date;
        loop {
            date = match self.months.has(date.month()) {
                true => date.tomorrow().ok()?,
                false => date.last_of_month().tomorrow().ok()?,
            };
            if date.year() > end {
                return None;
            }
            if self.on(date) {
                return self.in_day(date, 0, 0);
            }
        }
    }

    /// Whether this day is meant.
    fn on(&self, date: Date) -> bool {
        let by_day = self.days.has(date.day());
        let by_weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        self.months.has(date.month())
            && match self.either {
                true => by_day || by_weekday,
                false => by_day && by_weekday,
            }
    }

    /// The first minute of `date` at `hour`:`minute` or later.
    fn in_day(&self, date: Date, hour: i8, minute: i8) -> Option<DateTime> {
        let in_hour = |minute| self.minutes.next(minute).filter(|m| *m < 60);
        if let Some(minute) = in_hour(minute).filter(|_| self.hours.has(hour)) {
            return Some(date.at(hour, minute, 0, 0));
        }
        let hour = self.hours.next(hour + 1).filter(|h| *h < 24)?;
        Some(date.at(hour, in_hour(0)?, 0, 0))
    }

    fn parse(text: &str) -> Result<Self> {
        let fields = match text.trim().to_ascii_lowercase().as_str() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            _ => text,
        };
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            let message = "write five fields with blanks between: minute, hour, day of month, month, day of week";
            return Err(invalid(text, message));
        };
        let cron = Self {
            text: fields.join(" "),
            minutes: MINUTE.parse(text, minute)?,
            hours: HOUR.parse(text, hour)?,
            days: DAY.parse(text, day)?,
            months: MONTH.parse(text, month)?,
            weekdays: WEEKDAY.parse(text, weekday)?,
            either: *day != "*" && *weekday != "*",
        };
        let months = (1i8..)
            .zip(LENGTHS)
            .filter(|(month, _)| cron.months.has(*month));
        let mut lengths = months.map(|(_, length)| length);
        if !cron.either && !lengths.any(|length| cron.days.next(1).is_some_and(|day| day <= length))
        {
            return Err(invalid(
                text,
                "no month that is given has such a day: correct the day of month, or the month",
            ));
        }
        Ok(cron)
    }
}

impl Field {
    fn parse(&self, whole: &str, text: &str) -> Result<Set> {
        let refuse = |message: String| Err(invalid(whole, message).with("field", self.name));
        let (first, last) = (*self.values.start(), *self.values.end());
        let mut set = Set::default();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => match step.parse::<u8>() {
                    Ok(step) if step > 0 => (range, Some(step)),
                    _ => return refuse(format!("the step `{step}` is not a number from 1 on")),
                },
                None => (part, None),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (first, last),
                Some((from, to)) => {
                    let from = self.value(whole, from)?;
                    match self.value(whole, to)? {
                        // A week that ends with its Sunday.
                        0 if last == 7 && from > 0 => (from, 7),
                        to => (from, to),
                    }
                }
                None if step.is_some() => {
                    return refuse(format!(
                        "say where `{part}` ends: write {range}-{last}/{}",
                        step.unwrap_or(1)
                    ));
                }
                None => {
                    let value = self.value(whole, range)?;
                    (value, value)
                }
            };
            if from > to {
                return refuse(format!(
                    "the range `{range}` ends before it begins: write it as two, with a comma between"
                ));
            }
            for value in (from..=to).step_by(step.unwrap_or(1).into()) {
                // Sunday is 0 as well as 7.
                set.add(if last == 7 { value % 7 } else { value });
            }
        }
        Ok(set)
    }

    fn value(&self, whole: &str, text: &str) -> Result<u8> {
        let lower = text.to_ascii_lowercase();
        let named = (*self.values.start()..)
            .zip(self.names)
            .find(|(_, name)| **name == lower);
        let number = || {
            text.parse()
                .ok()
                .filter(|n| self.values.contains(n) && text.bytes().all(|b| b.is_ascii_digit()))
        };
        named
            .map(|(value, _)| value)
            .or_else(number)
            .ok_or_else(|| {
                let (first, last) = (self.values.start(), self.values.end());
                let names = match (self.names.first(), self.names.last()) {
                    (Some(first), Some(last)) => format!(", or {first} to {last}"),
                    _ => String::new(),
                };
                let message = format!("`{text}` is none of the values {first} to {last}{names}");
                invalid(whole, message).with("field", self.name)
            })
    }
}

fn invalid(text: &str, message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, "parse cron expression", message).with("expression", text)
}

impl FromStr for Cron {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({})", self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
