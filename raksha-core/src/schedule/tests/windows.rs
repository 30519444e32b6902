//! When windows open, against an oracle that tries every minute.

use std::time::Duration;

use super::*;
use crate::testkit::Seeded;

#[test]
fn a_window_opens_at_the_first_minute_at_which_clocks_are_in_it() {
    let seed = std::env::var("RAKSHA_SEED").map_or(3, |seed| seed.parse().unwrap());
    println!("RAKSHA_SEED={seed}");
    let mut seeded = Seeded::new(seed);
    for name in ZONES {
        let zone = zone(name);
        let from = at("2011-12-01T00:00:00Z");
        let changes: Vec<Timestamp> = zone.changes(from).take(8).collect();
        for _ in 0..60 {
            // Around a change, with hours that it touches.
            let change = usize::try_from(seeded.below(8)).unwrap();
            let near = changes.get(change).copied().unwrap_or(from);
            let time = near
                .before(Duration::from_secs(2 * 86400))
                .after(Duration::from_secs(60 * seeded.below(4 * 1440)));
            let mut time_of_day = || {
                TimeOfDay::new(
                    u8::try_from(seeded.below(5)).unwrap(),
                    u8::try_from(seeded.below(4) * 15).unwrap(),
                )
                .unwrap()
            };
            let (start, end) = (time_of_day(), time_of_day());
            let Ok(window) = Window::new(start, end) else {
                continue;
            };
            let mut minutes = (0..6 * 1440).map(|n| time.after(Duration::from_secs(60 * n)));
            let expected = minutes.find(|at| {
                let shown = zone.local(*at).unwrap().time();
                let shown = TimeOfDay::new(
                    u8::try_from(shown.hour()).unwrap(),
                    u8::try_from(shown.minute()).unwrap(),
                )
                .unwrap();
                if start < end {
                    start <= shown && shown < end
                } else {
                    shown >= start || shown < end
                }
            });
            assert_eq!(
                window.next_open(&zone, time),
                expected,
                "{window} in {name} from {time}"
            );
        }
    }
}
