//! Disks that cannot be read, shrink, or have odd sizes, and places to restore to that are taken: no point is made of half a disk, and nothing
//! half restored has a name.

use std::io;
use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::BytesMut;
use raksha_core::cloud::{DiskReader, Extent, ExtentKind};
use raksha_core::disk_file::{FileReader, FileWriter};
use raksha_core::env::Env;
use raksha_core::id::PointId;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::Repository;
use raksha_core::{Error, Kind, Result};
use raksha_tests::{DAMAGED, Random, Stored, back_up_disk, failed};

/// A disk of which some cannot be read.
#[derive(Debug)]
struct Bad {
    size: u64,
    bad: u64,
    kind: io::ErrorKind,
}

#[async_trait]
impl DiskReader for Bad {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        Ok(vec![Extent {
            range,
            kind: ExtentKind::Data,
        }])
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        if (offset..offset + buffer.len() as u64).contains(&self.bad) {
            let error = Error::io("read disk", io::Error::from(self.kind));
            return Err(error.with("disk offset", offset));
        }
        buffer.fill(7);
        Ok(buffer)
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_or_shrinks_makes_no_point() {
    let random = &mut Random::announced("bad input");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    for bad in [0, 1, 1_500_000, (4 << 20) - 1] {
        for kind in [io::ErrorKind::Other, io::ErrorKind::UnexpectedEof] {
            let disk = Bad {
                size: 4 << 20,
                bad,
                kind,
            };
            let done = back_up_disk(&repository, "bad", &disk).await;
            failed(
                done,
                &[Kind::Unavailable, Kind::Corrupt],
                &["disk offset", "bad"],
            );
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinking.raw");
    for data in [true, false] {
        std::fs::write(&path, random.bytes(3 << 20)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // The end is data, or a hole.
        file.set_len(if data { 3 << 20 } else { 6 << 20 }).unwrap();
        let reader = FileReader::open(&path, Env::system()).await.unwrap();
        file.set_len(1 << 20).unwrap();
        let done = back_up_disk(&repository, "shrinking", &reader).await;
        failed(done, &[Kind::Corrupt], &["shrinking.raw", "disk offset"]);
    }
    let listed = repository.points().await.unwrap();
    assert_eq!(listed.len(), stored.points.len(), "half a disk is no point");
    stored.is_whole().await;
}

#[tokio::test]
async fn disks_of_every_odd_size_come_back() {
    let random = &mut Random::announced("bad input");
    let mut stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let powers = [9, 12, 16, 18, 20, 21].map(|n| 1usize << n);
    let around = powers
        .into_iter()
        .flat_map(|size| [size - 1, size, size + 1]);
    for size in [0, 1, 2, 511].into_iter().chain(around) {
        for zero in [false, true] {
            let bytes = if zero {
                vec![0; size]
            } else {
                random.bytes(size)
            };
            let path = folder.path().join(format!("{size}-{zero}.raw"));
            std::fs::write(&path, &bytes).unwrap();
            let reader = FileReader::open(&path, Env::system()).await.unwrap();
            let id = back_up_disk(&repository, "odd", &reader).await.unwrap();
            assert_eq!(
                repository.point(id).await.unwrap().disks[0].root.size,
                size as u64
            );
            let back = export(&repository, id, &folder.path().join("back"), true).await;
            back.unwrap();
            assert!(
                std::fs::read(folder.path().join("back")).unwrap() == bytes,
                "{size} bytes came back different"
            );
            stored.points.push((id, bytes));
        }
    }
    stored.is_whole().await;
}

/// Writes the only disk of a point to a file.
async fn export(repository: &Repository, id: PointId, path: &Path, overwrite: bool) -> Result<()> {
    let point = repository.point(id).await?;
    let only = disk::pick(&point, None)?;
    let writer = FileWriter::create(path, only.root.size, overwrite, Env::system()).await?;
    disk::restore(repository, id, &only.disk, &writer, DiskOptions::default())
        .await
        .map(drop)
}

#[tokio::test]
async fn what_is_there_stays_and_half_a_restore_has_no_name() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let repository = stored.open().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let (id, bytes) = &stored.points[1];

    std::fs::write(&path, "precious").unwrap();
    failed(
        export(&repository, *id, &path, false).await,
        &[Kind::AlreadyExists],
        &["disk.raw"],
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    failed(
        export(&repository, *id, folder.path(), true).await,
        &[Kind::Invalid],
        &[],
    );

    // The last pack of data is damaged: it fails in the middle, whether something is there or not.
    let packs = stored.of("packs/").await;
    let (pack, _) = packs.iter().max_by_key(|(_, b)| b.len()).unwrap();
    stored.overlay.remove(pack);
    for there in [true, false] {
        if !there {
            std::fs::remove_file(&path).unwrap();
        }
        let done = export(&repository, *id, &path, true).await;
        failed(done, &DAMAGED, &[pack.filename().unwrap(), &id.to_string()]);
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        match there {
            true => assert_eq!(std::fs::read(&path).unwrap(), b"precious"),
            false => assert_eq!(left.len(), 0, "{left:?} was left"),
        }
    }
    stored.overlay.repair();
    export(&repository, *id, &path, false).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == *bytes);
    stored.is_whole().await;
}
