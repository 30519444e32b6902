//! What was taken, and what the ledger says of it.

use std::time::Duration;

use raksha_core::Timestamp;
use raksha_core::cloud::{Consistency, ConsistencyLedger, DiskConsistency, Temporary};

use super::subject::Wanted;
use crate::roads::Held;

/// A disk that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) wanted: Wanted,
    pub(super) held: Held,
    pub(super) temporary: Temporary,
    /// When, as the cloud's clock has it.
    pub(super) at: Timestamp,
}

/// The disks of one server, taken together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) server: Option<String>,
    pub(super) disks: Vec<Taken>,
    pub(super) level: Consistency,
    pub(super) means: String,
    pub(super) freeze: Option<Duration>,
    /// Between which moments all of it was taken, by this machine's clock.
    pub(super) begin: Timestamp,
    pub(super) end: Timestamp,
}

impl Group {
    /// Whether all its disks are of one instant.
    fn one_instant(&self) -> bool {
        self.level >= Consistency::CrashAcrossDisks
    }
}

/// What is known of all groups together.
pub(super) fn ledger(groups: &[Group]) -> ConsistencyLedger {
    let skew = match groups {
        [only] if only.one_instant() => Duration::ZERO,
        groups => {
            let begin = groups.iter().map(|group| group.begin).min();
            let end = groups.iter().map(|group| group.end).max();
            begin
                .zip(end)
                .map_or(Duration::ZERO, |(begin, end)| end.since(begin))
        }
    };
    let of_group = |group: &Group| {
        let each = group.disks.iter().map(|taken| DiskConsistency {
            disk: taken.wanted.disk.clone(),
            level: group.level,
            means: group.means.clone(),
            taken: taken.at,
            freeze: group.freeze,
        });
        each.collect::<Vec<_>>()
    };
    ConsistencyLedger {
        disks: groups.iter().flat_map(of_group).collect(),
        skew,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(level: Consistency, begin: u64, end: u64) -> Group {
        Group {
            server: None,
            disks: Vec::new(),
            level,
            means: String::new(),
            freeze: None,
            begin: Timestamp::from_millis(begin),
            end: Timestamp::from_millis(end),
        }
    }

    #[test]
    fn skew_is_between_the_first_and_the_last() {
        let frozen = || group(Consistency::FileSystem, 100, 300);
        assert_eq!(ledger(&[frozen()]).skew, Duration::ZERO);
        assert_eq!(
            ledger(&[group(Consistency::Crash, 100, 300)])
                .skew
                .as_millis(),
            200
        );
        let two = [frozen(), group(Consistency::FileSystem, 250, 400)];
        assert_eq!(
            ledger(&two).skew.as_millis(),
            300,
            "two servers are of two instants"
        );
        assert_eq!(ledger(&[]).skew, Duration::ZERO);
    }
}
