//! Checkpoints: the log folded up to some number, so that opening a repository need not read all of it.
//!
//! A checkpoint is an optimisation and may vanish. It is signed with the repository's key and names the hash of the last entry
//! that it covers, so the chain goes on from it.

use std::io::Read;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::fold::State;
use super::frame::{frame, unframe};
use super::names::CHECKPOINTS;
use super::sign::{Signer, Verifier, split_signature};
use crate::error::{Error, Kind, Result};

/// A checkpoint is written when the log has grown by this many entries, at least.
const EVERY: u64 = 64;

/// Of a large state one is written when the log has grown by one entry for this many things that the state lists: so what writing them costs an entry does not grow with the repository, and what is left
/// to read behind the newest stays small beside it.
const LISTED: usize = 256;

/// The largest state that is unpacked, as a guard against bytes that nobody vouches for: some ten million points.
const LARGEST: u64 = 4 << 30;

/// Whether a checkpoint is written of `state`, the last entry of which has this number.
pub(crate) fn is_due(number: u64, state: &State) -> bool {
    number.is_multiple_of(every(state.points.len() + state.packs.len()))
}

/// Entries from checkpoint to checkpoint of a state that lists so many things. A power of two, so that none is due later because the state has grown.
fn every(listed: usize) -> u64 {
    let entries = (listed / LISTED) as u64;
    entries.next_power_of_two().max(EVERY)
}

/// Where the checkpoint of the first `next` entries is.
pub(crate) fn location(next: u64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{next:020}"))
}

/// The number in a checkpoint's name.
pub(crate) fn number(location: &Path) -> Option<u64> {
    location
        .as_ref()
        .strip_prefix(CHECKPOINTS)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// The checkpoint's bytes.
pub(crate) fn encode(state: &State, signer: &Signer) -> Result<Vec<u8>> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Kind::Internal, "encode checkpoint", "it cannot be written").caused_by(e)
    };
    let json = serde_json::to_vec(state).map_err(|e| failed(e.into()))?;
    let packed = zstd::bulk::compress(&json, 3).map_err(|e| failed(e.into()))?;
    Ok(frame(&signer.append_signature(packed)))
}

/// Reads a checkpoint of the first `next` entries.
///
/// # Errors
/// [`Kind::Corrupt`] if it is damaged, or was not written by somebody who has the key.
pub(crate) fn decode(bytes: &[u8], next: u64, verifier: &Verifier) -> Result<State> {
    let damaged =
        |why: &'static str| Error::new(Kind::Corrupt, "read checkpoint", why).with("number", next);
    let payload = unframe(bytes, "checkpoint")?;
    let (packed, signature) =
        split_signature(payload).ok_or_else(|| damaged("it has no signature"))?;
    if !verifier.verify(packed, &signature) {
        return Err(damaged("its signature is not the repository's"));
    }
    let size = zstd::zstd_safe::get_frame_content_size(packed)
        .ok()
        .flatten()
        .filter(|size| *size <= LARGEST)
        .ok_or_else(|| damaged("it does not say its size"))?;
    // Room is made as bytes come, not for as many as it says.
    let mut json = Vec::new();
    zstd::stream::read::Decoder::with_buffer(packed)
        .and_then(|unpacked| unpacked.single_frame().take(size).read_to_end(&mut json))
        .map_err(|e| damaged("it cannot be decompressed").caused_by(e))?;
    let state: State = serde_json::from_slice(&json)
        .map_err(|e| damaged("it is not a state of the log").caused_by(e))?;
    if state.next != next {
        return Err(damaged("it covers other entries than its name says"));
    }
    Ok(state)
}

/// The newest checkpoint that can be read, if any. Damaged ones are passed over: the log has everything.
pub(crate) async fn newest(
    objects: &dyn ObjectStore,
    verifier: &Verifier,
) -> Result<Option<State>> {
    let prefix = Path::from(CHECKPOINTS);
    let listed: Vec<_> = objects
        .list(Some(&prefix))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await
        .map_err(|e| Error::object("list checkpoints", &prefix, e))?;
    let mut numbers: Vec<u64> = listed.iter().filter_map(number).collect();
    numbers.sort_unstable();
    for next in numbers.into_iter().rev() {
        let read = async { objects.get(&location(next)).await?.bytes().await }.await;
        let state = match read {
            Ok(bytes) => decode(&bytes, next, verifier),
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(e) => Err(Error::object("read checkpoint", &location(next), e)),
        };
        match state {
            Ok(state) => return Ok(Some(state)),
            Err(error) => tracing::warn!(%error, "passing over a checkpoint"),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_get_rarer_as_the_state_grows_and_none_comes_late() {
        assert_eq!(every(0), EVERY);
        assert_eq!(every(1_000_000), 4096);
        // So many entries, each of which adds a point, and the work of writing checkpoints of them.
        let (entries, mut last, mut written) = (1_000_000u64, 0, 0);
        for number in 0..entries {
            if number.is_multiple_of(every(usize::try_from(number).unwrap())) {
                written += number;
                last = number;
            }
            let behind = number - last;
            assert!(behind <= EVERY.max(number / LISTED as u64 * 3), "{behind}");
        }
        assert!(written < entries * LISTED as u64 * 2, "{written}");
    }
}
