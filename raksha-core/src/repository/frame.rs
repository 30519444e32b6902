//! Small text objects that carry their own checksum.
//!
//! Packs and indexes are named by the hash of their bytes. The few objects that have a meaningful name instead (`raksha.json`,
//! `keys/…`, `log/…`, `checkpoint/…`) end with a line that says `blake3` and the hash of everything before that line, so that
//! anyone can check them too, without any key, with `head -n -1` and `b3sum`.

use crate::error::{Error, Kind, Result};

const LABEL: &[u8] = b"\nblake3 ";
const DIGITS: usize = 64;
/// Label, digits and the closing line break.
const TRAILER: usize = LABEL.len() + DIGITS + 1;

/// `payload` with its checksum line.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(payload.len() + TRAILER);
    framed.extend_from_slice(payload);
    framed.extend_from_slice(&trailer(payload));
    framed
}

/// The payload of the framed object `what`.
///
/// # Errors
/// [`Kind::Corrupt`] if the bytes are not exactly what [`frame`] makes of some payload.
pub(crate) fn unframe<'a>(framed: &'a [u8], what: &str) -> Result<&'a [u8]> {
    let split = framed
        .len()
        .checked_sub(TRAILER)
        .and_then(|at| framed.split_at_checked(at));
    match split {
        Some((payload, found)) if found == trailer(payload) => Ok(payload),
        Some(_) => Err(damaged("its bytes do not fit its checksum", what)),
        None => Err(damaged("it is truncated", what)),
    }
}

fn trailer(payload: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(TRAILER);
    line.extend_from_slice(LABEL);
    line.extend_from_slice(blake3::hash(payload).to_hex().as_bytes());
    line.push(b'\n');
    line
}

fn damaged(reason: &str, what: &str) -> Error {
    Error::new(Kind::Corrupt, "read object", reason).with("object", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        for payload in [&b""[..], b"{\"format\":1}"] {
            let framed = frame(payload);
            assert_eq!(unframe(&framed, "it").unwrap(), payload);
            for at in 0..framed.len() {
                for bit in 0..8 {
                    let mut flipped = framed.clone();
                    flipped[at] ^= 1 << bit;
                    let error = unframe(&flipped, "it").unwrap_err();
                    assert_eq!(error.kind(), Kind::Corrupt);
                }
                assert!(unframe(&framed[..at], "it").is_err());
            }
            assert!(unframe(&[&framed[..], b"\n"].concat(), "it").is_err());
        }
    }
}
