//! How hard a session compresses: by whether the target waits for the compressor, or the compressor for the target.
//!
//! Whenever a pack is full, the level goes one step at most:
//!
//! | since the last full pack | packs on their way | level |
//! | --- | --- | --- |
//! | | none | down: all that was sent has arrived, and the target waits |
//! | no buffer was free for a new pack | some | up: the compressor stood still, and may as well take longer |
//! | there was always one | some | stays: both are busy |
//!
//! - *A buffer, not a turn to upload.* Buffers are what compressing waits for in the end, whoever holds packs back: the number of uploads at once,
//!   a limit in the target's own layers, slow publishing, or a small budget. Packs that queue for a turn while there are buffers stop nobody.
//! - *Nothing on its way counts for more than a wait.* With few buffers, packs that fill up at the same moment wait for each other even
//!   if the target is fast. It has then caught up by the time that the next one is full; a slow one never has.
//! - *No clock.* So a short wait counts as much as a long one, but one slow answer is one wait, and costs one step.
//! - A session begins at the usual level, and most that back up a quiet day end before their first pack is full. Nothing is concluded from
//!   an empty way before anything was sent, nor from what arrived while a flush waited for it.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::repository::compress::Compression;

/// The level of a session. Shared by all who fill packs.
pub(super) struct Level(Mutex<State>);

struct State {
    /// None if nothing is compressed.
    now: Option<i32>,
    range: RangeInclusive<i32>,
    /// Somebody found no buffer since the last pack was full.
    waited: bool,
    /// A full pack was sent since the last flush.
    sent: bool,
}

impl Level {
    pub(super) fn new(compression: Compression) -> Self {
        Self(Mutex::new(State {
            now: compression.usual_level(),
            range: compression.levels().unwrap_or(0..=0),
            waited: false,
            sent: false,
        }))
    }

    /// The level to compress at; none for not at all.
    pub(super) fn now(&self) -> Option<i32> {
        self.lock().now
    }

    /// Compressing has to wait for a buffer, since packs on their way hold too many.
    pub(super) fn waited(&self) {
        self.lock().waited = true;
    }

    /// Another pack is about to be sent while `on_their_way` are.
    pub(super) fn pack_is_full(&self, on_their_way: usize) {
        let mut state = self.lock();
        let waited = std::mem::take(&mut state.waited);
        let sent = std::mem::replace(&mut state.sent, true);
        let step = match on_their_way {
            0 if sent => -1,
            0 => 0,
            _ => i32::from(waited),
        };
        state.now = state.now.map(|now| stepped(now, step, &state.range));
    }

    /// Everything was sent, and has arrived because somebody waited for it.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        (state.waited, state.sent) = (false, false);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next level, if it is one of `range`. There is no level 0.
fn stepped(now: i32, step: i32, range: &RangeInclusive<i32>) -> i32 {
    let next = match now.saturating_add(step) {
        0 => step,
        next => next,
    };
    if range.contains(&next) { next } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels after each full pack: `(waited, on their way)`.
    fn levels(compression: Compression, packs: &[(bool, usize)]) -> Vec<i32> {
        let level = Level::new(compression);
        let after = packs.iter().map(|(waited, on_their_way)| {
            if *waited {
                level.waited();
            }
            level.pack_is_full(*on_their_way);
            level.now().unwrap()
        });
        after.collect()
    }

    #[test]
    fn it_rises_while_compressing_waits_and_not_beyond_the_smallest() {
        let after = levels(Compression::default(), &[(true, 3); 8]);
        assert_eq!(after, [2, 3, 4, 5, 6, 6, 6, 6]);
    }

    #[test]
    fn it_falls_while_the_target_waits_and_not_below_the_fastest() {
        // The first finds nothing on its way because nothing was sent.
        let after = levels(Compression::default(), &[(false, 0); 4]);
        assert_eq!(after, [1, -1, -1, -1]);
        let wide = Compression::ZstdAdaptive {
            fastest: -3,
            smallest: 2,
        };
        let packs = [(true, 1), (true, 1), (false, 0), (false, 0), (false, 0)];
        assert_eq!(levels(wide, &packs), [2, 2, 1, -1, -2]);
        let packs = [(false, 0), (false, 0), (true, 1), (true, 1)];
        assert_eq!(levels(wide, &packs), [1, -1, 1, 2], "there is no level 0");
    }

    #[test]
    fn between_it_stays() {
        let after = levels(
            Compression::default(),
            &[(false, 1), (false, 2), (false, 5)],
        );
        assert_eq!(after, [1, 1, 1]);
    }

    #[test]
    fn a_wait_is_one_step_however_many_waited_and_none_if_all_has_arrived() {
        let level = Level::new(Compression::default());
        for _ in 0..5 {
            level.waited();
        }
        level.pack_is_full(2);
        assert_eq!(level.now(), Some(2));
        level.pack_is_full(2);
        assert_eq!(level.now(), Some(2), "it counts once");
        level.waited();
        level.pack_is_full(0);
        assert_eq!(level.now(), Some(1));
    }

    #[test]
    fn a_flush_says_nothing_about_the_target() {
        let level = Level::new(Compression::default());
        for _ in 0..5 {
            level.pack_is_full(0);
            level.waited();
            level.flushed();
        }
        assert_eq!(level.now(), Some(1));
        level.pack_is_full(1);
        assert_eq!(level.now(), Some(1), "who waited before it is forgotten");
    }

    #[test]
    fn what_is_fixed_stays() {
        let packs = [(true, 3), (false, 0), (false, 0)];
        assert_eq!(levels(Compression::Zstd { level: 9 }, &packs), [9, 9, 9]);
        let level = Level::new(Compression::None);
        level.waited();
        level.pack_is_full(1);
        assert_eq!(level.now(), None);
        // Refused when a repository is made, but it could be read.
        let empty = Compression::ZstdAdaptive {
            fastest: 3,
            smallest: 2,
        };
        assert_eq!(levels(empty, &packs), [3, 3, 3]);
    }
}
