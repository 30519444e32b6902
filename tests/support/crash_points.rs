//! Where a call of the program can die in a cloud: at each request that changes something there, before the cloud has done it and after. It is killed with
//! SIGKILL while it waits for the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Program;

/// Patterns of requests that are alike, with how many there are of each.
pub type Points = BTreeMap<String, u32>;

/// A cloud that is seen from outside and can let one request hang.
pub trait Hangs {
    /// What the cloud has.
    type State;

    /// What it has now.
    fn state(&self) -> Self::State;

    /// What there is more or less than before.
    fn difference(&self, before: &Self::State) -> Vec<String>;

    /// The requests so far that changed something.
    fn changes(&self) -> Points;

    /// Forgets the requests so far; nothing hangs any more.
    fn forget(&self);

    /// Lets one request hang: of those that look like `pattern` the one that comes after so many others, when it is done or before.
    fn hang(&self, pattern: &str, after: u32, done: bool);

    /// Whether that request hangs now.
    fn hangs(&self) -> bool;
}

/// What a request that changes something looks like without the ids in it; nothing for other requests.
pub fn alike(method: &str, path: &str, action: Option<&str>) -> Option<String> {
    let path = path.split('?').next()?;
    if method == "GET" || path.ends_with("/auth/tokens") {
        return None;
    }
    // Ids are what has digits, but for the versions of APIs.
    let segments = path.split('/').map(|segment| {
        let version = segment.len() < 5 && segment.starts_with('v');
        match !version && segment.contains(|c: char| c.is_ascii_digit()) {
            true => "*",
            false => segment,
        }
    });
    let mut pattern = format!("{method} {}", segments.collect::<Vec<_>>().join("/"));
    if let Some(action) = action.filter(|_| path.ends_with("/action")) {
        pattern += &format!("#{action}");
    }
    Some(pattern)
}

/// What a call that nothing happens to changes in the cloud.
pub fn points(cloud: &impl Hangs, raksha: &Program, call: &[&str]) -> Points {
    cloud.forget();
    raksha.ok(call);
    let found = cloud.changes();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// Lets `call` die at each of these points in turn, and cleans up. Nothing may be left in the cloud that was not there before.
pub fn die_at(points: &Points, cloud: &impl Hangs, raksha: &Program, call: &[&str]) {
    let before = cloud.state();
    for (pattern, times) in points {
        // Of many that are alike the first, one in the middle and the last.
        let chosen = BTreeSet::from([0, times / 2, times - 1]).into_iter();
        for (at, done) in chosen.flat_map(|at| [(at, false), (at, true)]) {
            let what = format!("{pattern}, {} of {times}, done: {done}", at + 1);
            cloud.forget();
            cloud.hang(pattern, at, done);
            raksha.killed(call, Duration::from_millis(2), || cloud.hangs());
            let had = cloud.difference(&before).len();
            raksha.ok(&["reap", "--all"]);
            let left = cloud.difference(&before);
            println!("{what}: {had} things too many, then {}", left.len());
            assert!(left.is_empty(), "{what}: {left:#?}");
        }
    }
    cloud.forget();
}
