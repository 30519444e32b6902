//! Hints from comparisons: where an input has a number that was compared with another one, it may have the other instead.

use super::Seeded;
use super::coverage::Wanted;

/// Hints that are kept with an input, and places for each number.
const HINTS: usize = 1024;
const PLACES: usize = 4;

/// How an input spells a number.
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
}

/// Something to put in place of what an input has somewhere.
#[derive(Debug)]
pub(super) struct Hint {
    at: usize,
    length: usize,
    wanted: u64,
    spelling: Spelling,
}

impl Hint {
    /// How much of the input it is about.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Changes the input that this is a hint about: to have what is wanted, or a bit more or less.
    pub(super) fn follow(&self, random: &mut Seeded, bytes: &mut Vec<u8>) {
        let near = [0, 0, 0, 1, u64::MAX];
        let near = near.get(usize::try_from(random.below(5)).unwrap_or(0));
        let number = self.wanted.wrapping_add(near.copied().unwrap_or(0));
        let end = self.at + self.length;
        if let Some(spelt) = self.spelling.spell(number).filter(|_| end <= bytes.len()) {
            bytes.splice(self.at..end, spelt);
        }
    }
}

/// What the comparisons say about this input.
pub(super) fn hints(input: &[u8], compared: &[Wanted]) -> Vec<Hint> {
    let hints = compared.iter().flat_map(|wanted| {
        // A number may have been read from fewer bytes than it was compared in.
        let widths = [8, 4, 2].into_iter().filter(|w| *w <= wanted.width);
        let bytes = widths.flat_map(|width| [Spelling::Little(width), Spelling::Big(width)]);
        let text = (wanted.had > 9).then_some(Spelling::Decimal);
        let byte = (wanted.width == 1).then_some(Spelling::Little(1));
        let all = bytes.chain(byte).chain(text);
        all.flat_map(|spelling| places(input, *wanted, spelling))
    });
    // Long ones first: there are many short ones, and what they would do is soon done by chance.
    let mut hints: Vec<Hint> = hints.collect();
    hints.sort_by_key(|hint| std::cmp::Reverse(hint.length));
    hints.truncate(HINTS);
    hints
}

/// Where an input has a number of which another one was wanted.
fn places(input: &[u8], wanted: Wanted, spelling: Spelling) -> Vec<Hint> {
    let had = spelling.spell(wanted.had);
    let Some(had) = had.filter(|_| spelling.spell(wanted.wanted).is_some()) else {
        return Vec::new();
    };
    let here = |(_, here): &(usize, &[u8])| *here == had;
    let found = input.windows(had.len()).enumerate().filter(here);
    let all: Vec<usize> = found.map(|(at, _)| at).collect();
    let step = all.len().div_ceil(PLACES).max(1);
    let hint = |at| Hint {
        at,
        length: had.len(),
        wanted: wanted.wanted,
        spelling,
    };
    all.into_iter().step_by(step).map(hint).collect()
}
