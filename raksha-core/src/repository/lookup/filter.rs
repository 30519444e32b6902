//! A filter in memory that answers "surely not here".
//!
//! A split-block Bloom filter: Putze, Sanders, Singler, *Cache-, Hash- and Space-Efficient Bloom Filters*, 2007, in the form that
//! Apache Parquet's specification gives it. A name sets one bit in each of the eight words of one block of 32 bytes, so that a question costs one
//! cache line. With 10 bits a name, about 1.2 % of the questions for absent names are answered with "perhaps". Chunk ids are
//! keyed hashes, uniform and not to be foreseen, so two words of the id itself serve as its hash.

use crate::id::ChunkId;

/// Bits of filter a name.
const BITS: u64 = 10;

/// Odd constants that draw eight bit numbers from one word, as Parquet's specification lists them.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

type Block = [u32; 8];

/// A name, as every filter is asked for it.
pub(super) struct Probe {
    /// Which block: its number, as a share of all blocks.
    place: u32,
    /// The bit in each word of the block.
    mask: Block,
}

impl Probe {
    pub(super) fn of(id: &ChunkId) -> Self {
        // Not the first eight bytes: those order the names.
        let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
        let key = u32::from_le_bytes([e, f, g, h]);
        Self {
            place: u32::from_le_bytes([a, b, c, d]),
            mask: SALTS.map(|salt| 1 << (key.wrapping_mul(salt) >> 27)),
        }
    }
}

/// The filter over the names of one run.
pub(super) struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty one, for `names` names.
    pub(super) fn new(names: u64) -> Self {
        let blocks = (names * BITS).div_ceil(256).clamp(1, u64::from(u32::MAX));
        Self {
            blocks: vec![[0; 8]; usize::try_from(blocks).unwrap_or(usize::MAX)],
        }
    }

    /// Adds a name.
    pub(super) fn insert(&mut self, id: &ChunkId) {
        let probe = Probe::of(id);
        let place = self.place(&probe);
        if let Some(block) = self.blocks.get_mut(place) {
            for (word, bit) in block.iter_mut().zip(probe.mask) {
                *word |= bit;
            }
        }
    }

    /// Whether the name may have been added; surely not, if this says no.
    pub(super) fn may_hold(&self, probe: &Probe) -> bool {
        self.blocks.get(self.place(probe)).is_none_or(|block| {
            let missing = block
                .iter()
                .zip(probe.mask)
                .fold(0, |m, (word, bit)| m | (bit & !word));
            missing == 0
        })
    }

    /// The bytes of memory that it takes.
    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn size(&self) -> u64 {
        self.blocks.len() as u64 * 32
    }

    fn place(&self, probe: &Probe) -> usize {
        let block = u64::from(probe.place) * self.blocks.len() as u64;
        usize::try_from(block >> 32).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> ChunkId {
        ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    #[test]
    fn it_never_denies_what_it_holds_and_rarely_suspects_more() {
        let mut filter = Filter::new(20_000);
        for n in 0..20_000 {
            filter.insert(&id(n));
        }
        assert!((0..20_000).all(|n| filter.may_hold(&Probe::of(&id(n)))));
        let wrong = (20_000..40_000)
            .filter(|n| filter.may_hold(&Probe::of(&id(*n))))
            .count();
        assert!(wrong < 320, "{wrong} of 20000");
        assert!(filter.size() * 8 < 20_000 * BITS + 512);
        assert!(!Filter::new(0).may_hold(&Probe::of(&id(1))));
    }
}
