mod levels;
mod target;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use object_store::ObjectStoreExt;
use zeroize::Zeroizing;

use target::Target;

use super::*;
use crate::repository::compress::Compression;
use crate::repository::fetch::Fetcher;
use crate::repository::index::IndexObject;
use crate::repository::pack::Directory;
use crate::repository::seal::{Cipher, Sealing};
use crate::repository::seeded::Seeded;
use crate::store::ChunkNamer;

/// Remembers what was published.
struct Published {
    lookup: Arc<Lookup>,
    batches: Mutex<Vec<(IndexObject, Vec<UploadedPack>)>>,
    failing: AtomicBool,
}

#[async_trait]
impl Publish for Published {
    async fn publish(&self, index: IndexObject, packs: &[UploadedPack]) -> Result<()> {
        tokio::task::yield_now().await;
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Fenced, "publish", "told to fail"));
        }
        self.batches
            .lock()
            .unwrap()
            .push((index.clone(), packs.to_vec()));
        self.lookup.add(vec![index])
    }
}

struct World {
    target: Arc<Target>,
    published: Arc<Published>,
    lookup: Arc<Lookup>,
    packer: Packer,
    fetcher: Fetcher,
}

const KIB: u64 = 1 << 10;

/// A packer with packs of 64 KiB and room for `budget` bytes.
fn world(budget: u64, cipher: Cipher) -> World {
    world_in(Env::system(), budget, cipher)
}

fn world_in(env: Env, budget: u64, cipher: Cipher) -> World {
    let sealing = Sealing::new(cipher, Zeroizing::new([1; 32]));
    let namer = ChunkNamer::new([2; 32]);
    let records = Arc::new(Records::new(sealing, Compression::default(), namer));
    let lookup = Arc::new(Lookup::new(1 << 20, None).unwrap());
    let target = Arc::<Target>::default();
    let published = Arc::new(Published {
        lookup: Arc::clone(&lookup),
        batches: Mutex::default(),
        failing: AtomicBool::default(),
    });
    let options = Options {
        pack_size: 64 * KIB,
        open_packs: 3,
        uploads: 4,
        publish_bytes: 300 * KIB,
        ..Options::new(SessionId(7))
    };
    let packer = Packer::new(
        Arc::clone(&target) as _,
        Arc::clone(&lookup),
        Arc::clone(&records),
        Arc::clone(&published) as _,
        env.clone(),
        Budget::new(budget),
        options,
    );
    let fetcher = Fetcher::new(
        Arc::clone(&target) as _,
        Arc::clone(&lookup),
        records,
        env,
        Budget::new(1 << 20),
    );
    World {
        target,
        published,
        lookup,
        packer,
        fetcher,
    }
}

impl World {
    fn chunk(&self, bytes: Vec<u8>) -> Chunk {
        let id = ChunkNamer::new([2; 32]).name(&bytes);
        let bytes = Bytes::from(bytes);
        Chunk { id, bytes }
    }

    /// A chunk of that number, always the same: some compress, some do not.
    fn numbered(&self, n: u64) -> Chunk {
        let mut random = Seeded::quiet(n);
        let length = usize::try_from(1 + random.below(20_000)).unwrap();
        let part = random.bytes(if n.is_multiple_of(2) {
            length
        } else {
            1 + length / 20
        });
        self.chunk(part.iter().copied().cycle().take(length).collect())
    }

    fn packs(&self) -> Vec<UploadedPack> {
        let batches = self.published.batches.lock().unwrap();
        batches
            .iter()
            .flat_map(|(_, packs)| packs.clone())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_by_many_at_once_is_stored_once_and_comes_back() {
    for (seed, cipher) in [
        (1, Cipher::Aes256Gcm),
        (2, Cipher::None),
        (3, Cipher::Aes256Gcm),
    ] {
        let world = &world(1 << 20, cipher);
        let new = AtomicU64::new(0);
        let tasks = (0..8).map(|task| {
            let new = &new;
            async move {
                let mut random = Seeded::new(seed * 100 + task);
                for round in 0..10 {
                    let chunks: Vec<_> = (0..random.below(12))
                        .map(|_| world.numbered(random.below(150)))
                        .collect();
                    let role = if task == 0 { Role::Tree } else { Role::Data };
                    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
                    let answers = world.packer.put(role, chunks.clone()).await.unwrap();
                    assert_eq!(answers.len(), chunks.len());
                    let stored = answers.iter().filter(|a| matches!(a, Stored::New { .. }));
                    new.fetch_add(stored.count() as u64, Ordering::SeqCst);
                    // What was put can be had at once, in whatever state it is.
                    let got = world.fetcher.get(&ids, Some(&world.packer)).await.unwrap();
                    assert!(got.iter().eq(chunks.iter().map(|chunk| &chunk.bytes)));
                    if round == 4 && task < 3 {
                        world.packer.flush().await.unwrap();
                        let got = world.fetcher.get(&ids, None).await.unwrap();
                        assert!(got.iter().eq(chunks.iter().map(|chunk| &chunk.bytes)));
                    }
                }
            }
        });
        join_all(tasks).await;
        world.packer.flush().await.unwrap();
        world.packer.flush().await.unwrap();

        // Everything is published, and every chunk once.
        let mut listed = HashMap::new();
        for up in world.packs() {
            let object = world
                .target
                .get(
                    &up.pack
                        .name
                        .location(crate::repository::names::ObjectKind::Pack),
                )
                .await
                .unwrap();
            let bytes = object.bytes().await.unwrap();
            let directory = Directory::of_pack(&bytes).unwrap();
            assert_eq!(
                (directory.role, &directory.entries),
                (up.pack.role, &up.entries)
            );
            assert_eq!(crate::repository::pack::hash(&bytes), up.pack.name.hash);
            let length = bytes.len() as u64;
            assert_eq!(length, up.pack.length);
            for entry in directory.entries {
                assert!(
                    listed.insert(entry.id, up.pack.name).is_none(),
                    "stored twice"
                );
            }
        }
        assert_eq!(listed.len() as u64, new.load(Ordering::SeqCst));
        assert_eq!(listed.len() as u64, world.lookup.view().len());
        assert!(world.target.largest.load(Ordering::SeqCst) <= 64 * KIB);
        assert!(world.target.most.load(Ordering::SeqCst) <= 4);

        // Order and repetition are the caller's.
        let ids: Vec<_> = listed.keys().flat_map(|id| [*id, *id]).collect();
        let got = world.fetcher.get(&ids, None).await.unwrap();
        let namer = ChunkNamer::new([2; 32]);
        assert!(got.iter().map(|bytes| namer.name(bytes)).eq(ids));
        let known = world.numbered(listed.len() as u64 + 1000);
        let nowhere = world.fetcher.get(&[known.id], None).await.unwrap_err();
        assert_eq!(nowhere.kind(), Kind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_never_gets_stuck_in_a_small_budget() {
    for _ in 0..10 {
        // Room for four packs of 16 KiB: many chunks are larger than that.
        let world = &world(64 * KIB, Cipher::Aes256Gcm);
        put_from_all_sides(world).await;
        assert!(world.target.largest.load(Ordering::SeqCst) > 300_000);
    }
}

async fn put_from_all_sides(world: &World) {
    let tasks = (0..6).map(|task| async move {
        for n in 0..30 {
            let role = if n % 3 == 0 { Role::Tree } else { Role::Data };
            let chunks = vec![world.numbered(task * 1000 + n), world.numbered(n)];
            world.packer.put(role, chunks).await.unwrap();
        }
        let large = Seeded::new(task).bytes(300_000);
        world
            .packer
            .put(Role::Data, vec![world.chunk(large)])
            .await
            .unwrap();
        world.packer.flush().await.unwrap();
    });
    let all = join_all(tasks);
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(60), all);
    in_time.await.expect("it is stuck");
}

#[tokio::test]
async fn an_upload_that_fails_is_told_to_everyone() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    world
        .packer
        .put(Role::Data, vec![world.numbered(1)])
        .await
        .unwrap();
    world.packer.flush().await.unwrap();
    world.target.failing.store(true, Ordering::SeqCst);
    let put = world.packer.put(Role::Data, vec![world.numbered(2)]).await;
    assert!(matches!(put.unwrap()[..], [Stored::New { .. }]));
    let error = world.packer.flush().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("told to fail"), "{error}");
    world.target.failing.store(false, Ordering::SeqCst);
    assert_eq!(world.packer.flush().await.unwrap_err().kind(), Kind::Denied);
    // Its claim must not make anyone believe that it is stored.
    let again = world.packer.put(Role::Data, vec![world.numbered(2)]).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Denied);
    assert_eq!(world.packs().len(), 1);
}

#[tokio::test]
async fn a_publication_that_fails_is_told_to_everyone() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    world.published.failing.store(true, Ordering::SeqCst);
    world
        .packer
        .put(Role::Tree, vec![world.numbered(2)])
        .await
        .unwrap();
    let flushed = world.packer.flush().await;
    assert_eq!(flushed.unwrap_err().kind(), Kind::Fenced);
    assert_eq!(world.packer.flush().await.unwrap_err().kind(), Kind::Fenced);
    assert_eq!(world.lookup.view().len(), 0);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_no_failure() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    world.target.lost_answers.store(true, Ordering::SeqCst);
    let chunk = world.numbered(1);
    world
        .packer
        .put(Role::Data, vec![chunk.clone()])
        .await
        .unwrap();
    world.packer.flush().await.unwrap();
    let got = world.fetcher.get(&[chunk.id], None).await.unwrap();
    assert_eq!(got, [chunk.bytes]);
}

#[tokio::test]
async fn a_put_that_nobody_waits_for_leaves_nothing_half_done() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    let chunks: Vec<_> = (0..50).map(|n| world.numbered(n)).collect();
    {
        let put = world.packer.put(Role::Data, chunks.clone());
        let mut put = Box::pin(put);
        // Begun, and then dropped.
        assert!(futures_util::poll!(&mut put).is_pending());
    }
    world.packer.put(Role::Data, chunks.clone()).await.unwrap();
    world.packer.flush().await.unwrap();
    assert_eq!(world.lookup.view().len(), 50);
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    let got = world.fetcher.get(&ids, None).await.unwrap();
    assert!(got.iter().eq(chunks.iter().map(|chunk| &chunk.bytes)));
}

#[tokio::test]
async fn damage_names_pack_and_chunk_and_another_copy_helps() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    let chunks: Vec<_> = (0..20).map(|n| world.numbered(n)).collect();
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    world.packer.put(Role::Data, chunks.clone()).await.unwrap();
    world.packer.flush().await.unwrap();
    let place = world.lookup.locate(&ids[3]).unwrap().unwrap().place;
    let location = place
        .pack
        .location(crate::repository::names::ObjectKind::Pack);
    let whole = world
        .target
        .get(&location)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let record = |place: &crate::repository::lookup::Place| {
        whole.slice(place.offset as usize..(place.offset + place.length) as usize)
    };
    let kept = record(&place);

    let mut flipped = whole.to_vec();
    flipped[place.offset as usize + 30] ^= 1;
    world
        .target
        .inside
        .put(&location, flipped.into())
        .await
        .unwrap();
    let error = world.fetcher.get(&ids, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let text = error.to_string();
    assert!(
        text.contains(&ids[3].to_string()) && text.contains(&place.pack.to_string()),
        "{text}"
    );

    // Cut off within the record, and before it.
    for length in [20, place.offset as usize + 30] {
        let truncated = whole.slice(..length);
        let put = world.target.inside.put(&location, truncated.into());
        put.await.unwrap();
        let error = world.fetcher.get(&ids[3..4], None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
    // What lies before the cut can still be had.
    let before = ids.iter().zip(&chunks).filter(|(id, _)| {
        let other = world.lookup.locate(id).unwrap().unwrap().place;
        other.pack == place.pack && other.offset < place.offset
    });
    for (id, chunk) in before {
        let got = world.fetcher.get(&[*id], None).await.unwrap();
        assert_eq!(got, std::slice::from_ref(&chunk.bytes));
    }

    world.target.inside.delete(&location).await.unwrap();
    let error = world.fetcher.get(&ids, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(
        error.to_string().contains(&place.pack.to_string()),
        "{error}"
    );

    // A record is the same in any pack.
    world
        .packer
        .copy(Role::Data, vec![(ids[3], kept)])
        .await
        .unwrap();
    world.packer.flush().await.unwrap();
    let got = world.fetcher.get(&ids[3..4], None).await.unwrap();
    assert_eq!(got, [chunks[3].bytes.clone()]);
    world.lookup.retire(&[place.pack]);
    let found = world.lookup.locate(&ids[3]).unwrap().unwrap();
    assert_ne!(found.place.pack, place.pack);
}

#[tokio::test]
async fn bad_input_is_refused_without_harm() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    let large = world.chunk(vec![0; largest(Role::Data) + 1]);
    let put = world.packer.put(Role::Data, vec![large]).await;
    assert_eq!(put.unwrap_err().kind(), Kind::Invalid);
    assert!(
        world
            .packer
            .put(Role::Data, Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
    world.packer.flush().await.unwrap();
    assert!(world.packs().is_empty());
    // A wrong name would spoil the store for everyone: it ends the session.
    let mut misnamed = world.numbered(1);
    misnamed.id = ChunkId::from_bytes([1; 32]);
    let put = world.packer.put(Role::Data, vec![misnamed]).await;
    assert_eq!(put.unwrap_err().kind(), Kind::Internal);
    assert!(world.packer.flush().await.is_err());
}

#[tokio::test]
async fn what_was_uploaded_is_published_before_anyone_flushes() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    for n in 0..8 {
        let chunk = world.chunk(Seeded::quiet(n).bytes(60_000));
        world.packer.put(Role::Data, vec![chunk]).await.unwrap();
    }
    let published = async {
        while world.packs().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(20), published);
    in_time.await.expect("nothing is published");
    let bytes: u64 = world.packs().iter().map(|up| up.pack.length).sum();
    assert!((300 * KIB..400 * KIB).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn what_is_published_between_looking_and_claiming_is_not_stored_again() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    let shipping = &world.packer.0.shipping;
    let (known, new) = (world.numbered(1), world.numbered(2));
    let items = [&known, &new].into_iter().enumerate();
    let items = items.map(|(position, chunk)| Item {
        position,
        id: chunk.id,
        content: Content::Chunk(chunk.bytes.clone()),
    });
    let absent = shipping.not_found(items.collect()).unwrap();
    assert_eq!(absent.len(), 2, "nobody has stored anything yet");
    // Here somebody else stores one of them and publishes it, and its claim goes.
    let put = world.packer.put(Role::Data, vec![known.clone()]);
    put.await.unwrap();
    world.packer.flush().await.unwrap();
    let wanted = shipping.claim_unknown(absent).unwrap();
    let wanted: Vec<_> = wanted.iter().map(|item| item.id).collect();
    assert_eq!(wanted, [new.id]);
    // The claim on the one that is stored does not stay either: it would keep others waiting for nothing.
    let held = shipping.held(&[known.id, new.id]);
    assert!(matches!(held[..], [None, Some(Held::Claimed)]), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn giving_up_waits_for_no_upload() {
    let world = world(1 << 20, Cipher::Aes256Gcm);
    world.target.stuck.store(true, Ordering::SeqCst);
    for n in 0..40 {
        let chunk = world.chunk(Seeded::quiet(n).bytes(10_000));
        world.packer.put(Role::Data, vec![chunk]).await.unwrap();
    }
    let flush = world.packer.clone();
    let flush = tokio::spawn(async move { flush.flush().await });
    let hour = std::time::Duration::from_secs(3600);
    tokio::time::sleep(hour).await;
    assert!(!flush.is_finished(), "the target answers nothing");
    let given_up = tokio::time::timeout(hour, world.packer.abandon()).await;
    given_up.expect("it waits for uploads");
    assert_eq!(flush.await.unwrap().unwrap_err().kind(), Kind::Cancelled);
    let put = world.packer.put(Role::Data, vec![world.numbered(1)]).await;
    assert_eq!(put.unwrap_err().kind(), Kind::Cancelled);
    let budget = &world.packer.0.budget;
    assert_eq!(
        budget.available(),
        budget.total(),
        "all memory is free again"
    );
}
