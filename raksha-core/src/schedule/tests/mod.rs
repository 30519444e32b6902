mod oracle;
mod rules;
mod windows;

use super::*;
use crate::time::Timestamp;

/// Zones whose clocks do something unusual, or nothing at all.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    // By half an hour.
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    // At midnight, so that some days begin at one.
    "America/Santiago",
    // Twice a year around Ramadan.
    "Africa/Casablanca",
    // Left out the 30th of December 2011.
    "Pacific/Apia",
];

const MINUTE: u64 = 60_000;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}
