//! Small reads anywhere in a disk that is in a repository.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use raksha_core::cloud::DiskReader;
use raksha_core::disk_file::FileReader;
use raksha_core::env::Env;
use raksha_core::image::ImageReader;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_targets::{Directory, GuardOptions};

use super::disk::repository;
use crate::Result;

/// The bytes of a read.
const READ: u64 = 64 << 10;

/// Which disk
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A disk image
    image: PathBuf,
    /// Reads of each kind
    #[arg(long, default_value_t = 200)]
    reads: u64,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let objects = Directory::open(folder.path().join("target"), true, Env::system()).await?;
    let (repository, _) = repository(Arc::new(objects), GuardOptions::default()).await?;
    let reader = FileReader::open(&arguments.image, Env::system()).await?;
    let done = disk::backup(&reader, "disk", &repository, DiskOptions::default()).await?;
    let root = repository.point(done.point).await?.disks[0].root;
    let source = Arc::new(repository.read(&[done.point], "scale").await?);

    let places = |n: u64| {
        let place = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (root.size - READ);
        place / 512 * 512
    };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let kept = ImageReader::open(&root, Arc::clone(&source) as _).await?;
    for n in 0..arguments.reads {
        let began = Instant::now();
        let opened = ImageReader::open(&root, Arc::clone(&source) as _).await?;
        read(&opened, &reader, places(n)).await?;
        cold.push(began.elapsed());
        let began = Instant::now();
        read(&kept, &reader, places(n + arguments.reads)).await?;
        warm.push(began.elapsed());
    }
    source.close().await?;
    for (what, mut times) in [("opened for it", cold), ("open already", warm)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "64 KiB, the disk {what:<14} median {:>7.2} ms, nine of ten below {:>7.2} ms, the longest {:>7.2} ms",
            ms(at(0.5)),
            ms(at(0.9)),
            ms(at(1.0))
        );
    }
    Ok(())
}

async fn read(image: &ImageReader, disk: &FileReader, at: u64) -> Result<()> {
    let got = image.read_at(at, BytesMut::zeroed(READ as usize)).await?;
    let wanted = disk.read_at(at, BytesMut::zeroed(READ as usize)).await?;
    match got == wanted {
        true => Ok(()),
        false => Err(format!("what was read at {at} is not what the disk has there").into()),
    }
}
