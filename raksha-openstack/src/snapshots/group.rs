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
    /// In which group snapshot all its disks are, maybe with those of other servers.
    pub(super) within: Option<String>,
}

impl Group {
    /// Whether all its disks are of one instant.
    fn one_instant(&self) -> bool {
        self.level >= Consistency::CrashAcrossDisks
    }
}

/// Whether all disks of all of them are of one instant.
fn all_at_once(groups: &[Group]) -> bool {
    groups.split_first().is_none_or(|(first, others)| {
        let with_first = |group: &Group| group.within.is_some() && group.within == first.within;
        first.one_instant() && others.iter().all(with_first)
    })
}

/// What is known of all groups together.
pub(super) fn ledger(groups: &[Group]) -> ConsistencyLedger {
    let begin = groups.iter().map(|group| group.begin).min();
    let end = groups.iter().map(|group| group.end).max();
    let skew = match begin.zip(end) {
        Some((begin, end)) if !all_at_once(groups) => end.since(begin),
        _ => Duration::ZERO,
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
            within: None,
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
        let within = |one: &str| Group {
            within: Some(one.to_owned()),
            ..group(Consistency::CrashAcrossDisks, 100, 300)
        };
        let skew = |groups: [Group; 2]| ledger(&groups).skew.as_millis();
        assert_eq!(skew([within("a"), within("a")]), 0);
        assert_eq!(skew([within("a"), within("b")]), 200);
        assert_eq!(skew([within("a"), frozen()]), 200);
    }
}
