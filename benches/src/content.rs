//! Bytes to work on that are made up.

/// The size of a file system's block.
pub const BLOCK: usize = 4096;

/// `size` bytes, the same each time: blocks as disks have them, in runs of 16: text, records of a table, bytes that do not compress, zeroes.
pub fn content(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 16 * BLOCK);
    let mut random = Random(1);
    while bytes.len() < size {
        let end = bytes.len() + 16 * BLOCK;
        match random.next() % 8 {
            0..3 => text(&mut bytes, end, &mut random),
            3..6 => table(&mut bytes, end, &mut random),
            6 => bytes.extend((0..2 * BLOCK).flat_map(|_| random.next().to_le_bytes())),
            _ => {}
        }
        bytes.resize(end, 0);
    }
    bytes.truncate(size);
    bytes
}

fn text(bytes: &mut Vec<u8>, end: usize, random: &mut Random) {
    const WORDS: [&str; 16] = [
        "the ", "disk", " of ", "a ", "server", "is ", "kept ", "where", "nobody", " looks", ", ",
        "until ", "it ", "fails", ".\n", "and ",
    ];
    while bytes.len() < end {
        // Words come as often as in a language: few often, most seldom.
        let (a, b) = (random.next() as usize % 16, random.next() as usize % 16);
        bytes.extend_from_slice(WORDS[a.min(b)].as_bytes());
        bytes.push(b'a' + (random.next() % 26) as u8);
    }
}

fn table(bytes: &mut Vec<u8>, end: usize, random: &mut Random) {
    let mut row = 0u32;
    while bytes.len() < end {
        row += 1;
        bytes.extend_from_slice(&row.to_le_bytes());
        bytes.extend_from_slice(&(random.next() % 1000).to_le_bytes());
        bytes.extend_from_slice(b"customer \0\0\0");
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
