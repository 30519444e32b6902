//! Recognising zeroes at the speed of memory.

/// Zeroes are tested in strides of this many bytes: long enough for wide registers, short enough to leave data early.
const STRIDE: usize = 256;

/// Whether all `bytes` are zero. Data mostly betrays itself within the first stride.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    strides.iter().all(stride_is_zero) && rest.iter().all(|byte| *byte == 0)
}

/// The number of bytes at the front of `bytes` that make up whole zero blocks of `block` bytes; the last block may be short.
pub(super) fn zero_blocks(bytes: &[u8], block: usize) -> usize {
    bytes
        .chunks(block)
        .take_while(|block| is_zero(block))
        .map(<[u8]>::len)
        .sum()
}

#[inline]
fn stride_is_zero(stride: &[u8; STRIDE]) -> bool {
    let (words, _) = stride.as_chunks::<16>();
    // One OR over everything, with no branch in between, is what the compiler turns into vector instructions.
    words
        .iter()
        .fold(0, |or, word| or | u128::from_ne_bytes(*word))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_byte_is_found_wherever_it_is() {
        for length in [0, 1, 15, 255, 256, 257, 511, 4096, 4099] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes), "length {length}");
            for at in 0..length {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "length {length}, byte {at}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn zero_blocks_end_at_the_first_other_block() {
        let mut bytes = vec![0; 3 * 4096 + 5];
        assert_eq!(zero_blocks(&bytes, 4096), bytes.len());
        bytes[3 * 4096 + 4] = 1;
        assert_eq!(zero_blocks(&bytes, 4096), 3 * 4096);
        bytes[0] = 1;
        assert_eq!(zero_blocks(&bytes, 4096), 0);
    }
}
