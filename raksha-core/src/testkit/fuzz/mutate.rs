//! Inputs that did something new, and what is made of them.

use super::Seeded;
use super::coverage::Wanted;
use super::hint::{Hint, hints};

/// Numbers at which parsers go wrong.
const NUMBERS: [u64; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];
/// The same for parsers of JSON.
const WORDS: [&[u8]; 12] = [
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"1e999",
    b"0.5",
    b"true",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\\u0000",
    b"\xff",
    b"{\"",
];

/// How many are the latest.
const LATEST: usize = 16;

/// Inputs of which each did something new.
#[derive(Debug, Default)]
pub(super) struct Pool {
    taken: Vec<Kept>,
    refused: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    input: Vec<u8>,
    hints: Vec<Hint>,
}

impl Pool {
    /// Keeps an input that was taken or refused, up to `most` of each, with what was compared while it was read.
    pub(super) fn keep(&mut self, input: &[u8], taken: bool, compared: &[Wanted], most: usize) {
        let kept = match taken {
            true => &mut self.taken,
            false => &mut self.refused,
        };
        if kept.len() < most {
            kept.push(Kept {
                input: input.to_vec(),
                hints: hints(input, compared),
            });
        }
    }

    /// How many inputs were taken, and how many were not.
    pub(super) fn lengths(&self) -> [usize; 2] {
        [self.taken.len(), self.refused.len()]
    }

    /// The inputs that came since there were so many.
    pub(super) fn since(self, lengths: [usize; 2]) -> [Vec<Vec<u8>>; 2] {
        let [taken, refused] = lengths;
        let inputs = |kept: Vec<Kept>, from| {
            let new = kept.into_iter().skip(from);
            new.map(|kept| kept.input).collect()
        };
        [inputs(self.taken, taken), inputs(self.refused, refused)]
    }

    /// One of the inputs with some of its bytes changed: mostly one that was taken, since from there all there is to refuse is near. Those that `reached` new
    /// code are as good if they were refused, and half of the time it is one of the last that came, which nobody has gone on from yet.
    pub(super) fn mutate(&self, random: &mut Seeded, reached: bool) -> Vec<u8> {
        let rarely = if reached { 2 } else { 4 };
        let from = match self.refused.as_slice() {
            refused @ [_, ..] if random.below(rarely) == 0 => refused,
            _ => self.taken.as_slice(),
        };
        let last = from.get(from.len().saturating_sub(LATEST)..);
        let from = match last {
            Some(last) if reached && random.below(2) == 0 => last,
            _ => from,
        };
        let Some(kept) = pick(random, from) else {
            return Vec::new();
        };
        let mut bytes = kept.input.clone();
        if !kept.hints.is_empty() && random.below(3) == 0 {
            for _ in 0..pick(random, &[1, 1, 2]).copied().unwrap_or(1) {
                // The longer of two.
                let two = [pick(random, &kept.hints), pick(random, &kept.hints)];
                if let Some(hint) = two.into_iter().flatten().max_by_key(|hint| hint.length()) {
                    hint.follow(random, &mut bytes);
                }
            }
            if random.below(2) == 0 {
                return bytes;
            }
        }
        let changes = [1, 1, 1, 2, 3, 5];
        for _ in 0..pick(random, &changes).copied().unwrap_or(1) {
            change(random, &mut bytes, &self.taken);
        }
        bytes
    }
}

fn pick<'a, T>(random: &mut Seeded, some: &'a [T]) -> Option<&'a T> {
    some.get(below(random, some.len()))
}

fn below(random: &mut Seeded, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).unwrap_or(0)
}

fn change(random: &mut Seeded, bytes: &mut Vec<u8>, pool: &[Kept]) {
    let length = bytes.len();
    let at = below(random, length);
    let end = (at + 1 + below(random, 40)).min(length);
    let number = pick(random, &NUMBERS).copied().unwrap_or(0);
    match random.below(12) {
        0 | 1 => {
            let bit = 1 << random.below(8);
            bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= bit);
        }
        2 => {
            let any = random.below(512).min(0xff).to_le_bytes();
            bytes
                .iter_mut()
                .skip(at)
                .zip(any)
                .take(1)
                .for_each(|(b, any)| *b = any);
        }
        3 | 4 => {
            let width = 1 << random.below(4);
            let mut value = number.to_le_bytes();
            value.get_mut(..width).into_iter().for_each(|little| {
                if number > 1 && at % 2 == 1 {
                    little.reverse();
                }
            });
            let room = bytes.iter_mut().skip(at);
            room.zip(value).take(width).for_each(|(b, v)| *b = v);
        }
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..end)),
        7 => {
            let copy = bytes.get(at..end).unwrap_or_default().to_vec();
            let to = below(random, length);
            bytes.splice(to..to, copy);
        }
        // The end of another input behind the beginning of this one.
        8 => {
            let other = pick(random, pool)
                .map(|kept| kept.input.as_slice())
                .unwrap_or_default();
            let from = below(random, other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(from..).unwrap_or_default());
        }
        // A value of JSON: another one, whatever it was.
        9 => {
            let word = pick(random, &WORDS).copied().unwrap_or_default();
            let rest = bytes.get(at..).unwrap_or_default();
            let begin = rest.iter().position(|b| matches!(b, b':' | b'[' | b','));
            let begin = begin.map_or(at, |begin| at + begin + 1);
            let rest = bytes.get(begin..).unwrap_or_default();
            let end = rest.iter().position(|b| matches!(b, b',' | b']' | b'}'));
            let begin = begin.min(length);
            bytes.splice(begin..end.map_or(begin, |end| begin + end), word.to_vec());
        }
        10 => {
            let word = pick(random, &WORDS).copied().unwrap_or_default();
            bytes.splice(at..at, word.to_vec());
        }
        // Another number, however large.
        _ => {
            let rest = bytes.get(at..).unwrap_or_default();
            match rest.iter().position(u8::is_ascii_digit) {
                Some(digit) => {
                    let text = number.to_string().into_bytes();
                    drop(bytes.splice(at + digit..=at + digit, text));
                }
                None => bytes.extend_from_slice(&number.to_le_bytes()),
            }
        }
    }
}
