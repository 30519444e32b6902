//! Parsers of bytes that somebody else wrote, fed with mutations that learn.
//!
//! Of each input a parser says what came of it: what it was taken for, or why it was refused. An input of which something came that never came before is
//! kept, and mutated further. This is what fuzzers do that count which code an input reaches; here the answers stand for the code, so that any compiler
//! will do. What was found so is kept in a folder, the corpus, and is the beginning of the next run.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::Seeded;
use crate::error::Result;

/// Mutations of each parser unless `RAKSHA_MUTATIONS` says otherwise.
const MUTATIONS: u64 = 4000;
/// Inputs that are kept at once.
const KEPT: usize = 256;
/// What a corpus takes: so many files, of so many bytes.
const FILES: usize = 16;
const LARGEST: usize = 4096;
/// How much more address space a parser may take than there was: less than what four bytes of a length can ask for, more than what
/// other tests take meanwhile.
const MEMORY: u64 = 3 << 30;

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

/// A parser to be fed.
#[derive(Debug)]
pub struct Fuzz {
    kind: String,
    corpus: PathBuf,
    good: Vec<Vec<u8>>,
}

impl Fuzz {
    /// Of what `kind` the inputs are, with the folder that holds a corpus in a folder of that name, if there is one.
    pub fn new(kind: &str, corpora: impl Into<PathBuf>) -> Self {
        Self {
            kind: kind.to_owned(),
            corpus: corpora.into().join(kind),
            good: Vec::new(),
        }
    }

    /// With an input that must be taken.
    #[must_use]
    pub fn good(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.good.push(input.into());
        self
    }

    /// Feeds `parse`, which says what it takes an input for, or refuses it. `RAKSHA_MUTATIONS` sets how many mutations there are,
    /// `RAKSHA_SEED` repeats a run; `RAKSHA_CORPUS=grow` keeps in the corpus what is new.
    ///
    /// # Panics
    /// If the parser panics (the input is then in the corpus, so that it is fed again each time), takes memory beyond all measure, refuses a
    /// good input, or refuses nothing.
    #[expect(
        clippy::panic,
        clippy::print_stdout,
        reason = "that is how tests fail and tell"
    )]
    pub fn feed(self, mut parse: impl FnMut(&[u8]) -> Result<String>) {
        let seed = std::env::var("RAKSHA_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(of_the_moment);
        let rounds = std::env::var("RAKSHA_MUTATIONS").ok();
        let rounds = rounds.and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS);
        let name: u64 = self.kind.bytes().map(u64::from).sum();
        let mut random = Seeded::new(seed.wrapping_add(name));
        let (mut seen, mut refused) = (HashSet::new(), 0u64);
        let mut pool = Pool::default();
        let memory = address_space();
        let mut try_one = |input: &[u8]| match catch_unwind(AssertUnwindSafe(|| parse(input))) {
            Ok(answer) => {
                let taken = address_space().saturating_sub(memory);
                assert!(
                    taken < MEMORY,
                    "{}: RAKSHA_SEED={seed}: {taken} bytes of memory for {}",
                    self.kind,
                    self.keep("large", input)
                );
                answer
            }
            Err(_) => panic!(
                "{}: RAKSHA_SEED={seed}: the parser panics, see above, on {}",
                self.kind,
                self.keep("crash", input)
            ),
        };
        for good in &self.good {
            let answer = try_one(good);
            let answer = answer.unwrap_or_else(|error| panic!("{}: refused: {error}", self.kind));
            seen.insert(answer);
            pool.taken.push(good.clone());
        }
        for (file, input) in self.read_corpus() {
            let answer = try_one(&input);
            let fault = file.starts_with("crash") || file.starts_with("large");
            let taken = answer.is_ok();
            if seen.insert(outcome(answer)) || fault {
                pool.of(taken).push(input);
            }
        }
        let begun = [pool.taken.len(), pool.refused.len()];
        for _ in 0..rounds {
            let input = mutate(&mut random, &pool);
            let answer = try_one(&input);
            let taken = answer.is_ok();
            refused += u64::from(!taken);
            let kept = pool.of(taken);
            if seen.insert(outcome(answer)) && kept.len() < KEPT {
                kept.push(input);
            }
        }
        println!(
            "{}: RAKSHA_SEED={seed}: {rounds} mutations of {} inputs, {refused} refused, {} different answers",
            self.kind,
            begun.iter().sum::<usize>(),
            seen.len()
        );
        assert!(refused > 0, "{}: nothing is ever refused", self.kind);
        if std::env::var("RAKSHA_CORPUS").is_ok_and(|what| what == "grow") {
            for (inputs, begun) in [&pool.taken, &pool.refused].into_iter().zip(begun) {
                let mut new: Vec<_> = inputs.iter().skip(begun).collect();
                new.retain(|input| input.len() <= LARGEST);
                new.sort_by_key(|input| input.len());
                let room = (FILES / 2).saturating_sub(begun);
                // Of all lengths.
                let step = new.len().div_ceil(room.max(1)).max(1);
                for input in new.into_iter().step_by(step).take(room) {
                    self.keep("found", input);
                }
            }
        }
    }

    fn read_corpus(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(&self.corpus).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let read = files.into_iter().filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, fs::read(path).ok()?))
        });
        read.collect()
    }

    /// Puts an input into the corpus; gives where it is.
    fn keep(&self, why: &str, input: &[u8]) -> String {
        let hash = blake3::hash(input).to_hex();
        let path = self.corpus.join(format!("{why}-{:.12}", hash.as_str()));
        let kept = fs::create_dir_all(&self.corpus).and_then(|()| fs::write(&path, input));
        match kept {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("{input:x?} (which cannot be kept: {error})"),
        }
    }
}

fn of_the_moment() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed")
}

/// An answer without what differs from input to input of the same kind.
fn outcome(answer: Result<String>) -> String {
    let text = match answer {
        Ok(taken) => return taken,
        Err(error) => error.to_string(),
    };
    let mut quoted = false;
    let plain = text.chars().filter(|c| {
        quoted ^= *c == '"';
        !quoted && !c.is_ascii_hexdigit() && c.is_ascii_graphic()
    });
    plain.take(200).collect()
}

/// The address space of this process, in bytes; 0 where nothing tells.
fn address_space() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(4096)
}

/// Inputs of which each came to something else.
#[derive(Debug, Default)]
struct Pool {
    taken: Vec<Vec<u8>>,
    refused: Vec<Vec<u8>>,
}

impl Pool {
    fn of(&mut self, taken: bool) -> &mut Vec<Vec<u8>> {
        match taken {
            true => &mut self.taken,
            false => &mut self.refused,
        }
    }
}

/// One of the inputs with some of its bytes changed: mostly one that was taken, since from there all there is to refuse is near.
fn mutate(random: &mut Seeded, pool: &Pool) -> Vec<u8> {
    let from = match pool.refused.as_slice() {
        refused @ [_, ..] if random.below(4) == 0 => refused,
        _ => pool.taken.as_slice(),
    };
    let mut bytes = pick(random, from).cloned().unwrap_or_default();
    let changes = [1, 1, 1, 2, 3, 5];
    for _ in 0..pick(random, &changes).copied().unwrap_or(1) {
        change(random, &mut bytes, &pool.taken);
    }
    bytes
}

fn pick<'a, T>(random: &mut Seeded, some: &'a [T]) -> Option<&'a T> {
    some.get(below(random, some.len()))
}

fn below(random: &mut Seeded, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).unwrap_or(0)
}

fn change(random: &mut Seeded, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let length = bytes.len();
    let at = below(random, length);
    let end = (at + 1 + below(random, 40)).min(length);
    let number = pick(random, &NUMBERS).copied().unwrap_or(0);
    match random.below(12) {
        0 | 1 => {
            let bit = 1 << random.below(8);
            bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= bit);
        }
        2 => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = 0xff),
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
            let other = pick(random, pool).map(Vec::as_slice).unwrap_or_default();
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
