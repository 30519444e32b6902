//! Where a segment is cut: the rule that [`Chunking`] documents.
//!
//! Runs of zero blocks that are long enough, or reach the segment's end, are holes, whatever lies around them. What lies between
//! holes is cut from left to right by the algorithm. Both are functions of the segment's bytes alone. Here they are evaluated on
//! whatever stretch of the segment is at hand: what cannot be decided yet is left over, to be offered again with more bytes.

use std::ops::Range;

use super::aligned::Aligned;
use super::fast_cdc::FastCdc;
use super::zeroes::{is_zero, zero_blocks};
use crate::format::{BLOCK, Chunking};

/// Cuts segments.
#[derive(Debug, Clone)]
pub(super) struct Cutter {
    algorithm: Algorithm,
    /// The zero grid in bytes.
    block: usize,
    /// The shortest hole in bytes, unless it reaches the segment's end.
    hole: usize,
    /// The longest chunk in bytes.
    max: usize,
}

#[derive(Debug, Clone)]
enum Algorithm {
    Fixed { size: usize },
    FastCdc(FastCdc),
    Aligned(Aligned),
}

/// What was cut: ranges of the bytes that were offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Zeroes. The next piece may be a hole too; the two are one.
    Hole(Range<usize>),
    /// A chunk.
    Chunk(Range<usize>),
}

/// What comes behind the bytes that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nobody knows yet.
    Unknown,
    /// The segment's end, or a run of zero blocks that is a hole by itself.
    End,
}

impl Cutter {
    /// For a chunking that was [checked](Chunking::check).
    pub(super) fn new(chunking: &Chunking) -> Self {
        let algorithm = match *chunking {
            Chunking::Fixed { size } => Algorithm::Fixed {
                size: size as usize,
            },
            Chunking::FastCdc { min, average, max } => {
                Algorithm::FastCdc(FastCdc::new(min, average, max))
            }
            Chunking::Aligned { min, average, max } => {
                Algorithm::Aligned(Aligned::new(min, average, max))
            }
        };
        Self {
            algorithm,
            block: chunking.block() as usize,
            hole: chunking.hole() as usize,
            max: chunking.max() as usize,
        }
    }

    /// The zero grid in bytes.
    pub(super) fn block(&self) -> u64 {
        self.block as u64
    }

    /// The zero grid as the length of a slice.
    pub(super) fn block_len(&self) -> usize {
        self.block
    }

    /// The shortest hole in bytes, unless it reaches the segment's end.
    pub(super) fn hole(&self) -> u64 {
        self.hole as u64
    }

    /// The most bytes that [`cut`](Self::cut) leaves undecided.
    pub(super) fn longest_rest(&self) -> usize {
        match self.algorithm {
            Algorithm::Fixed { .. } => 0,
            Algorithm::FastCdc(_) | Algorithm::Aligned(_) => {
                self.max + self.hole + 2 * BLOCK as usize
            }
        }
    }

    /// How many bytes behind its end a cut by the algorithm was chosen from.
    pub(super) fn peek(&self) -> u64 {
        match self.algorithm {
            Algorithm::FastCdc(_) => 1,
            Algorithm::Fixed { .. } | Algorithm::Aligned(_) => 0,
        }
    }

    /// How far behind a chunk's end a change may give the chunk another end, by making a hole that begins within it or
    /// right behind it.
    pub(super) fn look_ahead(&self) -> u64 {
        match self.algorithm {
            Algorithm::Fixed { .. } => 0,
            Algorithm::FastCdc(_) | Algorithm::Aligned(_) => (self.hole + BLOCK as usize) as u64,
        }
    }

    /// Whether a chunk can begin with a block that is all zero.
    pub(super) fn chunks_may_begin_with_zeroes(&self) -> bool {
        !matches!(self.algorithm, Algorithm::Fixed { .. })
    }

    /// Cuts `bytes`, which begin at an item's boundary `at` bytes into the segment, and end on the zero grid or with the
    /// segment. Answers how many bytes were decided; the rest is to be offered again, with more.
    ///
    /// `in_hole` says, before and after, whether the bytes are preceded by a hole that goes on with the zero blocks that follow.
    pub(super) fn cut(
        &self,
        at: u64,
        bytes: &[u8],
        then: Then,
        in_hole: &mut bool,
        mut emit: impl FnMut(Piece),
    ) -> usize {
        let mut decided = 0;
        loop {
            let rest = bytes.get(decided..).unwrap_or_default();
            if *in_hole {
                let zeroes = zero_blocks(rest, self.block);
                if zeroes > 0 {
                    emit(Piece::Hole(decided..decided + zeroes));
                    decided += zeroes;
                }
                if zeroes == rest.len() {
                    return decided;
                }
                *in_hole = false;
                continue;
            }
            if rest.is_empty() {
                return decided;
            }
            let stretch = self.stretch(at + decided as u64, rest, then);
            let end = decided + stretch.data;
            while decided < end {
                let data = bytes.get(decided..end).unwrap_or_default();
                let length = match self.find(data) {
                    Some(length) => length,
                    None if stretch.known => data.len(),
                    None => return decided,
                };
                emit(Piece::Chunk(decided..decided + length));
                decided += length;
            }
            if !stretch.known || decided == bytes.len() {
                return decided;
            }
            *in_hole = true;
        }
    }

    /// How far the data reaches that begins `bytes`.
    fn stretch(&self, at: u64, bytes: &[u8], then: Then) -> Stretch {
        let block = self.block as u64;
        let ahead = usize::try_from(at.next_multiple_of(block) - at).unwrap_or(usize::MAX);
        let mut position = ahead.min(bytes.len());
        let mut run = None;
        for block in bytes.get(position..).unwrap_or_default().chunks(self.block) {
            let begin = position;
            position += block.len();
            if is_zero(block) {
                let begin = *run.get_or_insert(begin);
                if position - begin >= self.hole {
                    return Stretch {
                        data: begin,
                        known: true,
                    };
                }
            } else {
                run = None;
            }
        }
        Stretch {
            data: run.unwrap_or(bytes.len()),
            known: then == Then::End,
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match &self.algorithm {
            Algorithm::Fixed { size } => (bytes.len() >= *size).then_some(*size),
            Algorithm::FastCdc(algorithm) => algorithm.find(bytes),
            Algorithm::Aligned(algorithm) => algorithm.find(bytes),
        }
    }
}

/// A stretch of data at the front of some bytes.
struct Stretch {
    /// Its length, as far as is known.
    data: usize,
    /// Whether it ends there: with the segment, or with a hole.
    known: bool,
}
