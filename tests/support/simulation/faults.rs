//! What goes wrong in a simulated world.

use crate::Random;

/// How often a target misbehaves, in thousandths of all requests, and how.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Refused before anything happened.
    pub refused: u64,
    /// Done, but the answer is an error.
    pub lost: u64,
    /// Under way for minutes or hours, while others go on.
    pub slow: u64,
    /// Reads that bring a flipped bit.
    pub flipped: u64,
    /// Reads that end early as if they were complete.
    pub short: u64,
    /// New objects that are not listed for some minutes, and deleted ones that still are.
    pub listed_late: u64,
}

impl Faults {
    /// Some for this seed: none at all in one of six worlds, and each kind in half of the others.
    pub fn draw(random: &mut Random) -> Self {
        if random.one_in(6) {
            return Self::default();
        }
        let mut some = |most: u64| match random.one_in(2) {
            true => random.below(most + 1),
            false => 0,
        };
        Self {
            refused: some(40),
            lost: some(60),
            slow: some(60),
            flipped: some(4),
            short: some(4),
            listed_late: some(400),
        }
    }

    /// Whether what is read can be wrong.
    pub fn corrupt(&self) -> bool {
        self.flipped + self.short > 0
    }
}
