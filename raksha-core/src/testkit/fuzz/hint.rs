//! Hints from comparisons: where an input has a number that was compared with another one, it may have the other instead.

use std::cmp::Reverse;

use super::Seeded;
use super::coverage::Wanted;

/// Hints that are kept with an input.
const HINTS: usize = 1024;

/// How an input may spell a number.
const SPELLINGS: [Spelling; 8] = [
    Spelling::Decimal,
    Spelling::Little(8),
    Spelling::Big(8),
    Spelling::Little(4),
    Spelling::Big(4),
    Spelling::Little(2),
    Spelling::Big(2),
    Spelling::Little(1),
];

#[derive(Debug, Clone, Copy)]
enum Spelling {
    Little(usize),
    Big(usize),
    Decimal,
}

impl Spelling {
    /// Nothing if there is no room for it.
    fn spell(self, number: u64) -> Option<Vec<u8>> {
        let (bytes, fits) = match self {
            Spelling::Decimal => return Some(number.to_string().into_bytes()),
            Spelling::Little(width) => {
                let bytes = number.to_le_bytes();
                let (low, high) = bytes.split_at_checked(width)?;
                (low.to_vec(), high.iter().all(|b| *b == 0))
            }
            Spelling::Big(width) => {
                let bytes = number.to_be_bytes();
                let (high, low) = bytes.split_at_checked(8_usize.checked_sub(width)?)?;
                (low.to_vec(), high.iter().all(|b| *b == 0))
            }
        };
        fits.then_some(bytes)
    }

    /// All numbers that an input may be said to have, in order.
    fn numbers(self, input: &[u8]) -> Vec<u64> {
        let widened = |low: &[u8], big: bool| {
            let digit = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
            match big {
                true => low.iter().fold(0, digit),
                false => low.iter().rev().fold(0, digit),
            }
        };
        let mut numbers: Vec<u64> = match self {
            Spelling::Little(width) => input.windows(width).map(|w| widened(w, false)).collect(),
            Spelling::Big(width) => input.windows(width).map(|w| widened(w, true)).collect(),
            Spelling::Decimal => {
                let digits = input.split(|b| !b.is_ascii_digit());
                let digits = digits.filter_map(|digits| std::str::from_utf8(digits).ok());
                digits.filter_map(|digits| digits.parse().ok()).collect()
            }
        };
        numbers.sort_unstable();
        numbers
    }

    /// Whether a number that was compared may have been read from this: perhaps from fewer bytes than it was compared in.
    fn may_be(self, compared: Wanted) -> bool {
        match self {
            // Shorter ones are single characters.
            Spelling::Decimal => compared.had > 9,
            // What has one byte all along.
            Spelling::Little(1) => compared.width == 1,
            Spelling::Little(width) | Spelling::Big(width) => width <= compared.width,
        }
    }
}

/// Something to put in place of what an input has somewhere.
#[derive(Debug)]
pub(super) struct Hint {
    had: Vec<u8>,
    read: u64,
    wanted: u64,
    spelling: Spelling,
}

impl Hint {
    /// How unlikely it is that chance does the same: how many bits the numbers take.
    fn worth(&self) -> u32 {
        u64::BITS - (self.read | self.wanted).leading_zeros()
    }

    /// Changes an input: to have what is wanted, or a bit more or less, in one of the places that may be meant.
    pub(super) fn follow(&self, random: &mut Seeded, bytes: &mut Vec<u8>) {
        let near = [0, 0, 0, 1, u64::MAX];
        let near = near.get(usize::try_from(random.below(5)).unwrap_or(0));
        let number = self.wanted.wrapping_add(near.copied().unwrap_or(0));
        // Any place: an input of zeros has a zero everywhere.
        let from = usize::try_from(random.below(bytes.len() as u64)).unwrap_or(0);
        let place = self.places(bytes, from).next();
        let place = place.or_else(|| self.places(bytes, 0).next());
        if let Some((at, spelt)) = place.zip(self.spelling.spell(number)) {
            bytes.splice(at..at + self.had.len(), spelt);
        }
    }

    /// The input with what is wanted, once for each place.
    pub(super) fn each(&self, input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let spelt = self.spelling.spell(self.wanted).unwrap_or_default();
        self.places(input, 0).map(move |at| {
            let mut input = input.to_vec();
            input.splice(at..at + self.had.len(), spelt.iter().copied());
            input
        })
    }

    fn places(&self, input: &[u8], from: usize) -> impl Iterator<Item = usize> {
        let rest = input.get(from..).unwrap_or_default();
        let windows = rest.windows(self.had.len()).enumerate();
        windows.filter_map(move |(at, here)| (*here == self.had).then_some(from + at))
    }
}

/// What the comparisons say about this input, the best first.
pub(super) fn hints(input: &[u8], compared: &[Wanted]) -> Vec<Hint> {
    if compared.is_empty() {
        return Vec::new();
    }
    let hints = SPELLINGS.into_iter().flat_map(|spelling| {
        let numbers = spelling.numbers(input);
        let here = move |wanted: &&Wanted| {
            spelling.may_be(**wanted) && numbers.binary_search(&wanted.had).is_ok()
        };
        compared.iter().filter(here).filter_map(move |wanted| {
            spelling.spell(wanted.wanted)?;
            Some(Hint {
                had: spelling.spell(wanted.had)?,
                read: wanted.had,
                wanted: wanted.wanted,
                spelling,
            })
        })
    });
    let mut hints: Vec<Hint> = hints.collect();
    hints.sort_by_key(|hint| Reverse(hint.worth()));
    hints.truncate(HINTS);
    hints
}
