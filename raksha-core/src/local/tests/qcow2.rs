//! Disks in qcow2 images, against QEMU's own tools as the oracle.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::bench::{Bench, volume};
use crate::cloud::{DiskId, ExtentKind, ResourceGraph, SnapshotProvider, SnapshotRequest};
use crate::env::{Compute, Env};
use crate::error::{Error, Kind, Result};
use crate::local::DiskFile;
use crate::local::test_files::{Scratch, qemu};
use crate::qcow2::{Layer, Qcow2Reader};
use crate::testkit::Seeded;
use crate::testkit::cloud::{Notebook, check_reader, read_all};

/// 1 MiB and three sectors.
const SIZE: u64 = (1 << 20) + 1536;

/// Writes `content.raw` into `folder`: stretches of randomness, of repetition and of nothing.
fn write_content(folder: &Path, seed: u64) {
    let mut random = Seeded::new(seed);
    let mut content = Vec::new();
    while (content.len() as u64) < SIZE {
        let length = usize::try_from(1 + random.below(60_000)).unwrap();
        match random.below(3) {
            0 => content.extend(random.bytes(length)),
            1 => content.extend(std::iter::repeat_n(7, length)),
            _ => content.resize(content.len() + length, 0),
        }
    }
    content.truncate(usize::try_from(SIZE).unwrap());
    fs::write(folder.join("content.raw"), content).unwrap();
}

fn disk() -> DiskId {
    DiskId::Volume("v".into())
}

/// Adds the image as a volume of `size` bytes.
async fn add(bench: &Bench, file: DiskFile, size: u64) -> Result<()> {
    let graph = ResourceGraph {
        volumes: vec![volume("v", size)],
        ..ResourceGraph::default()
    };
    bench.cloud.add(graph, vec![file]).await
}

/// Makes an image with `commands` (tool and arguments, cut at spaces), and reads it by way of a snapshot.
async fn reads_as_qemu_does(commands: &[&str], file: DiskFile) {
    let bench = Bench::empty().await;
    let folder = bench.cloud.path().to_owned();
    write_content(&folder, 5);
    for command in commands {
        run(command, &folder);
    }
    run(
        &format!("qemu-img convert -O raw {} oracle.raw", file.file),
        &folder,
    );
    let oracle = fs::read(folder.join("oracle.raw")).unwrap();
    let context = format!("{commands:?}");
    add(&bench, file, oracle.len() as u64)
        .await
        .expect(&context);

    let graph = bench.cloud.graph().await.unwrap();
    let request = SnapshotRequest {
        graph: &graph,
        disks: &[disk()],
        consistency: crate::cloud::Consistency::Crash,
        marker: "run",
        keep_anchor: true,
    };
    let notebook = Notebook::new();
    let set = bench
        .cloud
        .snapshot(request, &notebook)
        .await
        .expect(&context);
    assert!(set.disks[0].anchor.is_none());
    let opened = bench
        .cloud
        .open(&set, &disk(), None, &notebook)
        .await
        .expect(&context);
    check_reader(opened.reader.as_ref(), &oracle, 5)
        .await
        .expect(&context);
}

fn run(command: &str, folder: &Path) {
    // Commands of qemu-io hold spaces of their own.
    let mut words: Vec<&str> = command.split(' ').collect();
    let quoted: String;
    if let Some((before, inner)) = command.split_once(" -c '") {
        let (inner, after) = inner.split_once('\'').unwrap();
        quoted = inner.to_owned();
        words = before.split(' ').chain(["-c", &quoted]).collect();
        words.extend(after.split_whitespace());
    }
    qemu(words[0], &words[1..], folder);
}

#[tokio::test]
async fn images_of_every_common_kind() {
    for options in [
        "-O qcow2",
        "-O qcow2 -o compat=0.10",
        "-O qcow2 -c",
        "-O qcow2 -c -o compat=0.10,cluster_size=4k",
        "-O qcow2 -c -o cluster_size=2M",
        "-O qcow2 -o cluster_size=512",
        "-O qcow2 -o cluster_size=2M",
        "-O qcow2 -o preallocation=metadata",
        "-O qcow2 -o preallocation=falloc,lazy_refcounts=on",
        "-O qcow2 -o refcount_bits=1",
    ] {
        let convert = format!("qemu-img convert {options} content.raw image");
        reads_as_qemu_does(&[&convert], DiskFile::qcow2(disk(), "image")).await;
    }
}

#[tokio::test]
async fn zero_clusters_and_empty_images() {
    let convert = "qemu-img convert -O qcow2 content.raw image";
    let image = || DiskFile::qcow2(disk(), "image");
    let zero = "qemu-io -f qcow2 -c 'write -z 64k 300k' image";
    let discard = "qemu-io -f qcow2 -c 'discard 512k 128k' image";
    reads_as_qemu_does(&[convert, zero, discard], image()).await;
    reads_as_qemu_does(&["qemu-img create -f qcow2 image 3M"], image()).await;
    reads_as_qemu_does(&["qemu-img create -f qcow2 image 512"], image()).await;
    // An internal snapshot shares clusters with the live state, which then goes its own way.
    let snapshot = "qemu-img snapshot -c before image";
    let write = "qemu-io -f qcow2 -c 'write -P 9 100k 100k' image";
    reads_as_qemu_does(&[convert, snapshot, write], image()).await;
}

#[tokio::test]
async fn images_that_build_on_others_with_consent() {
    let overlay = || DiskFile::qcow2(disk(), "overlay").with_backing();
    let write = "qemu-io -f qcow2 -c 'write -P 1 70k 200k' overlay";
    let zero = "qemu-io -f qcow2 -c 'write -z 512k 64k' overlay";
    let base = "qemu-img convert -O qcow2 -c content.raw base";
    let on_base = "qemu-img create -f qcow2 -b base -F qcow2 overlay";
    reads_as_qemu_does(&[base, on_base, write, zero], overlay()).await;
    // Version 2 keeps the format of its backing file elsewhere.
    let on_base_v2 = "qemu-img create -f qcow2 -o compat=0.10 -b base -F qcow2 overlay";
    reads_as_qemu_does(&[base, on_base_v2, write], overlay()).await;
    let on_raw = "qemu-img create -f qcow2 -b content.raw -F raw overlay";
    reads_as_qemu_does(&[on_raw, write, zero], overlay()).await;
    // What lies beyond the end of the backing file is zeroes.
    let longer = "qemu-img create -f qcow2 -b content.raw -F raw overlay 2M";
    reads_as_qemu_does(&[longer, write, zero], overlay()).await;
    let middle = "qemu-img create -f qcow2 -b base -F qcow2 middle";
    let on_middle = "qemu-img create -f qcow2 -b middle -F qcow2 -o cluster_size=4k overlay";
    reads_as_qemu_does(&[base, middle, on_middle, write], overlay()).await;
}

#[tokio::test]
async fn images_with_their_data_elsewhere_with_consent() {
    for raw in ["on", "off"] {
        let create =
            format!("qemu-img create -f qcow2 -o data_file=data,data_file_raw={raw} image 2M");
        let write = "qemu-io -f qcow2 -c 'write -P 3 10k 900k' image";
        let file = DiskFile::qcow2(disk(), "image").with_data_file();
        reads_as_qemu_does(&[&create, write], file).await;
    }
}

#[tokio::test]
async fn a_simulation_reads_right_where_it_asks() {
    let folder = Scratch::new();
    write_content(folder.path(), 7);
    run(
        "qemu-img convert -O qcow2 -c -o cluster_size=512 content.raw image",
        folder.path(),
    );
    let file = fs::File::open(folder.join("image")).unwrap();
    let env = Env::system().with_compute(Compute::Inline);
    let reader = Qcow2Reader::open(vec![Layer::Qcow2 { file, data: None }], env).unwrap();
    let content = fs::read(folder.join("content.raw")).unwrap();
    check_reader(&reader, &content, 7).await.unwrap();
}

#[tokio::test]
async fn an_image_alone_follows_nothing() {
    let folder = Scratch::new();
    write_content(folder.path(), 8);
    let open = async |create: &str| {
        let _ = fs::remove_file(folder.join("image"));
        run(create, folder.path());
        let file = fs::File::open(folder.join("image")).unwrap();
        Qcow2Reader::alone(file, Env::system()).await
    };
    let reader = open("qemu-img convert -O qcow2 content.raw image").await;
    let content = fs::read(folder.join("content.raw")).unwrap();
    check_reader(&reader.unwrap(), &content, 8).await.unwrap();
    for create in [
        "qemu-img create -f qcow2 -b content.raw -F raw image",
        "qemu-img create -f qcow2 -o data_file=data,data_file_raw=on image 2M",
    ] {
        let error = open(create).await.unwrap_err();
        says(&error, Kind::Denied, "never followed");
    }
}

#[tokio::test]
async fn holes_are_found() {
    let bench = Bench::empty().await;
    run("qemu-img create -f qcow2 image 64G", bench.cloud.path());
    run(
        "qemu-io -f qcow2 -c 'write 40G 64k' image",
        bench.cloud.path(),
    );
    add(&bench, DiskFile::qcow2(disk(), "image"), 64 << 30)
        .await
        .unwrap();
    let reader = bench.open(&disk()).await.unwrap();
    let extents = reader.extents(0..64 << 30).await.unwrap();
    let data: Vec<_> = extents
        .iter()
        .filter(|e| e.kind == ExtentKind::Data)
        .collect();
    assert_eq!(data.len(), 1);
    assert_eq!(data[0].range, 40 << 30..(40 << 30) + (64 << 10));
}

/// Makes an image with `commands`, and gives the error of adding it.
async fn is_refused(commands: &[&str], file: DiskFile, size: u64) -> Error {
    let bench = Bench::empty().await;
    write_content(bench.cloud.path(), 5);
    fs::copy(
        bench.cloud.path().join("content.raw"),
        bench.scratch.join("secret"),
    )
    .unwrap();
    for command in commands {
        run(command, bench.cloud.path());
    }
    let outcome = add(&bench, file, size).await;
    let error = outcome.expect_err(&format!("{commands:?}"));
    assert!(error.to_string().contains("volume:v"), "{error}");
    error
}

fn says(error: &Error, kind: Kind, word: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(word), "no {word:?} in: {error}");
}

#[tokio::test]
async fn references_are_not_followed_without_consent_nor_out_of_the_directory() {
    let plain = || DiskFile::qcow2(disk(), "image");
    let on = |name: &str, format: &str| {
        format!("qemu-img create -f qcow2 -u -b {name} -F {format} image {SIZE}")
    };
    let error = is_refused(&[&on("content.raw", "raw")], plain(), SIZE).await;
    says(&error, Kind::Denied, "\"backing\": true");
    let data = format!("qemu-img create -f qcow2 -o data_file=data image {SIZE}");
    let error = is_refused(&[&data], plain(), SIZE).await;
    says(&error, Kind::Denied, "\"data_file\": true");
    // Consent to one is none to the other.
    let error = is_refused(&[&data], plain().with_backing(), SIZE).await;
    says(&error, Kind::Denied, "\"data_file\": true");

    let with = || plain().with_backing();
    for name in ["../secret", "/etc/passwd", "x/../../secret"] {
        let error = is_refused(&[&on(name, "raw")], with(), SIZE).await;
        assert!(
            matches!(error.kind(), Kind::Denied | Kind::NotFound),
            "{error}"
        );
    }
    says(
        &is_refused(&[&on("../secret", "raw")], with(), SIZE).await,
        Kind::Denied,
        "../secret",
    );
    for name in [
        "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}",
        "nbd://127.0.0.1/x",
    ] {
        let error = is_refused(&[&on(name, "raw")], with(), SIZE).await;
        says(&error, Kind::NotFound, "image");
    }
    let there = on("there", "qcow2").replace(" image ", " back ");
    let back = "qemu-img create -f qcow2 -u -b back -F qcow2 there 1M";
    let error = is_refused(&[&there, back, &on("there", "qcow2")], with(), SIZE).await;
    says(&error, Kind::Corrupt, "circle");
    let error = is_refused(&[&on("content.raw", "vmdk")], with(), SIZE).await;
    says(&error, Kind::Unsupported, "vmdk");
    let out = "qemu-img create -f qcow2 -o data_file=../data-outside image 1M";
    let error = is_refused(&[out], plain().with_data_file(), 1 << 20).await;
    says(&error, Kind::Denied, "data-outside");
}

#[tokio::test]
async fn what_cannot_be_read_rightly_is_refused() {
    let plain = || DiskFile::qcow2(disk(), "image");
    let convert = "qemu-img convert -O qcow2 content.raw image";
    let error = is_refused(&[convert], plain(), SIZE + 512).await;
    says(&error, Kind::Invalid, &SIZE.to_string());
    says(&error, Kind::Invalid, &(SIZE + 512).to_string());
    // Not LUKS: to create that, qemu-img measures its own speed, and gives up where a clock is coarse.
    let encrypted = "qemu-img create --object secret,id=s,data=abc -f qcow2 -o encrypt.format=aes,encrypt.key-secret=s image 1M";
    says(
        &is_refused(&[encrypted], plain(), 1 << 20).await,
        Kind::Unsupported,
        "encrypted",
    );
    let zstd = "qemu-img create -f qcow2 -o compression_type=zstd image 1M";
    says(
        &is_refused(&[zstd], plain(), 1 << 20).await,
        Kind::Unsupported,
        "zlib",
    );
    let subclusters = "qemu-img create -f qcow2 -o extended_l2=on image 1M";
    says(
        &is_refused(&[subclusters], plain(), 1 << 20).await,
        Kind::Unsupported,
        "extended L2",
    );
    let raw = DiskFile::qcow2(disk(), "content.raw");
    says(
        &is_refused(&[], raw, SIZE).await,
        Kind::Corrupt,
        "describe it as raw",
    );
    // No format of the backing file: an old image, or one that wants a reader to guess.
    let no_format = [
        "qemu-img convert -O qcow2 content.raw base",
        "qemu-img create -f qcow2 -b base -F qcow2 image",
    ];
    let bench = Bench::empty().await;
    write_content(bench.cloud.path(), 5);
    no_format
        .iter()
        .for_each(|command| run(command, bench.cloud.path()));
    let path = bench.cloud.path().join("image");
    let mut image = fs::read(&path).unwrap();
    let extension = image
        .windows(4)
        .position(|w| w == [0xe2, 0x79, 0x2a, 0xca])
        .unwrap();
    image[extension] = 0;
    fs::write(&path, image).unwrap();
    let error = add(&bench, plain().with_backing(), SIZE).await.unwrap_err();
    says(&error, Kind::Invalid, "rebase");
}

#[tokio::test]
async fn header_fields_that_must_not_be_believed() {
    let bench = Bench::empty().await;
    write_content(bench.cloud.path(), 5);
    run(
        "qemu-img convert -O qcow2 content.raw image",
        bench.cloud.path(),
    );
    let path = bench.cloud.path().join("image");
    let good = fs::read(&path).unwrap();
    for (offset, bytes, kind, word) in [
        (4, [0, 0, 0, 4], Kind::Unsupported, "version 4"),
        (20, [0, 0, 0, 8], Kind::Corrupt, "2^8"),
        (20, [0, 0, 0, 40], Kind::Corrupt, "2^40"),
        (32, [0, 0, 0, 1], Kind::Unsupported, "encrypted"),
        (32, [0, 0, 0, 2], Kind::Unsupported, "encrypted"),
        (36, [0, 0, 0, 0], Kind::Corrupt, "too few"),
        (36, [255; 4], Kind::Corrupt, "more than are allowed"),
        (40, [0, 0, 1, 0], Kind::Corrupt, "first table"),
        (24, [0, 1, 0, 0], Kind::Corrupt, "too few"),
        (76, [0, 0, 0, 1], Kind::Unsupported, "not closed cleanly"),
        (76, [0, 0, 0, 2], Kind::Corrupt, "marked as corrupt"),
        (76, [0, 0, 1, 0], Kind::Unsupported, "0x100"),
        (100, [0, 0, 0, 4], Kind::Corrupt, "header"),
        (100, [1, 0, 0, 0], Kind::Corrupt, "header"),
    ] {
        let mut image = good.clone();
        image[offset..offset + 4].copy_from_slice(&bytes);
        fs::write(&path, image).unwrap();
        let error = add(&bench, DiskFile::qcow2(disk(), "image"), SIZE)
            .await
            .unwrap_err();
        says(&error, kind, word);
    }
}

#[tokio::test]
async fn a_raw_disk_that_looks_like_an_image_is_its_bytes() {
    let bench = Bench::empty().await;
    run(
        "qemu-img create -f qcow2 -u -b /etc/passwd -F raw image 1M",
        bench.cloud.path(),
    );
    let bytes = fs::read(bench.cloud.path().join("image")).unwrap();
    add(&bench, DiskFile::raw(disk(), "image"), bytes.len() as u64)
        .await
        .unwrap();
    let reader = bench.open(&disk()).await.unwrap();
    assert_eq!(read_all(reader.as_ref()).await.unwrap(), bytes);
}

#[tokio::test]
async fn an_image_that_was_cut_short_never_reads_as_zeroes() {
    for options in [
        "-O qcow2 -o cluster_size=4k",
        "-O qcow2 -c -o cluster_size=4k",
    ] {
        let bench = Bench::empty().await;
        write_content(bench.cloud.path(), 6);
        run(
            &format!("qemu-img convert {options} content.raw image"),
            bench.cloud.path(),
        );
        let oracle = fs::read(bench.cloud.path().join("content.raw")).unwrap();
        let path = bench.cloud.path().join("image");
        let length = fs::metadata(&path).unwrap().len();
        add(&bench, DiskFile::qcow2(disk(), "image"), SIZE)
            .await
            .unwrap();
        let image = fs::File::options().write(true).open(&path).unwrap();
        let mut cut = length;
        let mut failed = 0;
        while cut > 8192 {
            cut -= 4567;
            image.set_len(cut).unwrap();
            let Ok(reader) = bench.open(&disk()).await else {
                failed += 1;
                continue;
            };
            let mut at = 0;
            while at < SIZE {
                let step = 4096.min(SIZE - at);
                let buffer = bytes::BytesMut::zeroed(usize::try_from(step).unwrap());
                match reader.read_at(at, buffer).await {
                    Err(_) => failed += 1,
                    Ok(got) => {
                        let wanted = &oracle[usize::try_from(at).unwrap()..][..got.len()];
                        assert!(got == wanted, "{options}: cut at {cut}, wrong data at {at}");
                    }
                }
                at += step;
            }
        }
        assert!(failed > 0);
    }
}

#[tokio::test]
async fn an_image_that_changes_its_size_after_it_was_found_is_refused() {
    let bench = Bench::empty().await;
    run("qemu-img create -f qcow2 image 1M", bench.cloud.path());
    add(&bench, DiskFile::qcow2(disk(), "image"), 1 << 20)
        .await
        .unwrap();
    let path = bench.cloud.path().join("image");
    let image = fs::File::options().write(true).open(path).unwrap();
    image.write_all_at(&(2u64 << 20).to_be_bytes(), 24).unwrap();
    let error = bench.open(&disk()).await.unwrap_err();
    says(&error, Kind::Invalid, "2097152");
}
