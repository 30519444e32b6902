//! Who has which number of the log, whatever becomes of requests and answers, explored exhaustively.
//!
//! The product's own [`Log`] appends, in a world where each request waits until the exploration serves it: in every order, and with everything that
//! can become of it, up to a number of troubles. What an appender does follows from the answers that it had; so a world is known by those, by the log, and
//! by what is still on its way there, and what follows from it is explored once. An appender that is never served again has crashed.

mod world;

use std::collections::HashSet;

use world::{Catalog, Intent, World};

use super::tell;

/// Which of the ways to go on is taken at each step: those of one run, and by what they change, all of them.
#[derive(Default)]
struct Choices {
    taken: Vec<(usize, usize)>,
    step: usize,
}

impl Choices {
    /// One of `ways`: as in the run before up to where that changes, from there on the first.
    fn among(&mut self, ways: usize) -> usize {
        if self.step == self.taken.len() {
            self.taken.push((0, ways));
        }
        let (way, of) = self.taken[self.step];
        assert_eq!(of, ways, "the same steps led to another world");
        self.step += 1;
        way
    }

    /// Goes on to the next run; false if that was the last.
    fn next(&mut self) -> bool {
        self.taken.truncate(self.step);
        self.step = 0;
        while let Some((way, of)) = self.taken.pop() {
            if way + 1 < of {
                self.taken.push((way + 1, of));
                return true;
            }
        }
        false
    }
}

/// Explores everything that can happen. Gives the number of worlds seen, or what was done and what is wrong then.
fn explore(cast: &[Intent], catalog: Catalog, troubles: u32) -> Result<usize, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut seen = HashSet::new();
    let mut choices = Choices::default();
    loop {
        let run = async {
            let mut world = World::new(cast, catalog, troubles).await;
            let mut steps = Vec::new();
            loop {
                world.settle().await;
                if let Err(wrong) = world.check() {
                    return Err(format!("{wrong} after {steps:?}"));
                }
                let ways = world.ways();
                // What is only replayed was seen by the run that it is taken from.
                let replayed = choices.step < choices.taken.len();
                if ways.is_empty() || !seen.insert(world.fingerprint()) && !replayed {
                    return Ok(());
                }
                let way = ways[choices.among(ways.len())];
                world.go(way);
                steps.push(way);
            }
        };
        runtime.block_on(run)?;
        if !choices.next() {
            return Ok(seen.len());
        }
    }
}

#[test]
fn nobody_believes_in_a_number_that_is_anothers() {
    use Intent::{Fence, Open};
    for (cast, troubles) in [
        (&[Open, Open, Open][..], 1),
        (&[Open, Open], 3),
        (&[Fence, Fence, Open], 1),
        (&[Fence, Fence], 3),
        // More than an appender has patience for.
        (&[Open], 6),
    ] {
        match explore(cast, Catalog::Sound, troubles) {
            Ok(worlds) => tell(&format!(
                "{worlds} worlds: {cast:?}, up to {troubles} troubles"
            )),
            Err(wrong) => panic!("{cast:?}: {wrong}"),
        }
    }
}

/// What a catalog promises is what the rest stands on.
#[test]
fn every_clause_of_the_catalogs_contract_is_needed() {
    for catalog in [Catalog::TellsTwo, Catalog::Overwrites, Catalog::ReadsLate] {
        match explore(&[Intent::Open, Intent::Fence], catalog, 1) {
            Ok(_) => panic!("{catalog:?} was not noticed: the model is too weak"),
            Err(wrong) => tell(&format!("{catalog:?}: {wrong}")),
        }
    }
}
