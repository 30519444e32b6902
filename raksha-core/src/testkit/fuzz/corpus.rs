//! Inputs that are kept from run to run: a folder for each kind.

use std::fs;
use std::path::PathBuf;

use super::coverage::{Reached, Seen};

/// What a corpus takes: so many files that were found, of so many bytes.
const FILES: usize = 16;
pub(super) const LARGEST: usize = 4096;

/// How files are called of inputs that did something new. All others stay: those that somebody put there, and those at which a parser went wrong.
const FOUND: &str = "found";

#[derive(Debug)]
pub(super) struct Corpus(pub(super) PathBuf);

impl Corpus {
    /// The inputs, and how their files are called.
    pub(super) fn read(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let read = files.into_iter().filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, fs::read(path).ok()?))
        });
        read.collect()
    }

    /// Puts an input in; gives where it is.
    pub(super) fn keep(&self, why: &str, input: &[u8]) -> String {
        let hash = blake3::hash(input).to_hex();
        let path = self.0.join(format!("{why}-{:.12}", hash.as_str()));
        let kept = fs::create_dir_all(&self.0).and_then(|()| fs::write(&path, input));
        match kept {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("{input:x?} (which cannot be kept: {error})"),
        }
    }

    /// Chooses anew among what was found ever: the few that together reach the most. `run` says what an input does; `seen` is what good inputs do.
    pub(super) fn choose(
        &self,
        new: Vec<Vec<u8>>,
        mut seen: Seen,
        mut run: impl FnMut(&[u8]) -> Reached,
    ) {
        let mut candidates = new;
        for (file, input) in self.read() {
            if file.starts_with(FOUND) {
                drop(fs::remove_file(self.0.join(file)));
                candidates.push(input);
            } else {
                seen.is_new(&run(&input), false);
            }
        }
        candidates.retain(|input| input.len() <= LARGEST);
        candidates.sort_by_key(Vec::len);
        // Those that reach something which no shorter one does.
        let mut all = seen.clone();
        let mut left = Vec::new();
        for input in candidates {
            let reached = run(&input);
            if all.missing(&reached) > 0 {
                all.is_new(&reached, false);
                left.push((input, reached));
            }
        }
        for _ in 0..FILES {
            let most = |(at, (_, reached)): (usize, &(_, Reached))| (seen.missing(reached), at);
            let Some((adds, at)) = left.iter().enumerate().map(most).max() else {
                break;
            };
            let (input, reached) = left.swap_remove(at);
            if adds > 0 {
                seen.is_new(&reached, false);
                self.keep(FOUND, &input);
            }
        }
    }
}
