//! Each stage of the data path beside the library calls that it cannot do without, on one thread.
//!
//! ```text
//! cargo bench -p raksha-benches --bench stages
//! RAKSHA_IMAGE=disk.raw cargo bench -p raksha-benches --bench stages
//! ```
//!
//! The first 128 MiB of the image that are not zero are worked on; without an image, as many bytes that are made up.

mod library;
mod raksha;

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use raksha_benches::content::content;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How much is worked on.
const SIZE: usize = 128 << 20;

fn main() {
    divan::main();
}

/// What all benchmarks work on.
struct Matter {
    bytes: u64,
    file: PathBuf,
    chunks: Vec<Bytes>,
    stages: raksha::Stages,
    records: library::Records,
    _folder: tempfile::TempDir,
}

static MATTER: LazyLock<Matter> =
    LazyLock::new(|| Matter::new().expect("what the benchmarks work on"));

impl Matter {
    fn new() -> Result<Self> {
        let bytes = match std::env::var_os("RAKSHA_IMAGE") {
            Some(image) => part(Path::new(&image))?,
            None => content(SIZE),
        };
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("disk.raw");
        fs::write(&file, &bytes)?;
        let stages = raksha::Stages::new(&file)?;
        let chunks = stages.chunks();
        eprintln!("{} MB in {} chunks", bytes.len() / 1_000_000, chunks.len());
        Ok(Self {
            bytes: bytes.len() as u64,
            file,
            records: library::Records::new(&chunks)?,
            chunks,
            stages,
            _folder: folder,
        })
    }
}

fn part(image: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(image)?;
    let mut bytes = Vec::with_capacity(SIZE);
    let mut piece = vec![0; 1 << 20];
    while bytes.len() < SIZE && file.read_exact(&mut piece).is_ok() {
        if piece.iter().any(|byte| *byte != 0) {
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(bytes)
}

/// Measures work on all of it.
fn measure(bencher: Bencher<'_, '_>, work: impl Fn(&Matter) -> Result<()> + Sync) {
    let matter = &*MATTER;
    bencher
        .counter(BytesCount::new(matter.bytes))
        .bench(|| work(matter).expect("it works"));
}

/// Reading from the page cache.
#[divan::bench_group(name = "1 read", sample_count = 20, sample_size = 1)]
mod read {
    use super::*;

    #[divan::bench]
    fn library(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| library::read(&matter.file));
    }

    #[divan::bench]
    fn raksha(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.stages.read());
    }
}

/// Naming; what is around it finds cuts and zeroes.
#[divan::bench_group(name = "2 cut, zero test, name", sample_count = 20, sample_size = 1)]
mod name {
    use super::*;

    #[divan::bench]
    fn library(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| library::name(&matter.chunks));
    }

    #[divan::bench]
    fn raksha(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.stages.ingest());
    }
}

#[divan::bench_group(
    name = "3 name, compress, seal, hash",
    sample_count = 10,
    sample_size = 1
)]
mod store {
    use super::*;

    #[divan::bench]
    fn library(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| library::store(&matter.chunks, false));
    }

    #[divan::bench]
    fn library_compressing_only(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| library::compress(&matter.chunks));
    }

    #[divan::bench]
    fn raksha(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.stages.store(false));
    }
}

/// The same, and each record is opened and named once more.
#[divan::bench_group(name = "4 the same, checked", sample_count = 10, sample_size = 1)]
mod store_checked {
    use super::*;

    #[divan::bench]
    fn library(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| library::store(&matter.chunks, true));
    }

    #[divan::bench]
    fn raksha(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.stages.store(true));
    }
}

#[divan::bench_group(name = "5 open, decompress, name", sample_count = 20, sample_size = 1)]
mod fetch {
    use super::*;

    #[divan::bench]
    fn library(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.records.open());
    }

    #[divan::bench]
    fn library_decrypting_only(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.records.decrypt());
    }

    #[divan::bench]
    fn raksha(bencher: Bencher<'_, '_>) {
        measure(bencher, |matter| matter.stages.fetch());
    }
}
