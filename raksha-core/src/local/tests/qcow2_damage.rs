//! Images that are damaged at random: reading them ends, with data or an error.

use std::fs::{self, File};
use std::time::Duration;

use bytes::BytesMut;

use crate::cloud::DiskReader;
use crate::env::{Compute, Env};
use crate::error::Result;
use crate::local::test_files::{Scratch, qemu};
use crate::qcow2::{Layer, Qcow2Reader};
use crate::testkit::{Fuzz, Seeded};

/// Opens and reads what can be read of the first few MiB.
async fn read_what_goes(scratch: &Scratch, env: Env) -> Result<usize> {
    let file = File::open(scratch.join("image")).unwrap();
    let reader = Qcow2Reader::open(vec![Layer::Qcow2 { file, data: None }], env)?;
    let end = reader.size().min(2 << 20);
    let mut outcome = reader.extents(0..end).await.map(|extents| extents.len());
    let mut at = 0;
    while at < end {
        let step = (64 << 10).min(end - at);
        let buffer = BytesMut::zeroed(usize::try_from(step).unwrap());
        if let Err(e) = reader.read_at(at, buffer).await {
            outcome = Err(e);
        }
        at += step;
    }
    outcome
}

#[test]
fn damaged_images_give_data_or_errors_and_nothing_else() {
    for options in [
        "cluster_size=4k",
        "cluster_size=512,compat=0.10",
        "cluster_size=64k",
    ] {
        for compress in [false, true] {
            damage(options, compress);
        }
    }
}

fn damage(options: &str, compress: bool) {
    let scratch = Scratch::new();
    let mut random = Seeded::new(9);
    let content: Vec<u8> = (0..20)
        .flat_map(|i| [random.bytes(5000), vec![i; 9000]].concat())
        .collect();
    fs::write(scratch.join("content"), content).unwrap();
    let mut arguments = vec!["convert", "-O", "qcow2", "-o", options, "content", "image"];
    if compress {
        arguments.insert(1, "-c");
    }
    qemu("qemu-img", &arguments, scratch.path());
    let good = fs::read(scratch.join("image")).unwrap();

    // Whatever begins with a copied flag is an entry of a table.
    let entries: Vec<usize> = (0..good.len() / 8)
        .map(|i| i * 8)
        .filter(|at| good[at + 1..at + 4] == [0; 3] && good[*at] & 0xc0 != 0)
        .collect();
    assert!(!entries.is_empty());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut errors = 0;
    for seed in 0..120 {
        let mut random = Seeded::new(seed);
        let mut image = good.clone();
        for _ in 0..1 + random.below(6) {
            let at = match random.below(3) {
                0 => random.below(160),
                1 => {
                    entries[usize::try_from(random.below(entries.len() as u64)).unwrap()] as u64
                        + random.below(8)
                }
                _ => random.below(image.len() as u64),
            };
            image[usize::try_from(at).unwrap()] = random.bytes(1)[0];
        }
        fs::write(scratch.join("image"), image).unwrap();
        let reading = async {
            let limit = Duration::from_secs(30);
            tokio::time::timeout(limit, read_what_goes(&scratch, Env::system())).await
        };
        match runtime.block_on(reading) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => errors += 1,
            Err(_) => {
                // Waiting for a thread that hangs would hang the test as well.
                runtime.shutdown_background();
                panic!("{options}, compressed {compress}, seed {seed}: it hangs");
            }
        }
    }
    assert!(
        errors > 10,
        "only {errors} of the damaged images gave errors: is anything damaged?"
    );
}

/// The smallest images that there are, so that most of their bytes mean something.
#[test]
fn images_that_were_changed() {
    let scratch = Scratch::new();
    let content = [vec![1; 700], vec![0; 2048], vec![2; 348]].concat();
    fs::write(scratch.join("content"), content).unwrap();
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
    let mut fuzz = Fuzz::new("qcow2", corpora);
    for (compress, options) in [
        (false, "cluster_size=512"),
        (true, "cluster_size=512,compat=0.10"),
    ] {
        let mut arguments = vec!["convert", "-O", "qcow2", "-o", options, "content", "image"];
        if compress {
            arguments.insert(1, "-c");
        }
        qemu("qemu-img", &arguments, scratch.path());
        fuzz = fuzz.good(fs::read(scratch.join("image")).unwrap());
    }
    // In one thread, which does the same each time.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let env = Env::system().with_compute(Compute::Inline);
    fuzz.feed(|image| {
        fs::write(scratch.join("image"), image).unwrap();
        let read = runtime.block_on(read_what_goes(&scratch, env.clone()))?;
        Ok(format!("{} extents", read.min(4)))
    });
}
