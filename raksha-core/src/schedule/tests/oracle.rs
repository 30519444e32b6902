//! Due times against an oracle that walks through the years minute by minute, and knows nothing of the parser nor of how gaps and overlaps
//! are found.

use jiff::civil::DateTime;

use super::*;
use crate::testkit::Seeded;

/// One minute as it goes by: the times that clocks show then for the first time, skipped ones included.
struct Minute {
    at: Timestamp,
    new: Vec<DateTime>,
}

fn walk(zone: &Zone, from: Timestamp, days: u64) -> Vec<Minute> {
    let mut latest = zone
        .local(from)
        .unwrap()
        .checked_sub(jiff::Span::new().minutes(1))
        .unwrap();
    let minutes = (0..days * 24 * 60).map(|n| from.as_millis() + n * MINUTE);
    let minutes = minutes.map(Timestamp::from_millis).map(|at| {
        let shown = zone.local(at).unwrap();
        let mut new = Vec::new();
        while latest < shown {
            latest = latest.checked_add(jiff::Span::new().minutes(1)).unwrap();
            new.push(latest);
        }
        Minute { at, new }
    });
    minutes.collect()
}

/// A field: how it is written, and what it means.
struct Field {
    text: String,
    values: Vec<i8>,
}

/// With values from `first` to `near` in it, and steps that go on to `last`.
fn field(seeded: &mut Seeded, first: i8, near: i8, last: i8, names: &[&str]) -> Field {
    let mut within = |from: i8, to: i8| {
        from + i8::try_from(seeded.below(u64::try_from(to - from + 1).unwrap())).unwrap()
    };
    let written =
        |value: i8, by_name: bool| match names.get(usize::try_from(value - first).unwrap()) {
            Some(name) if by_name => (*name).to_owned(),
            _ => value.to_string(),
        };
    let mut texts = Vec::new();
    let mut values = Vec::new();
    for _ in 0..within(1, 3) {
        let by_name = within(0, 1) == 1;
        match within(0, 5) {
            0 => {
                let step = within(1, 20);
                texts.push(format!("*/{step}"));
                values.extend((first..=last).step_by(usize::try_from(step).unwrap()));
            }
            1 | 2 => {
                let from = within(first, near);
                let to = within(from, near);
                let step = within(1, 4);
                let range = format!("{}-{}", written(from, by_name), written(to, by_name));
                texts.push(if step == 1 {
                    range
                } else {
                    format!("{range}/{step}")
                });
                values.extend((from..=to).step_by(usize::try_from(step).unwrap()));
            }
            _ => {
                let value = within(first, near);
                texts.push(written(value, by_name));
                values.push(value);
            }
        }
    }
    Field {
        text: texts.join(","),
        values,
    }
}

fn any(first: i8, last: i8) -> Field {
    Field {
        text: "*".to_owned(),
        values: (first..=last).collect(),
    }
}

/// An expression and whether it means a minute, decided without parsing it.
fn expression(seeded: &mut Seeded) -> (String, impl Fn(DateTime) -> bool + use<>) {
    const MONTHS: [&str; 12] = [
        "jan", "Feb", "mar", "apr", "MAY", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    const DAYS: [&str; 7] = ["SUN", "mon", "tue", "wed", "Thu", "fri", "sat"];
    let minute = match seeded.below(4) {
        0 => any(0, 59),
        _ => field(seeded, 0, 59, 59, &[]),
    };
    let hour = match seeded.below(2) {
        0 => any(0, 23),
        // Where clocks change, mostly.
        _ => field(seeded, 0, 3, 23, &[]),
    };
    let day = match seeded.below(2) {
        0 => any(1, 31),
        _ => field(seeded, 1, 31, 31, &[]),
    };
    let month = match seeded.below(4) {
        0 => field(seeded, 1, 12, 12, &MONTHS),
        _ => any(1, 12),
    };
    let weekday = match seeded.below(2) {
        0 => any(0, 6),
        _ => field(seeded, 0, 6, 6, &DAYS),
    };
    let text = [&minute, &hour, &day, &month, &weekday]
        .map(|f| f.text.as_str())
        .join(" ");
    let either = day.text != "*" && weekday.text != "*";
    let means = move |time: DateTime| {
        let by_day = day.values.contains(&time.day());
        let by_weekday = weekday
            .values
            .contains(&time.weekday().to_sunday_zero_offset());
        let on = if either {
            by_day || by_weekday
        } else {
            by_day && by_weekday
        };
        on && month.values.contains(&time.month())
            && hour.values.contains(&time.hour())
            && minute.values.contains(&time.minute())
    };
    (text, means)
}

#[test]
fn due_times_are_those_of_a_clock_on_the_wall() {
    let seed = std::env::var("RAKSHA_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("RAKSHA_SEED={seed}");
    let mut seeded = Seeded::new(seed);
    for name in ZONES {
        let zone = zone(name);
        let year = 2011 + seeded.below(19);
        let from = at(&format!(
            "{}-12-20T00:00:00Z",
            if name == "Pacific/Apia" { 2011 } else { year }
        ));
        let days = 400;
        let minutes = walk(&zone, from, days);
        for _ in 0..4 {
            let (text, means) = expression(&mut seeded);
            let Ok(schedule) = Schedule::cron(&text, zone.clone()) else {
                // A day that no month has; the oracle agrees.
                assert!(
                    !minutes.iter().flat_map(|m| &m.new).any(|time| means(*time)),
                    "{text} was refused"
                );
                continue;
            };
            let expected: Vec<Timestamp> = (minutes.iter())
                .filter(|minute| minute.new.iter().any(|time| means(*time)))
                .map(|minute| minute.at)
                .collect();
            let until = minutes.last().unwrap().at;
            let before = from.before(std::time::Duration::from_millis(1));
            let due: Vec<Timestamp> = schedule.due_between(before, until).collect();
            let first = due
                .iter()
                .zip(&expected)
                .position(|(a, b)| a != b)
                .unwrap_or(due.len().min(expected.len()));
            assert_eq!(
                due.get(first),
                expected.get(first),
                "{text} in {name} from {from}"
            );
            // From anywhere, the next one is the next one.
            for _ in 0..200 {
                let after = from.after(std::time::Duration::from_millis(
                    seeded.below(days * 24 * 60 * MINUTE),
                ));
                let next = expected.iter().find(|due| **due > after);
                if let Some(next) = next {
                    assert_eq!(
                        schedule.next_due(after),
                        Some(*next),
                        "{text} in {name} after {after}"
                    );
                }
            }
        }
    }
}
