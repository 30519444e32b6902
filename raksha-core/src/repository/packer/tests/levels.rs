//! How hard is compressed, by how fast the target is.

use super::*;
use crate::env::Compute;

/// Small packs, and everything on one thread: the same each time.
fn alone() -> World {
    let env = Env::system().with_compute(Compute::Inline);
    world_in(env, 1 << 20, Cipher::Aes256Gcm)
}

/// Text of 16 000 bytes, of that number, which shrinks the more the harder one tries.
fn text(world: &World, n: u64) -> Chunk {
    let mut random = Seeded::quiet(n);
    let mut bytes = Vec::new();
    while bytes.len() < 16_000 {
        let word = random.below(400) * random.below(400);
        bytes.extend_from_slice(format!("{word:x} ").as_bytes());
    }
    bytes.truncate(16_000);
    world.chunk(bytes)
}

/// Stores so many texts while the target takes so long to answer; says at which levels, and what they took.
async fn store(
    world: &World,
    numbers: std::ops::Range<u64>,
    delay: u64,
    chunks: &mut Vec<Chunk>,
) -> (Vec<i32>, u64) {
    world.target.delay.store(delay, Ordering::SeqCst);
    let (mut levels, mut bytes) = (Vec::new(), 0);
    for n in numbers {
        let chunk = text(world, n);
        chunks.push(chunk.clone());
        let stored = world.packer.put(Role::Data, vec![chunk]).await.unwrap();
        let Stored::New { stored_bytes } = stored[0] else {
            panic!("it is new");
        };
        bytes = stored_bytes;
        let level = world.packer.0.level.now().unwrap();
        if levels.last() != Some(&level) {
            levels.push(level);
        }
    }
    (levels, bytes)
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_gets_more_a_fast_one_less_and_all_comes_back() {
    let world = alone();
    let mut chunks = Vec::new();
    let (rising, small) = store(&world, 0..400, 60_000, &mut chunks).await;
    // Through every level, one step at a time, and no further.
    assert_eq!(rising, [1, 2, 3, 4, 5, 6]);
    let (falling, large) = store(&world, 400..800, 0, &mut chunks).await;
    assert_eq!(falling, [6, 5, 4, 3, 2, 1, -1]);
    // Texts are much alike: what differs is the level.
    assert!(small * 20 < large * 19, "{small} {large}");

    world.packer.flush().await.unwrap();
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    let got = world.fetcher.get(&ids, None).await.unwrap();
    assert!(got.iter().eq(chunks.iter().map(|chunk| &chunk.bytes)));
}

#[tokio::test(start_paused = true)]
async fn one_slow_answer_does_not_swing_it() {
    let world = alone();
    let mut chunks = Vec::new();
    let (falling, _) = store(&world, 0..100, 0, &mut chunks).await;
    assert_eq!(falling, [1, -1]);
    // A few packs, of which each takes an hour: there are buffers to go on meanwhile.
    let (slow, _) = store(&world, 100..120, 3_600_000, &mut chunks).await;
    assert_eq!(slow, [-1]);
    world.packer.flush().await.unwrap();
}
