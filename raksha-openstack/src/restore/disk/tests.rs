//! Disks as qcow2 images: qemu itself says whether they are what they shall be.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures_util::TryStreamExt;
use raksha_core::Kind;
use raksha_core::env::Env;
use raksha_core::testkit::Seeded;

use super::bitmap::Bitmap;
use super::qcow2::{CLUSTER, Layout};
use super::spool::Spool;

fn qemu_img(arguments: &[&str]) {
    let done = Command::new("qemu-img")
        .args(arguments)
        .output()
        .expect("qemu-img, the oracle of this test, must be installed");
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

/// Writes `pieces` (zeroes elsewhere), makes the image in `folder`, and has qemu read it back.
async fn round_trip(folder: &Path, size: usize, pieces: &[(usize, Vec<u8>)]) -> (Vec<u8>, u64) {
    let spool = Spool::new(&Env::system(), folder, size as u64).unwrap();
    let mut at = 0;
    for (offset, data) in pieces {
        spool.write_zeroes(at as u64..*offset as u64).unwrap();
        spool
            .write_at(*offset as u64, Bytes::from(data.clone()))
            .await
            .unwrap();
        at = offset + data.len();
    }
    assert_eq!(spool.check_whole().is_ok(), at == size);
    spool.write_zeroes(at as u64..size as u64).unwrap();
    spool.check_whole().unwrap();

    let (length, stream) = spool.image();
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    let (image, raw) = (folder.join("image"), folder.join("raw"));
    let mut file = std::fs::File::create(&image).unwrap();
    for part in &bytes {
        file.write_all(part).unwrap();
    }
    assert_eq!(
        file.metadata().unwrap().len(),
        length,
        "its length is told before"
    );
    let (image, raw) = (image.to_str().unwrap(), raw.to_str().unwrap());
    qemu_img(&["check", "-f", "qcow2", image]);
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", image, raw]);
    (std::fs::read(raw).unwrap(), length)
}

#[tokio::test]
async fn qemu_reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        let mut random = Seeded::new(seed);
        let size = 512 * (1 + usize::try_from(random.below(30_000)).unwrap());
        let mut expected = vec![0; size];
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < size {
            let gap = usize::try_from(random.below(900_000)).unwrap();
            let length = usize::try_from(1 + random.below(400_000)).unwrap();
            let (from, to) = ((at + gap).min(size), (at + gap + length).min(size));
            let data = random.bytes(to - from);
            expected[from..to].copy_from_slice(&data);
            pieces.push((from, data));
            at = to;
        }
        let (back, length) = round_trip(folder.path(), size, &pieces).await;
        assert!(back == expected, "seed {seed}");
        assert!(
            length < size as u64 + 8 * CLUSTER,
            "seed {seed}: holes are left out"
        );
    }
}

#[tokio::test]
async fn an_empty_disk_is_a_small_image() {
    let folder = tempfile::tempdir().unwrap();
    let (back, length) = round_trip(folder.path(), 1 << 28, &[(4096, vec![0; 100_000])]).await;
    assert!(back.len() == 1 << 28 && back.iter().all(|byte| *byte == 0));
    assert_eq!(length, 4 * CLUSTER, "header, refcount table, refcounts, L1");
}

#[test]
fn the_refcounts_of_large_disks_count_themselves() {
    for terabytes in [1_u64, 16, 64] {
        let size = terabytes << 40;
        let clusters = size / CLUSTER;
        let mut used = Bitmap::new(clusters);
        used.add(0..clusters);
        let layout = Layout::new(size, used);
        // Two bytes of refcount and eight of L2 for each cluster, and the rest is in the noise.
        let overhead = layout.length() - size;
        let expected = clusters * 10;
        assert!(
            overhead >= expected && overhead < expected + (expected >> 9) + 8 * CLUSTER,
            "{terabytes} TiB: {overhead}"
        );
    }
}

#[tokio::test]
async fn writing_beyond_the_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(&Env::system(), folder.path(), 4096).unwrap();
    let beyond = spool.write_at(4090, Bytes::from_static(&[1; 7])).await;
    assert_eq!(beyond.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(
        spool.write_zeroes(4096..4097).unwrap_err().kind(),
        Kind::Invalid
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing stays behind"
    );
}
