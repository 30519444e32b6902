//! What schedules mean and refuse, by examples.

use std::time::Duration;

use super::*;
use crate::error::Kind;
use crate::id::JobId;

fn due(expression: &str, name: &str, after: &str, until: &str) -> Vec<String> {
    let schedule = Schedule::cron(expression, zone(name)).unwrap();
    let due = schedule.due_between(at(after), at(until));
    due.map(|due| due.to_string().replace(":00.000Z", "Z"))
        .collect()
}

#[test]
fn a_time_that_clocks_skip_is_due_once_when_they_do() {
    // 02:00 becomes 03:00.
    let night = due(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        "2026-03-31T00:00:00Z",
    );
    assert_eq!(
        night,
        [
            "2026-03-28T01:30Z",
            "2026-03-29T01:00Z",
            "2026-03-30T00:30Z"
        ]
    );
    let often = due(
        "*/20 2-3 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        "2026-03-29T12:00:00Z",
    );
    assert_eq!(
        often,
        [
            "2026-03-29T01:00Z",
            "2026-03-29T01:20Z",
            "2026-03-29T01:40Z"
        ]
    );
    // 02:00 becomes 02:30.
    let half = due(
        "10 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00:00Z",
        "2026-10-04T20:00:00Z",
    );
    assert_eq!(half, ["2026-10-03T15:30Z", "2026-10-04T15:10Z"]);
}

#[test]
fn a_time_that_comes_twice_is_due_the_first_time_only() {
    let night = due(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        "2026-10-26T12:00:00Z",
    );
    assert_eq!(night, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
    let often = due(
        "0,30 * * * *",
        "America/New_York",
        "2026-11-01T04:45:00Z",
        "2026-11-01T07:15:00Z",
    );
    assert_eq!(
        often,
        [
            "2026-11-01T05:00Z",
            "2026-11-01T05:30Z",
            "2026-11-01T07:00Z"
        ]
    );
}

#[test]
fn a_day_that_a_zone_left_out_is_made_up_for_once() {
    let daily = due(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00:00Z",
        "2011-12-31T12:00:00Z",
    );
    // Noon of the 29th, that of the 30th at the moment when it was skipped, noon of the 31st.
    assert_eq!(
        daily,
        [
            "2011-12-29T22:00Z",
            "2011-12-30T10:00Z",
            "2011-12-30T22:00Z"
        ]
    );
}

#[test]
fn the_29th_of_february_is_found_eight_years_later() {
    let leap = due(
        "0 0 29 2 *",
        "UTC",
        "2096-03-01T00:00:00Z",
        "2105-01-01T00:00:00Z",
    );
    assert_eq!(leap, ["2104-02-29T00:00Z"]);
}

#[test]
fn sunday_is_0_and_7_and_ends_a_week() {
    let sundays = due(
        "0 0 * * 7",
        "UTC",
        "2026-01-01T00:00:00Z",
        "2026-01-14T00:00:00Z",
    );
    assert_eq!(
        sundays,
        due(
            "0 0 * * SUN",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2026-01-14T00:00:00Z"
        )
    );
    assert_eq!(sundays, ["2026-01-04T00:00Z", "2026-01-11T00:00Z"]);
    let weekend = due(
        "0 0 * * fri-sun",
        "UTC",
        "2026-01-05T00:00:00Z",
        "2026-01-12T00:00:00Z",
    );
    assert_eq!(
        weekend,
        [
            "2026-01-09T00:00Z",
            "2026-01-10T00:00Z",
            "2026-01-11T00:00Z"
        ]
    );
    assert_eq!(
        due(
            "@weekly",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2026-01-14T00:00:00Z"
        ),
        sundays
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_field_and_remedy() {
    let refused = |text: &str, field: &str, remedy: &str| {
        let error = Schedule::cron(text, Zone::utc()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        let told = error.to_string();
        assert!(
            told.contains(field) && told.contains(remedy) && told.contains(text),
            "{told}"
        );
    };
    refused("0 0 * *", "", "five fields");
    refused("60 0 * * *", "minute", "0 to 59");
    refused("0 0 * * sunday", "day of week", "sun to sat");
    refused("0 0 31 4,6 *", "", "no month that is given has such a day");
    refused("0 0 30 feb *", "", "correct the day of month");
    refused("50-10 0 * * *", "minute", "write it as two");
    refused("5/15 0 * * *", "minute", "write 5-59/15");
    refused("*/0 0 * * *", "minute", "from 1 on");
    refused("+5 0 * * *", "minute", "0 to 59");
    refused("0 0 1,,2 * *", "day of month", "1 to 31");
    assert!(
        "Europe/Atlantis"
            .parse::<Zone>()
            .unwrap_err()
            .to_string()
            .contains("Europe/Atlantis")
    );
    assert!("24:00".parse::<TimeOfDay>().is_err() && "7".parse::<TimeOfDay>().is_err());

    let anchor = at("2026-01-01T00:00:00Z");
    let told = |schedule: Schedule| schedule.check().unwrap_err().to_string();
    assert!(told(Schedule::every(Duration::from_secs(59), anchor)).contains("interval"));
    let hourly = Schedule::every(Duration::from_secs(3600), anchor);
    assert!(told(hourly.clone().with_jitter(Duration::from_secs(86401))).contains("jitter"));
    let grace = Duration::from_secs(1);
    assert!(told(hourly.with_missed(MissedRuns::Skip { grace })).contains("grace"));
    let noon: TimeOfDay = "12:00".parse().unwrap();
    assert!(
        Window::new(noon, noon)
            .unwrap_err()
            .to_string()
            .contains("window")
    );
}

#[test]
fn intervals_count_from_their_anchor() {
    let schedule = Schedule::every(Duration::from_secs(6 * 3600), at("2026-01-01T01:00:00Z"));
    let all: Vec<_> = schedule
        .due_between(at("2025-12-01T00:00:00Z"), at("2026-01-01T13:00:00Z"))
        .collect();
    assert_eq!(
        all,
        [
            at("2026-01-01T01:00:00Z"),
            at("2026-01-01T07:00:00Z"),
            at("2026-01-01T13:00:00Z")
        ]
    );
    assert_eq!(schedule.next_due(Timestamp::from_millis(u64::MAX)), None);
}

#[test]
fn jitter_is_the_same_for_a_job_and_spreads_many() {
    let hour = Duration::from_secs(3600);
    let schedule = Schedule::cron("@daily", Zone::utc())
        .unwrap()
        .with_jitter(hour);
    let midnight = at("2026-01-01T00:00:00Z");
    let late: Vec<u128> = (0..200u8)
        .map(|n| {
            let job = JobId::from_bytes([n; 16]);
            let begins = schedule.begins(job, midnight).unwrap();
            assert!(begins >= midnight && begins <= midnight.after(hour));
            let tomorrow = midnight.after(Duration::from_secs(86400));
            assert_eq!(
                schedule
                    .begins(job, tomorrow)
                    .unwrap()
                    .since(begins)
                    .as_secs(),
                86400
            );
            begins.since(midnight).as_millis() / 900_000
        })
        .collect();
    for quarter in 0..4 {
        let share = late.iter().filter(|l| **l == quarter).count();
        assert!(
            (25..=75).contains(&share),
            "{share} of 200 begin in quarter {quarter}"
        );
    }
}

#[test]
fn a_run_begins_waits_or_is_missed_as_the_schedule_says() {
    let job = JobId::from_bytes([1; 16]);
    let (due, nine) = (at("2026-01-01T20:00:00Z"), "21:00".parse().unwrap());
    let evening = Schedule::cron("0 21 * * *", zone("Europe/Berlin")).unwrap();
    let late = due.after(Duration::from_secs(80_000));
    assert_eq!(
        evening.admit(job, due, due.before(Duration::from_secs(1))),
        Admission::Wait(due)
    );
    assert_eq!(
        evening.admit(job, due, late),
        Admission::Start,
        "made up for, however late"
    );
    let next = due.after(Duration::from_secs(86_400));
    let superseded = Admission::Miss(MissReason::Superseded);
    assert_eq!(evening.admit(job, due, next), superseded);
    let spread = evening.clone().with_jitter(Duration::from_secs(600));
    assert_eq!(
        spread.admit(job, due, next),
        Admission::Start,
        "the next one may not begin yet"
    );
    let begins = spread.begins(job, next).unwrap();
    assert_eq!(spread.admit(job, due, begins), superseded);
    let grace = Duration::from_secs(3600);
    let skipping = evening.clone().with_missed(MissedRuns::Skip { grace });
    assert_eq!(skipping.admit(job, due, due.after(grace)), Admission::Start);
    assert_eq!(
        skipping.admit(job, due, late),
        Admission::Miss(MissReason::Late)
    );

    // 20:00Z is 21:00 in Berlin: the very moment at which it opens, or closes.
    let window = Window::new(nine, "23:00".parse().unwrap()).unwrap();
    let within = evening.clone().with_window(window);
    assert_eq!(within.admit(job, due, due), Admission::Start);
    let night = at("2026-01-01T23:30:00Z");
    assert_eq!(
        within.admit(job, due, night),
        Admission::Wait(at("2026-01-02T20:00:00Z")),
        "closed meanwhile"
    );
    let before = Window::new("19:00".parse().unwrap(), nine).unwrap();
    let waits = evening.clone().with_window(before);
    assert_eq!(
        waits.admit(job, due, due),
        Admission::Wait(at("2026-01-02T18:00:00Z"))
    );
    let misses = evening.with_window(before.with_outside(Outside::Miss));
    assert_eq!(
        misses.admit(job, due, due),
        Admission::Miss(MissReason::OutsideWindow)
    );
}

#[test]
fn what_is_stored_is_read_again_and_what_is_left_out_has_its_meaning() {
    let window = Window::new("22:00".parse().unwrap(), "05:30".parse().unwrap()).unwrap();
    let grace = Duration::from_secs(5400);
    let schedule = Schedule::cron("0  2 * * mon-fri", zone("europe/berlin"))
        .unwrap()
        .with_jitter(Duration::from_secs(600))
        .with_window(window.with_outside(Outside::Miss))
        .with_missed(MissedRuns::Skip { grace });
    let text = serde_json::to_string(&schedule).unwrap();
    assert_eq!(
        text,
        r#"{"trigger":{"cron":"0 2 * * mon-fri"},"zone":"Europe/Berlin","jitter":"10m","window":{"start":"22:00","end":"05:30","outside":"miss"},"missed":{"skip":{"grace":"1h 30m"}}}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
    let interval = r#"{"trigger":{"interval":{"every":"6h","anchor":"2026-01-01T00:00:00Z"}}}"#;
    let interval: Schedule = serde_json::from_str(interval).unwrap();
    assert_eq!(
        interval,
        Schedule::every(Duration::from_secs(6 * 3600), at("2026-01-01T00:00:00Z"))
    );
    assert_eq!(
        interval.to_string(),
        "every 6h from 2026-01-01T00:00:00.000Z"
    );
    assert_eq!(
        schedule.to_string(),
        "0 2 * * mon-fri (Europe/Berlin), within 22:00-05:30, up to 10m later"
    );
}
