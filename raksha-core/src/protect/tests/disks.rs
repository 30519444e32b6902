//! Single disks.

use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::bench::new_repository;
use crate::cloud::{DiskId, DiskReader, DiskWriter, Extent, ExtentKind};
use crate::error::{Error, Kind, Result};
use crate::protect::disk::{DiskOptions, backup, diff, pick, restore};
use crate::testkit::Seeded;

#[derive(Debug)]
struct Disk(Mutex<Vec<u8>>);

#[async_trait]
impl DiskReader for Disk {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        Ok(vec![Extent {
            range,
            kind: ExtentKind::Data,
        }])
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let at = usize::try_from(offset).unwrap();
        let end = at + buffer.len();
        buffer.copy_from_slice(&self.0.lock().unwrap()[at..end]);
        Ok(buffer)
    }
}

#[async_trait]
impl DiskWriter for Disk {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.0.lock().unwrap()[at..at + data.len()].copy_from_slice(&data);
        Ok(())
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.0.lock().unwrap()[range].fill(0);
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_disk_goes_in_and_comes_out_and_is_compared() {
    let repository = new_repository().await;
    let mut seeded = Seeded::new(60);
    let mut bytes = seeded.bytes(3_000_001);
    bytes[1_000_000..1_900_000].fill(0);
    let first = backup(
        &Disk(Mutex::new(bytes.clone())),
        "d",
        &repository,
        DiskOptions::default(),
    )
    .await
    .unwrap();
    let old = bytes.clone();
    bytes[2_500_000..2_500_100].copy_from_slice(&seeded.bytes(100));
    let disk = Disk(Mutex::new(bytes.clone()));
    let second = backup(&disk, "d", &repository, DiskOptions::default())
        .await
        .unwrap();
    assert!(second.counts.new_bytes < 600_000, "{:?}", second.counts);
    let third = backup(&disk, "d", &repository, DiskOptions::default())
        .await
        .unwrap();
    assert_eq!((third.counts.new_bytes, third.counts.stored_bytes), (0, 0));

    let name = DiskId::Named("d".to_owned());
    for (point, expected) in [(first.point, &old), (third.point, &bytes)] {
        let target = Disk(Mutex::new(vec![0xee; bytes.len()]));
        restore(&repository, point, &name, &target, DiskOptions::default())
            .await
            .unwrap();
        assert!(*target.0.lock().unwrap() == *expected, "the bytes are back");
    }
    let changed = diff(&repository, (first.point, &name), (second.point, &name))
        .await
        .unwrap();
    assert!(
        changed.iter().any(|r| r.contains(&2_500_050)),
        "{changed:?}"
    );
    let bytes_changed: u64 = changed.iter().map(|r| r.end - r.start).sum();
    assert!(bytes_changed < 600_000, "{changed:?}");
    let same = diff(&repository, (second.point, &name), (third.point, &name))
        .await
        .unwrap();
    assert_eq!(same, []);
    assert_eq!(repository.stats().await.unwrap().open_sessions, 0);

    let point = repository.point(first.point).await.unwrap();
    assert_eq!(pick(&point, None).unwrap().disk, name);
    assert_eq!(pick(&point, Some("d")).unwrap().disk, name);
    assert_eq!(pick(&point, Some("e")).unwrap_err().kind(), Kind::NotFound);
}

/// Cancels when it is read for the `n`th time.
#[derive(Debug)]
struct Cancelling(Disk, crate::protect::Cancel);

#[async_trait]
impl DiskReader for Cancelling {
    fn size(&self) -> u64 {
        self.0.size()
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        self.0.extents(range).await
    }

    async fn read_at(&self, _offset: u64, _buffer: BytesMut) -> Result<BytesMut> {
        self.1.cancel();
        Err(Error::new(Kind::Unavailable, "read", "too late"))
    }
}

#[tokio::test]
async fn a_backup_that_is_cancelled_leaves_no_point_and_no_session() {
    let repository = new_repository().await;
    let options = DiskOptions::default();
    let disk = Disk(Mutex::new(Seeded::new(61).bytes(100_000)));
    let disk = Cancelling(disk, options.cancel.clone());
    backup(&disk, "d", &repository, options).await.unwrap_err();
    assert!(repository.points().await.unwrap().is_empty());
    assert_eq!(repository.stats().await.unwrap().open_sessions, 0);
}
