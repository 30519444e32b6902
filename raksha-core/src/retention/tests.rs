use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::schedule::{Schedule, Trigger};
use crate::testkit::Seeded;
use crate::time::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-06-01T12:00:00Z";

fn seed() -> u64 {
    let seed = std::env::var("RAKSHA_SEED").map_or(11, |seed| seed.parse().unwrap());
    println!("RAKSHA_SEED={seed}");
    seed
}

/// Points over up to three years, unordered, some at the same time, some held, some from the future.
fn points(seeded: &mut Seeded) -> Vec<Point<u64>> {
    let span =
        [3_600, 86_400, 86_400 * 30, 86_400 * 1_100][usize::try_from(seeded.below(4)).unwrap()];
    let mut points: Vec<Point<u64>> = (0..seeded.below(120))
        .map(|_| {
            let back = Duration::from_secs(seeded.below(span) / 60 * 60);
            let ahead = Duration::from_secs(if seeded.below(10) == 0 {
                seeded.below(span) + 1
            } else {
                0
            });
            Point {
                id: seeded.number(),
                taken: if ahead.is_zero() {
                    at(NOW).before(back)
                } else {
                    at(NOW).after(ahead)
                },
                held: seeded.below(12) == 0,
                verified: seeded.below(3) == 0,
            }
        })
        .collect();
    points.dedup_by_key(|point| point.id);
    points
}

fn policy(seeded: &mut Seeded) -> Retention {
    let mut count = || {
        if seeded.below(2) == 0 {
            0
        } else {
            u32::try_from(seeded.below(9)).unwrap()
        }
    };
    let (last, hourly, daily, weekly, monthly, yearly) =
        (count(), count(), count(), count(), count(), count());
    let within = (seeded.below(3) == 0).then(|| Duration::from_secs(seeded.below(86_400 * 40) + 1));
    let zones = [
        "UTC",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "America/New_York",
    ];
    let zone = zones[usize::try_from(seeded.below(4)).unwrap()]
        .parse()
        .unwrap();
    Retention {
        last,
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        within,
        zone,
    }
}

fn kept(retention: &Retention, points: &[Point<u64>]) -> BTreeSet<u64> {
    retention.decide(points, at(NOW)).kept().collect()
}

/// What a policy keeps, said in another way: for each period the newest point, the newest periods first.
fn oracle(retention: &Retention, points: &[Point<u64>]) -> BTreeSet<u64> {
    let now = at(NOW);
    let past: Vec<&Point<u64>> = points.iter().filter(|p| p.taken <= now).collect();
    let newest = past.iter().max_by_key(|p| (p.taken, p.id));
    let mut kept: BTreeSet<u64> = points
        .iter()
        .filter(|p| p.held || p.taken > now)
        .map(|p| p.id)
        .collect();
    kept.extend(newest.map(|p| p.id));
    kept.extend(
        past.iter()
            .filter(|p| p.verified)
            .max_by_key(|p| (p.taken, p.id))
            .map(|p| p.id),
    );
    if retention.keeps_everything() {
        return points.iter().map(|p| p.id).collect();
    }
    let zone = jiff::tz::TimeZoneDatabase::bundled()
        .get(retention.zone.name())
        .unwrap();
    let shown = |p: &Point<u64>| {
        let instant =
            jiff::Timestamp::from_millisecond(i64::try_from(p.taken.as_millis()).unwrap()).unwrap();
        instant.to_zoned(zone.clone())
    };
    let mut rule = |count: u32, period: &dyn Fn(&Point<u64>) -> String| {
        let mut periods = std::collections::BTreeMap::<String, (Timestamp, u64)>::new();
        for point in &past {
            let newest = periods
                .entry(period(point))
                .or_insert((point.taken, point.id));
            *newest = (*newest).max((point.taken, point.id));
        }
        let mut newest: Vec<_> = periods.into_values().collect();
        newest.sort_unstable();
        kept.extend(
            newest
                .iter()
                .rev()
                .take(usize::try_from(count).unwrap())
                .map(|(_, id)| *id),
        );
    };
    rule(retention.last, &|p| p.id.to_string());
    rule(retention.hourly, &|p| {
        shown(p).strftime("%Y-%m-%d %H %z").to_string()
    });
    rule(retention.daily, &|p| {
        shown(p).strftime("%Y-%m-%d").to_string()
    });
    rule(retention.weekly, &|p| {
        shown(p).strftime("%G-%V").to_string()
    });
    rule(retention.monthly, &|p| {
        shown(p).strftime("%Y-%m").to_string()
    });
    rule(retention.yearly, &|p| shown(p).strftime("%Y").to_string());
    if let (Some(within), Some(newest)) = (retention.within, newest) {
        kept.extend(
            past.iter()
                .filter(|p| newest.taken.since(p.taken) <= within)
                .map(|p| p.id),
        );
    }
    kept
}

#[test]
fn it_keeps_what_the_rules_say_whatever_the_order() {
    let mut seeded = Seeded::new(seed());
    for _ in 0..800 {
        let (retention, mut points) = (policy(&mut seeded), points(&mut seeded));
        let expected = oracle(&retention, &points);
        assert_eq!(
            kept(&retention, &points),
            expected,
            "{retention}: {points:?}"
        );
        points.reverse();
        assert_eq!(kept(&retention, &points), expected, "in another order");
    }
}

#[test]
fn again_it_keeps_the_same_and_a_wider_policy_keeps_more() {
    let mut seeded = Seeded::new(seed());
    for _ in 0..800 {
        let (retention, mut points) = (policy(&mut seeded), points(&mut seeded));
        let all = points.clone();
        let first = kept(&retention, &points);
        points.retain(|point| first.contains(&point.id));
        assert_eq!(kept(&retention, &points), first, "{retention}");

        let mut wider = retention.clone();
        let more = u32::try_from(seeded.below(5)).unwrap();
        for count in [
            &mut wider.last,
            &mut wider.hourly,
            &mut wider.daily,
            &mut wider.weekly,
            &mut wider.monthly,
            &mut wider.yearly,
        ] {
            *count += more;
        }
        wider.within = wider
            .within
            .map(|within| within + Duration::from_secs(seeded.below(1_000_000)));
        let widened = kept(&wider, &all);
        assert!(
            retention.keeps_everything() || first.is_subset(&widened),
            "{retention}, {wider}"
        );

        let now = at(NOW);
        let newest = all
            .iter()
            .filter(|p| p.taken <= now)
            .max_by_key(|p| (p.taken, p.id));
        assert!(
            newest.is_none_or(|newest| first.contains(&newest.id)),
            "the newest is gone"
        );
        assert!(
            all.iter().filter(|p| p.held).all(|p| first.contains(&p.id)),
            "one that is held is gone"
        );
    }
}

#[test]
fn after_each_run_or_now_and_then_it_comes_to_the_same() {
    let mut seeded = Seeded::new(seed());
    for _ in 0..60 {
        let retention = policy(&mut seeded);
        let mut all = points(&mut seeded);
        all.iter_mut().for_each(|point| point.verified = true);
        all.retain(|point| point.taken <= at(NOW));
        all.sort_by_key(|point| (point.taken, point.id));
        let mut left: Vec<Point<u64>> = Vec::new();
        for point in &all {
            left.push(*point);
            let kept: BTreeSet<u64> = retention.decide(&left, point.taken).kept().collect();
            left.retain(|point| kept.contains(&point.id));
        }
        let left: BTreeSet<u64> = left.iter().map(|point| point.id).collect();
        assert_eq!(left, kept(&retention, &all), "{retention}");
    }
}

#[test]
fn each_reason_is_named() {
    let point = |id, taken, held, verified| Point {
        id,
        taken: at(taken),
        held,
        verified,
    };
    let points = [
        point(1, "2024-12-31T20:00:00Z", false, false),
        point(2, "2026-05-30T20:00:00Z", false, true),
        point(3, "2026-05-31T21:30:00Z", false, false),
        // In Berlin a day, a week and a month later.
        point(4, "2026-05-31T22:30:00Z", false, false),
        point(5, "2026-01-01T00:00:00Z", true, false),
        point(6, "2026-02-01T00:00:00Z", false, false),
        point(7, "2027-01-01T00:00:00Z", false, false),
    ];
    let retention = Retention {
        daily: 2,
        yearly: 2,
        within: Some(Duration::from_secs(3600)),
        zone: "Europe/Berlin".parse().unwrap(),
        ..Retention::default()
    };
    let decisions = retention.decide(&points, at(NOW));
    let expected = "\
POINT         TAKEN                     KEPT FOR
7             2027-01-01T00:00:00.000Z  from the future
4             2026-05-31T22:30:00.000Z  newest, daily, yearly, within
3             2026-05-31T21:30:00.000Z  daily, within
2             2026-05-30T20:00:00.000Z  newest verified
6             2026-02-01T00:00:00.000Z  - (expires)
5             2026-01-01T00:00:00.000Z  held
1             2024-12-31T20:00:00.000Z  yearly";
    assert_eq!(decisions.to_string(), expected);
    assert_eq!(decisions.expired().collect::<Vec<_>>(), [6]);
    assert!(retention.decide(&[] as &[Point<u64>], at(NOW)).0.is_empty());
}

#[test]
fn a_policy_is_stored_as_what_it_says_and_checked() {
    let retention: Retention = serde_json::from_str(r#"{"daily":7,"within":"2h"}"#).unwrap();
    assert_eq!(retention.to_string(), "7 daily, all within 2h (UTC)");
    assert_eq!(
        serde_json::to_string(&retention).unwrap(),
        r#"{"daily":7,"within":"2h","zone":"UTC"}"#
    );
    assert_eq!(
        serde_json::from_str::<Retention>("{}").unwrap().to_string(),
        "everything"
    );
    let many = Retention {
        weekly: 100_001,
        ..Retention::default()
    };
    let told = many.check().unwrap_err().to_string();
    assert!(
        told.contains("weekly") && told.contains("at most 100000"),
        "{told}"
    );
}

#[test]
fn a_year_is_simulated() {
    let schedule = Schedule::cron("0 */6 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
    let retention = Retention {
        daily: 7,
        weekly: 4,
        monthly: 12,
        zone: schedule.zone.clone(),
        ..Retention::default()
    };
    let year = Duration::from_secs(365 * 86_400);
    let simulation =
        Simulation::run(&retention, &schedule, at("2026-01-01T00:00:00Z"), year).unwrap();
    let last = simulation.samples.last().unwrap();
    assert_eq!((simulation.runs, last.runs), (1460, 1460));
    // What is kept step by step is what is kept of all at once.
    let mut all = Vec::new();
    for (n, taken) in
        (1u64..).zip(schedule.due_between(simulation.from, simulation.from.after(year)))
    {
        all.push(Point {
            id: n,
            taken,
            held: false,
            verified: true,
        });
    }
    let at_once = retention.decide(&all, last.at);
    assert_eq!(
        simulation.points.kept().collect::<Vec<_>>(),
        at_once.kept().collect::<Vec<_>>()
    );
    assert_eq!(last.kept, at_once.kept().count() as u64);
    let day = simulation.samples.first().unwrap();
    assert_eq!(
        (day.runs, day.kept),
        (4, 2),
        "two calendar days are touched"
    );
    let table = simulation.to_string();
    assert!(
        table.lines().count() == simulation.samples.len() + 1
            && table.contains("365 days     1460"),
        "{table}"
    );

    let often = Schedule::new(Trigger::Cron("*/10 * * * *".parse().unwrap()));
    let all = Simulation::run(
        &Retention::everything(),
        &often,
        at("2026-01-01T00:00:00Z"),
        year,
    )
    .unwrap();
    assert_eq!(all.samples.last().unwrap().kept, 365 * 144);
}
