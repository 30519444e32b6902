//! Disks that are plain files or block devices.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek};
use rustix::io::Errno;

use crate::cloud::{DiskReader, DiskWriter, Extent, ExtentKind};
use crate::direct::DirectFile;
use crate::env::Env;
use crate::error::{Error, Kind, Result};

/// What is held back of a block device until it is whole: without it, neither a partition table nor a file system is recognised.
const HELD_BACK: usize = 4096;

/// Zeroes are written in pieces of this size where a device cannot be told to zero itself.
const ZEROES: usize = 1 << 20;

/// Reads a raw disk from a file or a block device. What the file system has as holes is reported as such.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
    env: Env,
}

impl FileReader {
    /// Opens `path`. Its content must not change while it is read.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Denied`] and the like from the operating system; [`Kind::Invalid`] for a directory.
    pub async fn open(path: impl Into<PathBuf>, env: Env) -> Result<Self> {
        let path = path.into();
        let opening = path.clone();
        let opened = env.compute(move || measure(File::open(&opening)?)).await?;
        let (file, size) = opened.map_err(|e| failed("open disk file", e, &path))?;
        Ok(Self {
            file: Arc::new(file),
            path,
            size,
            env,
        })
    }

    /// Reads `file`, which the caller opened; errors call it `name`. Its content must not change while it is read.
    ///
    /// # Errors
    /// As those of [`open`](Self::open).
    pub async fn of(file: File, name: impl Into<PathBuf>, env: Env) -> Result<Self> {
        let path = name.into();
        let opened = env.compute(move || measure(file)).await?;
        let (file, size) = opened.map_err(|e| failed("open disk file", e, &path))?;
        Ok(Self {
            file: Arc::new(file),
            path,
            size,
            env,
        })
    }

    /// The first `size` bytes of `file`, which was opened at `path` and is at least that long.
    #[cfg(feature = "local")]
    pub(crate) fn beginning_of(file: File, path: PathBuf, size: u64, env: Env) -> Self {
        Self {
            file: Arc::new(file),
            path,
            size,
            env,
        }
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.size {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            "read disk file",
            "the range reaches beyond the end of the disk",
        )
        .with("path", self.path.display())
        .with("disk offset", range.start)
        .with("end", range.end)
        .with("size", self.size))
    }
}

#[async_trait]
impl DiskReader for FileReader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        self.check(&range)?;
        let file = Arc::clone(&self.file);
        let start = range.start;
        let extents = self.env.compute(move || extents(&file, range)).await?;
        extents.map_err(|e| failed("find holes", e, &self.path).with("disk offset", start))
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        self.check(&(offset..offset.saturating_add(buffer.len() as u64)))?;
        let file = Arc::clone(&self.file);
        let read = self
            .env
            .compute(move || file.read_exact_at(&mut buffer, offset).map(|()| buffer))
            .await?;
        read.map_err(|e| failed("read disk file", e, &self.path).with("disk offset", offset))
    }
}

/// The size of a file or device that is to be read from one end to the other.
fn measure(file: File) -> io::Result<(File, u64)> {
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let size = seek(&file, SeekFrom::End(0))?;
    // Only advice: a disk that cannot take it is read all the same.
    let _ = fadvise(&file, 0, None, Advice::Sequential);
    Ok((file, size))
}

/// Data and holes as the file system has them. Those that cannot tell have data only.
fn extents(file: &File, range: Range<u64>) -> io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let (kind, end) = match seek(file, SeekFrom::Data(at)) {
            Ok(data) if data > at => (ExtentKind::Hole, data),
            Ok(_) => (ExtentKind::Data, seek(file, SeekFrom::Hole(at))?),
            // No data from here to the end. A disk that was cut off since it was opened has nothing there either, but that is no hole.
            Err(Errno::NXIO) if seek(file, SeekFrom::End(0))? < range.end => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(Errno::NXIO) => (ExtentKind::Hole, range.end),
            // A device, or a file system without holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => (ExtentKind::Data, range.end),
            Err(e) => return Err(e.into()),
        };
        let end = end.min(range.end);
        extents.push(Extent {
            range: at..end,
            kind,
        });
        at = end;
    }
    Ok(extents)
}

/// Writes a raw disk into a file or onto a block device.
///
/// A file is written as a sparse one under its name with `.partial` appended, in the same directory, and gets its name when it is
/// whole and durable. Dropping the writer before that removes it; what a crash leaves behind is overwritten by the next
/// writer for the same path.
///
/// A block device is written in place. Its first 4 KiB are zero until everything else is durable, so that nothing
/// takes it for a disk before.
#[derive(Debug)]
pub struct FileWriter {
    file: Arc<File>,
    direct: Arc<DirectFile>,
    path: PathBuf,
    place: Place,
    size: u64,
    env: Env,
    /// The operating system lets one at a time write to a file. Those who wait for it there keep their processors busy.
    turn: tokio::sync::Mutex<()>,
    finished: AtomicBool,
}

#[derive(Debug)]
enum Place {
    File { partial: PathBuf, overwrite: bool },
    Device { held_back: Arc<Mutex<Vec<u8>>> },
}

impl FileWriter {
    /// Begins a disk of `size` bytes at `path`. What is there already is written over only if `overwrite` says so; a block device is
    /// there always. A device may be larger than `size`: what lies beyond is left alone.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`]; [`Kind::Invalid`] for a device that is too small or a path that is neither file nor block device;
    /// [`Kind::Conflict`] if another writer is at it; the operating system's.
    pub async fn create(
        path: impl Into<PathBuf>,
        size: u64,
        overwrite: bool,
        env: Env,
    ) -> Result<Self> {
        let path = path.into();
        let creating = path.clone();
        let create = move || {
            let (file, place) = create(&creating, size, overwrite)?;
            let direct = DirectFile::open(match &place {
                Place::File { partial, .. } => partial,
                Place::Device { .. } => &creating,
            });
            Ok((file, direct, place))
        };
        let (file, direct, place) = env.compute(create).await??;
        Ok(Self {
            file: Arc::new(file),
            direct: Arc::new(direct),
            path,
            place,
            size,
            env,
            turn: tokio::sync::Mutex::default(),
            finished: AtomicBool::new(false),
        })
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        let wrong = if self.finished.load(Ordering::Acquire) {
            "the disk is finished already"
        } else if range.start > range.end || range.end > self.size {
            "the range reaches beyond the end of the disk"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Invalid, "write disk file", wrong)
            .with("path", self.path.display())
            .with("disk offset", range.start)
            .with("end", range.end))
    }

    /// Runs `work` off the asynchronous threads, and says where it failed.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        offset: u64,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.file);
        let done = self.env.compute(move || work(&file)).await?;
        done.map_err(|e| failed(operation, e, &self.path).with("disk offset", offset))
    }
}

#[async_trait]
impl DiskWriter for FileWriter {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        self.check(&(offset..offset.saturating_add(data.len() as u64)))?;
        let held_back = match &self.place {
            Place::Device { held_back } => Some(Arc::clone(held_back)),
            Place::File { .. } => None,
        };
        let _turn = match held_back {
            Some(_) => None,
            None => Some(self.turn.lock().await),
        };
        let direct = Arc::clone(&self.direct);
        self.run("write disk file", offset, move |file| {
            let mut done = held_back.map_or(0, |held_back| hold_back(&held_back, offset, &data));
            let rest = data.get(done..).unwrap_or_default();
            done += direct.write_at(rest, offset + done as u64)?;
            let rest = data.get(done..).unwrap_or_default();
            file.write_all_at(rest, offset + done as u64)
        })
        .await
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.check(&range)?;
        match self.place {
            // The file is fresh, and sparse where nothing was written.
            Place::File { .. } => Ok(()),
            Place::Device { .. } => {
                let start = range.start;
                self.run("write zeroes", start, move |file| zero(file, range))
                    .await
            }
        }
    }

    async fn finish(&self) -> Result<()> {
        self.check(&(0..0))?;
        match &self.place {
            Place::File { partial, overwrite } => {
                let (partial, path, overwrite) = (partial.clone(), self.path.clone(), *overwrite);
                self.run("finish disk file", 0, move |file| {
                    file.sync_all()?;
                    if overwrite {
                        std::fs::rename(&partial, &path)?;
                    } else {
                        // Unlike a rename, a link never replaces what has come up in the meantime.
                        std::fs::hard_link(&partial, &path)?;
                        std::fs::remove_file(&partial)?;
                    }
                    File::open(directory(&path))?.sync_all()
                })
                .await?;
            }
            Place::Device { held_back } => {
                let held_back = Arc::clone(held_back);
                self.run("finish disk device", 0, move |file| {
                    file.sync_all()?;
                    let first = held_back.lock().unwrap_or_else(PoisonError::into_inner);
                    file.write_all_at(&first, 0)?;
                    file.sync_all()
                })
                .await?;
            }
        }
        self.finished.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let Place::File { partial, .. } = &self.place
            && !self.finished.load(Ordering::Acquire)
        {
            // Nobody is left who could be told; the next writer for the same path takes it over.
            let _ = std::fs::remove_file(partial);
        }
    }
}

fn create(path: &Path, size: u64, overwrite: bool) -> Result<(File, Place)> {
    let io = |e| failed("create disk file", e, path);
    let refuse =
        |kind, why| Err(Error::new(kind, "create disk file", why).with("path", path.display()));
    let there = match std::fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(io(e)),
    };
    let device = match there {
        Some(_) if !overwrite => {
            return refuse(
                Kind::AlreadyExists,
                "the path exists; choose another one, or ask for it to be overwritten",
            );
        }
        Some(kind) if kind.is_block_device() => true,
        Some(kind) if !kind.is_file() => {
            return refuse(
                Kind::Invalid,
                "the path is neither a file nor a block device",
            );
        }
        _ => false,
    };
    if device {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(io)?;
        let room = seek(&file, SeekFrom::End(0)).map_err(|e| io(e.into()))?;
        if room < size {
            return refuse(Kind::Invalid, "the device is smaller than the disk");
        }
        let first = vec![0; HELD_BACK.min(usize::try_from(size).unwrap_or(HELD_BACK))];
        file.write_all_at(&first, 0).map_err(io)?;
        file.sync_all().map_err(io)?;
        let held_back = Arc::new(Mutex::new(first));
        return Ok((file, Place::Device { held_back }));
    }
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".partial");
    let partial = path.with_file_name(name);
    let Some(file) = own(&partial).map_err(io)? else {
        return refuse(
            Kind::Conflict,
            "another writer is at this path; wait for it, or choose another path",
        );
    };
    // To zero first: what a crashed writer left is no part of this disk.
    file.set_len(0)
        .and_then(|()| file.set_len(size))
        .map_err(io)?;
    Ok((file, Place::File { partial, overwrite }))
}

/// Opens or creates a file that nobody else is writing; none if somebody is.
fn own(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Its owner may have finished it or given it up between the two calls: then the name is another file's, or nobody's.
        let (ours, named) = (file.metadata()?, std::fs::metadata(path));
        if named.is_ok_and(|named| named.ino() == ours.ino() && named.dev() == ours.dev()) {
            return Ok(Some(file));
        }
    }
}

/// Keeps what belongs to the beginning of a device; answers how many bytes that was.
fn hold_back(held_back: &Mutex<Vec<u8>>, offset: u64, data: &[u8]) -> usize {
    let mut first = held_back.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(room) = usize::try_from(offset)
        .ok()
        .and_then(|at| first.get_mut(at..))
    else {
        return 0;
    };
    let kept = room.len().min(data.len());
    for (to, from) in room.iter_mut().zip(data) {
        *to = *from;
    }
    kept
}

/// Zeroes part of a device, by itself if it can.
fn zero(file: &File, range: Range<u64>) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if fallocate(file, flags, range.start, range.end - range.start).is_ok() {
        return Ok(());
    }
    let zeroes = vec![0; ZEROES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at)
            .unwrap_or(ZEROES)
            .min(ZEROES);
        file.write_all_at(zeroes.get(..length).unwrap_or_default(), at)?;
        at += length as u64;
    }
    Ok(())
}

/// The directory that `path` is an entry of.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failed(operation: &'static str, error: io::Error, path: &Path) -> Error {
    Error::io(operation, error).with("path", path.display())
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // test disks are small
mod tests {
    use super::*;

    /// A directory that goes away with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("raksha-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn entries(&self) -> Vec<OsString> {
            let entries = std::fs::read_dir(&self.0).unwrap();
            entries.map(|e| e.unwrap().file_name()).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_file_has_its_name_only_when_whole() {
        let directory = Directory::new("whole");
        let path = directory.0.join("disk.raw");
        let size = (8 << 20) + 5;
        let create = |overwrite| FileWriter::create(&path, size, overwrite, Env::system());

        let writer = create(false).await.unwrap();
        writer
            .write_at(4 << 20, Bytes::from(vec![7; 8192]))
            .await
            .unwrap();
        assert!(!path.exists());
        assert_eq!(create(true).await.unwrap_err().kind(), Kind::Conflict);
        drop(writer);
        assert!(directory.entries().is_empty(), "a partial file was left");

        // What a crash leaves is not taken over into the disk.
        std::fs::write(directory.0.join("disk.raw.partial"), vec![9; 100_000]).unwrap();
        let writer = create(false).await.unwrap();
        writer
            .write_at(4 << 20, Bytes::from(vec![7; 8192]))
            .await
            .unwrap();
        writer
            .write_at(size - 1, Bytes::from_static(b"!"))
            .await
            .unwrap();
        let past = writer.write_at(size, Bytes::from_static(b"!")).await;
        assert_eq!(past.unwrap_err().kind(), Kind::Invalid);
        writer.finish().await.unwrap();
        assert_eq!(directory.entries(), ["disk.raw"]);
        drop(writer);

        let mut expected = vec![0; size as usize];
        expected[4 << 20..][..8192].fill(7);
        expected[size as usize - 1] = b'!';
        assert!(std::fs::read(&path).unwrap() == expected);
        assert_eq!(create(false).await.unwrap_err().kind(), Kind::AlreadyExists);

        let reader = FileReader::open(&path, Env::system()).await.unwrap();
        assert_eq!(reader.size(), size);
        let mut at = 1 << 20;
        for extent in reader.extents(at..size).await.unwrap() {
            assert_eq!(extent.range.start, at);
            at = extent.range.end;
            let bytes = &expected[extent.range.start as usize..extent.range.end as usize];
            let zero = bytes.iter().all(|b| *b == 0);
            assert!(extent.kind == ExtentKind::Data || zero, "{extent:?}");
        }
        assert_eq!(at, size);
        let bytes = reader.read_at((4 << 20) - 1, BytesMut::zeroed(8194)).await;
        assert_eq!(bytes.unwrap(), expected[(4 << 20) - 1..][..8194]);

        let writer = create(true).await.unwrap();
        writer.finish().await.unwrap();
        assert!(std::fs::read(&path).unwrap().iter().all(|b| *b == 0));
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error_that_names_the_offset() {
        let directory = Directory::new("shrank");
        let path = directory.0.join("disk.raw");
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        let reader = FileReader::open(&path, Env::system()).await.unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(50_000)
            .unwrap();
        let error = reader
            .read_at(40_000, BytesMut::zeroed(20_000))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("disk offset 40000"), "{error}");
        let beyond = reader
            .read_at(99_999, BytesMut::zeroed(2))
            .await
            .unwrap_err();
        assert_eq!(beyond.kind(), Kind::Invalid);
        let missing = FileReader::open(directory.0.join("none"), Env::system()).await;
        assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);
        assert!(FileReader::open(&directory.0, Env::system()).await.is_err());
    }

    #[test]
    fn the_beginning_of_a_device_is_held_back() {
        let held_back = Mutex::new(vec![0; 4096]);
        assert_eq!(hold_back(&held_back, 4096, &[1; 10]), 0);
        assert_eq!(hold_back(&held_back, 4000, &[2; 1000]), 96);
        assert_eq!(hold_back(&held_back, 0, &[3; 10]), 10);
        let first = held_back.into_inner().unwrap();
        assert_eq!(
            (first[9], first[10], first[3999], first[4000]),
            (3, 0, 0, 2)
        );
    }

    #[test]
    fn zeroing_without_help_covers_exactly_the_range() {
        let directory = Directory::new("zero");
        let path = directory.0.join("disk.raw");
        std::fs::write(&path, vec![1; 3 << 20]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        zero(&file, 5..(2 << 20) + 77).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let ones: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i] != 0).collect();
        assert_eq!(ones.len(), 5 + (1 << 20) - 77);
        assert_eq!((ones[4], ones[5]), (4, (2 << 20) + 77));
    }
}
