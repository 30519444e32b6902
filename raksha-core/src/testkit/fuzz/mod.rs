//! Parsers of bytes that somebody else wrote, fed with mutations that learn.
//!
//! Of each input a parser says what came of it: what it was taken for, or why it was refused. An input of which something came that never came before is
//! kept, and mutated further: here the answers stand for the code that an input reaches, so that any compiler will do. In a program that counts which code
//! is reached (`tests/fuzz` builds it), an input is also kept if it reaches code that none reached before, or never so often. What was found
//! so is kept in a folder, the corpus, and is the beginning of the next run.

mod corpus;
mod coverage;
mod hint;
mod mutate;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::corpus::{Corpus, LARGEST};
use self::coverage::{Reached, Seen};
use self::mutate::Pool;
use super::Seeded;
use crate::error::Result;

/// Mutations of each parser unless `RAKSHA_MUTATIONS` says otherwise.
const MUTATIONS: u64 = 4000;
/// Inputs that are kept at once, of those that were taken and of those that were not: when answers tell them apart, and when code does.
const KEPT: usize = 256;
const KEPT_BY_CODE: usize = 1024;
/// How much more address space a parser may take than there was: less than what four bytes of a length can ask for, more than what
/// other tests take meanwhile.
const MEMORY: u64 = 3 << 30;

/// A parser to be fed.
#[derive(Debug)]
pub struct Fuzz {
    kind: String,
    corpus: Corpus,
    good: Vec<Vec<u8>>,
}

impl Fuzz {
    /// Of what `kind` the inputs are, with the folder that holds a corpus in a folder of that name, if there is one.
    pub fn new(kind: &str, corpora: impl Into<PathBuf>) -> Self {
        Self {
            kind: kind.to_owned(),
            corpus: Corpus(corpora.into().join(kind)),
            good: Vec::new(),
        }
    }

    /// With an input that must be taken.
    #[must_use]
    pub fn good(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.good.push(input.into());
        self
    }

    /// Feeds `parse`, which says what it takes an input for, or refuses it. `RAKSHA_MUTATIONS` sets how many mutations there are, or `RAKSHA_SECONDS` how long
    /// it takes; `RAKSHA_SEED` repeats a run (with `RAKSHA_MUTATIONS` to its end); `RAKSHA_CORPUS=grow` keeps in the corpus what reached new code. With `RAKSHA_KINDS`,
    /// names with commas between, all other kinds are left out.
    ///
    /// # Panics
    /// If the parser panics (the input is then in the corpus, so that it is fed again each time), takes memory beyond all measure, refuses a
    /// good input, or refuses nothing.
    pub fn feed(self, parse: impl FnMut(&[u8]) -> Result<String>) {
        let kinds = std::env::var("RAKSHA_KINDS").ok();
        if kinds.is_some_and(|kinds| kinds.split(',').all(|kind| kind != self.kind)) {
            return;
        }
        self.run(&Settings::told(), parse);
    }

    #[expect(
        clippy::panic,
        clippy::print_stdout,
        reason = "that is how tests fail and tell"
    )]
    fn run(&self, settings: &Settings, parse: impl FnMut(&[u8]) -> Result<String>) {
        let Settings {
            seed,
            rounds,
            time,
            answers_alone,
            grow,
        } = *settings;
        coverage::begin();
        let learns_code = coverage::counts() && !answers_alone;
        // Comparisons tell of code, too.
        let compared = || match learns_code {
            true => coverage::compared(),
            false => Vec::new(),
        };
        let most = if learns_code { KEPT_BY_CODE } else { KEPT };
        let name: u64 = self.kind.bytes().map(u64::from).sum();
        let mut random = Seeded::new(seed.wrapping_add(name));
        let mut tried = Tried {
            fuzz: self,
            seed,
            memory: address_space(),
            parse,
        };
        let (mut seen, mut pool) = (Seen::default(), Pool::default());
        for good in &self.good {
            let (answer, reached) = tried.once(good);
            answer.unwrap_or_else(|error| panic!("{}: refused: {error}", self.kind));
            pool.keep(good, true, &compared(), usize::MAX);
            seen.is_new(&reached, answers_alone);
        }
        let of_good = seen.clone();
        for (file, input) in self.corpus.read() {
            let (answer, reached) = tried.once(&input);
            let compared = compared();
            let fault = file.starts_with("crash") || file.starts_with("large");
            if seen.is_new(&reached, answers_alone) || fault {
                pool.keep(&input, answer.is_ok(), &compared, usize::MAX);
            }
        }
        let of_corpus = seen.edges();
        let begun = pool.begin();
        let longest = self.good.iter().map(|good| 2 * good.len()).max();
        let longest = longest.unwrap_or(0).max(LARGEST);
        let (start, mut runs, mut refused, mut new) = (Instant::now(), 0u64, 0u64, 0u64);
        // The clock ends a run, if it was told to, and decides nothing else.
        let mut trace = blake3::Hasher::new();
        while time.map_or(runs < rounds, |time| start.elapsed() < time) {
            let mut input = pool.mutate(&mut random, learns_code);
            input.truncate(longest);
            let (answer, reached) = tried.once(&input);
            trace.update(&input);
            reached.trace(&mut trace);
            runs += 1;
            refused += u64::from(answer.is_err());
            if seen.is_new(&reached, answers_alone) {
                new += 1;
                pool.keep(&input, answer.is_ok(), &compared(), most);
            }
        }
        let reached = match coverage::counts() {
            true => format!(
                "; edges: {} of good inputs, {of_corpus} with the corpus, {} now; {new} new inputs",
                of_good.edges(),
                seen.edges()
            ),
            false => String::new(),
        };
        println!(
            "{}: RAKSHA_SEED={seed} RAKSHA_MUTATIONS={runs}: {begun} inputs in the beginning, {refused} mutations refused, {} different answers, {:.1} s, trace {:.8}{reached}",
            self.kind,
            seen.answers(),
            start.elapsed().as_secs_f64(),
            trace.finalize().to_hex().as_str(),
        );
        assert!(refused > 0, "{}: nothing is ever refused", self.kind);
        if grow && learns_code {
            let run = |input: &[u8]| tried.once(input).1;
            self.corpus.choose(pool.found(), of_good, run);
        }
    }
}

/// What the environment says of a run.
#[derive(Debug, Clone, Copy)]
struct Settings {
    seed: u64,
    /// Mutations, if no time is told.
    rounds: u64,
    time: Option<Duration>,
    /// Whether code that is reached is nothing to learn from.
    answers_alone: bool,
    /// Whether the corpus grows.
    grow: bool,
}

impl Settings {
    fn told() -> Self {
        Self {
            seed: number("RAKSHA_SEED").unwrap_or_else(of_the_moment),
            rounds: number("RAKSHA_MUTATIONS").unwrap_or(MUTATIONS),
            time: number("RAKSHA_SECONDS").map(Duration::from_secs),
            answers_alone: false,
            grow: std::env::var("RAKSHA_CORPUS").is_ok_and(|corpus| corpus == "grow"),
        }
    }
}

/// A parser at work.
struct Tried<'a, F> {
    fuzz: &'a Fuzz,
    seed: u64,
    /// Address space before.
    memory: u64,
    parse: F,
}

impl<F: FnMut(&[u8]) -> Result<String>> Tried<'_, F> {
    /// Whether an input was taken, and what came of it.
    #[expect(clippy::panic, reason = "that is how tests fail")]
    fn once(&mut self, input: &[u8]) -> (Result<()>, Reached) {
        let Self { fuzz, seed, .. } = *self;
        coverage::begin();
        let answer = catch_unwind(AssertUnwindSafe(|| (self.parse)(input)));
        let edges = coverage::end();
        let Ok(answer) = answer else {
            panic!(
                "{}: RAKSHA_SEED={seed}: the parser panics, see above, on {}",
                fuzz.kind,
                fuzz.corpus.keep("crash", input)
            );
        };
        let taken = address_space().saturating_sub(self.memory);
        assert!(
            taken < MEMORY,
            "{}: RAKSHA_SEED={seed}: {taken} bytes of memory for {}",
            fuzz.kind,
            fuzz.corpus.keep("large", input)
        );
        let reached = Reached::new(outcome(&answer), edges);
        (answer.map(drop), reached)
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn of_the_moment() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed")
}

/// An answer without what differs from input to input of the same kind.
fn outcome(answer: &Result<String>) -> String {
    let text = match answer {
        Ok(taken) => return taken.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    const TRIES: u64 = 20_000;

    /// A parser that says the same of all that is long enough, and has a defect behind a magic number, a length that must be that of the
    /// rest, and a flag: how many inputs it took to run into the defect.
    fn planted(seed: u64, answers_alone: bool) -> Option<u64> {
        let corpus = tempfile::tempdir().unwrap();
        let settings = Settings {
            seed,
            rounds: TRIES,
            time: None,
            answers_alone,
            grow: false,
        };
        let mut tries = 0;
        let fuzz = Fuzz::new("planted", corpus.path()).good([0; 24]);
        let run = catch_unwind(AssertUnwindSafe(|| {
            fuzz.run(&settings, |bytes| {
                tries += 1;
                let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
                    return Err(Error::new(Kind::Corrupt, "read", "it is short"));
                };
                let magic = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                let length = u16::from_le_bytes([head[9], head[10]]);
                if magic == 0x4d31_9207 && usize::from(length) == rest.len() {
                    assert!(head[14] != 0x91, "planted");
                }
                Ok(String::new())
            });
        }));
        let kept = fuzz.corpus.read();
        assert_eq!(run.is_err(), !kept.is_empty(), "what it panics on is kept");
        run.is_err().then_some(tries)
    }

    #[test]
    fn mutations_that_learn_from_answers_miss_what_no_answer_tells() {
        for seed in 0..4 {
            assert_eq!(planted(seed, true), None);
        }
    }

    /// Run by `tests/fuzz`.
    #[cfg(raksha_coverage)]
    #[test]
    fn mutations_that_learn_from_code_find_it() {
        assert!(coverage::counts(), "nothing is instrumented");
        for seed in 0..4 {
            let tries = planted(seed, false);
            assert!(tries.is_some_and(|tries| tries < TRIES / 4), "{tries:?}");
            println!("planted: seed {seed}: {tries:?}");
        }
    }
}
