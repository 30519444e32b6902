//! What is new about an input: an answer that never came before, or, in a program that counts it (see `tests/fuzz`), code that was never reached before, or
//! never so often.

use std::collections::HashSet;

/// What one input did: which answer came of it, and which code it reached how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reached {
    answer: String,
    edges: Edges,
}

impl Reached {
    pub(super) fn new(answer: String, edges: Edges) -> Self {
        Self { answer, edges }
    }

    /// Adds to a trace what an input did.
    pub(super) fn trace(&self, trace: &mut blake3::Hasher) {
        trace.update(self.answer.as_bytes());
        for (edge, often) in &self.edges {
            trace.update(&edge.to_le_bytes());
            trace.update(&[*often]);
        }
    }
}

/// Edges of the flow of control, and a bit that says how often each was passed: 1, 2, 3, 4-7, 8-15, 16-31, 32-127 times, or more.
pub(super) type Edges = Vec<(usize, u8)>;

/// What was compared with what: another input that the parser might have liked better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) had: u64,
    pub(super) wanted: u64,
    pub(super) width: usize,
}

/// Whether this program counts which code is reached.
pub(super) fn counts() -> bool {
    #[cfg(raksha_coverage)]
    return raksha_coverage::edges() > 0;
    #[cfg(not(raksha_coverage))]
    false
}

/// Begins to count.
pub(super) fn begin() {
    #[cfg(raksha_coverage)]
    raksha_coverage::clear();
}

/// Ends to count: what was reached since [`begin`].
pub(super) fn end() -> Edges {
    #[cfg(raksha_coverage)]
    {
        let mut edges = Vec::new();
        raksha_coverage::reached(|edge, count| edges.push((edge, often(count))));
        edges
    }
    #[cfg(not(raksha_coverage))]
    Vec::new()
}

/// What was compared between [`begin`] and [`end`].
pub(super) fn compared() -> Vec<Wanted> {
    #[cfg(raksha_coverage)]
    {
        let both = |c: raksha_coverage::Compared| {
            let width = usize::try_from(c.width).unwrap_or(8);
            [(c.one, c.other), (c.other, c.one)].map(|(had, wanted)| Wanted { had, wanted, width })
        };
        raksha_coverage::compared().flat_map(both).collect()
    }
    #[cfg(not(raksha_coverage))]
    Vec::new()
}

#[cfg(raksha_coverage)]
fn often(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}

/// What all inputs so far did.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    answers: HashSet<String>,
    edges: Vec<u8>,
    reached: usize,
}

impl Seen {
    /// Whether an input did something new. With `answers_alone`, only an answer is.
    pub(super) fn is_new(&mut self, reached: &Reached, answers_alone: bool) -> bool {
        let mut new = false;
        for (edge, often) in &reached.edges {
            if self.edges.len() <= *edge {
                self.edges.resize(edge + 1, 0);
            }
            if let Some(seen) = self.edges.get_mut(*edge) {
                self.reached += usize::from(*seen == 0);
                new |= *seen & often == 0;
                *seen |= often;
            }
        }
        let answer = self.answers.insert(reached.answer.clone());
        answer || new && !answers_alone
    }

    /// How many different answers came.
    pub(super) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// How many edges were reached.
    pub(super) fn edges(&self) -> usize {
        self.reached
    }

    /// How many edges and answers an input would add.
    pub(super) fn missing(&self, reached: &Reached) -> usize {
        let unseen = |edge: &usize| self.edges.get(*edge).is_none_or(|seen| *seen == 0);
        let edges = reached.edges.iter().map(|(edge, _)| edge);
        edges.filter(|edge| unseen(edge)).count()
            + usize::from(!self.answers.contains(&reached.answer))
    }
}
