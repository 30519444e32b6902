//! Inputs that did something new, and what is made of them.

use std::collections::VecDeque;

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

/// What hints say of an input is done at once, so many times, in inputs that wait. There is room for so many.
const BEST: usize = 64;
const NEXT: usize = 1024;
/// How many are the latest.
const LATEST: usize = 16;

/// Inputs of which each did something new.
#[derive(Debug, Default)]
pub(super) struct Pool {
    taken: Vec<Kept>,
    refused: Vec<Kept>,
    /// How many of each there were when mutations began.
    begun: [usize; 2],
    /// What the best hints make of the inputs that came last.
    next: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Kept {
    input: Vec<u8>,
    hints: Vec<Hint>,
}

impl Pool {
    /// Keeps an input that was taken or refused, with what was compared while it was read. With more than `most` of its sort, the oldest goes that is not of
    /// the beginning.
    pub(super) fn keep(&mut self, input: &[u8], taken: bool, compared: &[Wanted], most: usize) {
        let (kept, begun) = match taken {
            true => (&mut self.taken, self.begun[0]),
            false => (&mut self.refused, self.begun[1]),
        };
        if kept.len() >= most.max(begun + 1) {
            kept.remove(begun);
        }
        let hints = hints(input, compared);
        let best = hints.iter().flat_map(|hint| hint.each(input)).take(BEST);
        self.next.extend(best);
        while self.next.len() > NEXT {
            self.next.pop_front();
        }
        kept.push(Kept {
            input: input.to_vec(),
            hints,
        });
    }

    /// From here on, inputs are those that mutations brought. Gives how many there were before.
    pub(super) fn begin(&mut self) -> usize {
        self.begun = [self.taken.len(), self.refused.len()];
        self.begun.iter().sum()
    }

    /// The inputs that mutations brought.
    pub(super) fn found(self) -> Vec<Vec<u8>> {
        let [taken, refused] = self.begun;
        let taken = self.taken.into_iter().skip(taken);
        let found = taken.chain(self.refused.into_iter().skip(refused));
        found.map(|kept| kept.input).collect()
    }

    /// One of the inputs with some of its bytes changed: mostly one that was taken, since from there all there is to refuse is near. Those that `reached` new
    /// code are as good if they were refused, and half of the time it is one of the last that came, which nobody has gone on from yet.
    pub(super) fn mutate(&mut self, random: &mut Seeded, reached: bool) -> Vec<u8> {
        if reached
            && random.below(4) == 0
            && let Some(next) = self.next.pop_back()
        {
            return next;
        }
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
                // Rather one of the better ones.
                let end = 1 + below(random, kept.hints.len());
                if let Some(hint) = kept.hints.get(below(random, end)) {
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
