//! What every chunk store must do, as a suite to run against an implementation.
#![allow(clippy::panic)] // a suite reports by panicking

use bytes::Bytes;
use futures_util::future::join_all;

use super::Seeded;
use crate::error::{Kind, Result};
use crate::id::ChunkId;
use crate::store::{Chunk, ChunkStore, Role, Stored};

/// Runs the whole suite against `store`, with chunks that `seed` makes and that it must not hold yet.
///
/// # Errors
/// Those of the store, where none is to be expected.
///
/// # Panics
/// If the store breaks its contract; the message says how.
pub async fn check_chunk_store(store: &dyn ChunkStore, seed: u64) -> Result<()> {
    let mut seeded = Seeded::new(seed);
    let chunks: Vec<Chunk> = (0..24)
        .map(|n| {
            let length = 1 + usize::try_from(seeded.below(40_000)).unwrap_or(0);
            // Some compress, some do not.
            let bytes = match n % 3 {
                0 => seeded.bytes(16).repeat(length.div_ceil(16)),
                _ => seeded.bytes(length),
            };
            let id = store.namer().name(&bytes);
            let bytes = Bytes::from(bytes);
            Chunk { id, bytes }
        })
        .collect();
    let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    nothing_comes_from_nowhere(store, &ids).await?;
    what_is_put_is_stored_once(store, &chunks).await?;
    what_is_put_comes_back(store, &chunks).await?;
    store.flush().await?;
    what_is_put_comes_back(store, &chunks).await?;
    store.flush().await?;
    many_at_once_store_it_once(store, &mut seeded).await
}

async fn nothing_comes_from_nowhere(store: &dyn ChunkStore, ids: &[ChunkId]) -> Result<()> {
    let empty = store.get(&[]).await?;
    assert!(
        empty.is_empty(),
        "nothing was asked for, and something given"
    );
    let put = store.put(Role::Data, Vec::new()).await?;
    assert!(put.is_empty(), "nothing was put, and something answered");
    match store.get(ids).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let text = error.to_string();
            let named = ids.iter().any(|id| text.contains(&id.to_string()));
            assert!(
                named,
                "the error does not name the chunk that is nowhere: {text}"
            );
        }
        other => panic!("chunks that were never put are not NotFound: {other:?}"),
    }
    Ok(())
}

fn new(answers: &[Stored]) -> usize {
    let new = answers.iter().filter(|a| matches!(a, Stored::New { .. }));
    new.count()
}

async fn what_is_put_is_stored_once(store: &dyn ChunkStore, chunks: &[Chunk]) -> Result<()> {
    let (data, tree) = chunks.split_at(chunks.len() / 2);
    for (role, some) in [(Role::Data, data), (Role::Tree, tree)] {
        // Each twice in one call: one of the two is new.
        let twice = some.iter().flat_map(|c| [c.clone(), c.clone()]).collect();
        let answers = store.put(role, twice).await?;
        assert_eq!(answers.len(), some.len() * 2, "one answer a chunk");
        for (chunk, pair) in some.iter().zip(answers.chunks(2)) {
            assert_eq!(new(pair), 1, "of {} put twice, one is new", chunk.id);
        }
        let again = store.put(role, some.to_vec()).await?;
        assert_eq!(new(&again), 0, "what is known is not stored again");
    }
    Ok(())
}

async fn what_is_put_comes_back(store: &dyn ChunkStore, chunks: &[Chunk]) -> Result<()> {
    // In any order, and as often as it is asked for.
    let order = chunks.iter().rev().chain(chunks.iter().take(5));
    let ids: Vec<ChunkId> = order.clone().map(|chunk| chunk.id).collect();
    let got = store.get(&ids).await?;
    assert_eq!(got.len(), ids.len(), "one chunk for each name");
    for (chunk, bytes) in order.zip(got) {
        assert!(chunk.bytes == bytes, "{} came back different", chunk.id);
    }
    Ok(())
}

async fn many_at_once_store_it_once(store: &dyn ChunkStore, seeded: &mut Seeded) -> Result<()> {
    let bytes = Bytes::from(seeded.bytes(5000));
    let id = store.namer().name(&bytes);
    let puts = (0..8).map(|_| {
        let chunk = Chunk {
            id,
            bytes: bytes.clone(),
        };
        store.put(Role::Data, vec![chunk])
    });
    let mut stored = 0;
    for answers in join_all(puts).await {
        stored += new(&answers?);
    }
    assert_eq!(
        stored, 1,
        "of many who put the same chunk at once, one stores it"
    );
    store.flush().await
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn chunks_in_memory_keep_the_contract() {
        let store = crate::testkit::MemoryChunks::new([1; 32]);
        super::check_chunk_store(&store, 1).await.unwrap();
    }
}
