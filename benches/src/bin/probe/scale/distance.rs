//! A target far away: each request takes its time, and the line has a capacity.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use raksha_core::disk_file::FileWriter;
use raksha_core::env::Env;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_targets::GuardOptions;

use super::disk::{BLOCK, repository};
use super::far::Far;
use super::usage::{Usage, Used};
use crate::Result;

/// How far away, and what the line carries
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Milliseconds a request
    #[arg(long, value_delimiter = ',', default_values_t = [0, 20, 100])]
    latency: Vec<u64>,
    /// MB a second
    #[arg(long, default_value_t = 40)]
    bandwidth: u64,
    /// The disk's size in MiB: bytes that do not compress
    #[arg(long, default_value_t = 512)]
    size: u64,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("disk.raw");
    std::fs::write(&image, noise(arguments.size << 20))?;
    println!(
        "{} MiB that do not compress, {} MB/s",
        arguments.size, arguments.bandwidth
    );
    for milliseconds in &arguments.latency {
        let mut guard = GuardOptions::default();
        guard.bytes_per_second = NonZeroU64::new(arguments.bandwidth * 1_000_000);
        let latency = Duration::from_millis(*milliseconds);
        let far = Far::new(Arc::new(InMemory::new()), latency);
        let (repository, metrics) = repository(Arc::new(far), guard).await?;

        let reader = raksha_core::disk_file::FileReader::open(&image, Env::system()).await?;
        let usage = Usage::begin(&metrics)?;
        let done = disk::backup(&reader, "disk", &repository, DiskOptions::default()).await?;
        tell(*milliseconds, "backup", usage.end()?, arguments);

        let restored = folder.path().join("restored.raw");
        let writer =
            FileWriter::create(&restored, arguments.size << 20, true, Env::system()).await?;
        let point = repository.point(done.point).await?;
        let usage = Usage::begin(&metrics)?;
        let disk = &point.disks[0].disk;
        disk::restore(
            &repository,
            done.point,
            disk,
            &writer,
            DiskOptions::default(),
        )
        .await?;
        tell(*milliseconds, "restore", usage.end()?, arguments);
    }
    Ok(())
}

fn tell(latency: u64, what: &str, used: Used, arguments: &Arguments) {
    let bytes = (arguments.size << 20) as f64;
    let speed = bytes / 1e6 / used.wall.as_secs_f64();
    println!(
        "{latency:>4} ms {what:<8}{used}   {speed:>6.1} MB/s, {:.0} % of the line, {:.0} requests a GiB",
        speed / arguments.bandwidth as f64 * 100.0,
        used.requests as f64 * 1024.0 / arguments.size as f64
    );
}

fn noise(size: u64) -> Vec<u8> {
    let mut state = 7u64;
    let words = (0..size / 8).flat_map(|n| {
        state = (state ^ n)
            .wrapping_mul(6_364_136_223_846_793_005)
            .rotate_left(29);
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = words.collect();
    debug_assert_eq!(bytes.len() as u64 % BLOCK, 0);
    bytes
}
