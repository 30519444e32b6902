//! Disks of known content in files, served by the real `qemu-nbd`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use raksha_core::Kind;
use raksha_core::cloud::{DiskReader, DiskWriter, ExtentKind};
use raksha_core::env::Env;
use raksha_core::testkit::Seeded;
use raksha_core::testkit::cloud::{WriterBench, check_reader, check_writer};
use serde_json::json;

use crate::roads::nbd::disk::NbdReader;
use crate::roads::nbd::{Served, Server};

const SEED: u64 = 0x6e62_6401;

async fn open(work: &Path, served: Served, size: u64) -> raksha_core::Result<NbdReader> {
    server(work).read(&served, size).await
}

fn server(work: &Path) -> Server {
    Server {
        program: "qemu-nbd".into(),
        work: work.to_owned(),
        deadline: Duration::from_secs(30),
        env: Env::system(),
    }
}

fn file(path: &Path, format: &str, writable: bool) -> Served {
    Served {
        node: json!({ "driver": format, "file": { "driver": "file", "filename": path } }),
        name: path.display().to_string(),
        writable,
        keyring: None,
    }
}

/// Data, holes and zeroes that are written, in an order that the seed decides.
fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let mut content = vec![0; size];
    for _ in 0..12 {
        let at = usize::try_from(random.below(size as u64)).unwrap() & !0xfff;
        let length = usize::try_from(random.below(300_000))
            .unwrap()
            .min(size - at);
        content[at..at + length].copy_from_slice(&random.bytes(length));
    }
    content
}

/// Writes `content` sparsely.
fn raw(directory: &Path, content: &[u8]) -> PathBuf {
    use std::os::unix::fs::FileExt;
    let path = directory.join("disk.raw");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (i, block) in content.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, i as u64 * 4096).unwrap();
        }
    }
    path
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

async fn holes(reader: &dyn DiskReader) -> u64 {
    let extents = reader.extents(0..reader.size()).await.unwrap();
    let holes = extents.iter().filter(|e| e.kind == ExtentKind::Hole);
    holes.map(|e| e.range.end - e.range.start).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_and_qcow2_read_as_what_they_hold() {
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("work");
    for size in [9 << 20, (5 << 20) + 700] {
        let content = content(size, SEED ^ size as u64);
        let raw = raw(directory.path(), &content);
        let qcow2 = directory.path().join("disk.qcow2");
        for (path, format) in [(&raw, "raw"), (&qcow2, "qcow2")] {
            let size = if format == "qcow2" {
                let convert = ["convert", "-f", "raw", "-O", "qcow2"].map(std::ffi::OsStr::new);
                let files = [raw.as_os_str(), qcow2.as_os_str()];
                run("qemu-img", &[&convert[..], &files[..]].concat());
                content.len().next_multiple_of(512)
            } else {
                content.len()
            };
            let mut content = content.clone();
            content.resize(size, 0);
            let reader = open(&work, file(path, format, false), size as u64)
                .await
                .unwrap();
            check_reader(&reader, &content, SEED).await.unwrap();
            assert!(holes(&reader).await > 1 << 20, "{format} shows no holes");
        }
    }
    assert_eq!(
        std::fs::read_dir(&work).unwrap().count(),
        0,
        "a socket's directory is left"
    );
}

#[tokio::test]
async fn a_long_read_comes_in_one_piece() {
    let directory = tempfile::tempdir().unwrap();
    let content = content(41 << 20, SEED);
    let path = raw(directory.path(), &content);
    let size = content.len() as u64;
    let reader = open(directory.path(), file(&path, "raw", false), size)
        .await
        .unwrap();
    let mut buffer = BytesMut::zeroed(content.len() - 3);
    let before = buffer.as_mut_ptr();
    let mut read = reader.read_at(3, buffer).await.unwrap();
    assert!(read[..] == content[3..]);
    assert_eq!(read.as_mut_ptr(), before, "the buffer was copied");
}

#[tokio::test]
async fn dropped_reads_disturb_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let content = content(16 << 20, SEED);
    let path = raw(directory.path(), &content);
    let size = content.len() as u64;
    let reader = open(directory.path(), file(&path, "raw", false), size)
        .await
        .unwrap();
    let mut random = Seeded::new(SEED);
    for _ in 0..40 {
        let read = reader.read_at(0, BytesMut::zeroed(8 << 20));
        let patience = Duration::from_micros(random.below(3000));
        let _ = tokio::time::timeout(patience, read).await;
    }
    let read = reader
        .read_at(0, BytesMut::zeroed(content.len()))
        .await
        .unwrap();
    assert!(read[..] == content[..]);
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = raw(directory.path(), &[1; 8192]);
    let server = server(directory.path());
    let missing = file(Path::new("/nowhere/disk"), "raw", false);
    let error = server.read(&missing, 8192).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert!(error.to_string().contains("/nowhere/disk"), "{error}");

    let error = server
        .read(&file(&path, "qcow2", false), 8192)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not in qcow2 format"), "{error}");

    let error = server
        .read(&file(&path, "raw", false), 8192 + 512)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");

    let absent = Server {
        program: "/nowhere/qemu-nbd".into(),
        ..server.clone()
    };
    let error = absent
        .read(&file(&path, "raw", false), 8192)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");

    let long = Server {
        work: directory.path().join("x".repeat(120)),
        ..server
    };
    let error = long
        .read(&file(&path, "raw", false), 8192)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("shorter"), "{error}");
}

#[tokio::test]
async fn a_reader_that_is_dropped_leaves_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = raw(directory.path(), &[1; 8192]);
    let reader = server(directory.path())
        .read(&file(&path, "raw", false), 8192)
        .await
        .unwrap();
    let serving = || {
        let wanted = path.display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
        let all: Vec<_> = lines
            .map(|l| String::from_utf8_lossy(&l).into_owned())
            .collect();
        all.iter()
            .filter(|l| l.starts_with("qemu-nbd") && l.contains(&wanted))
            .count()
    };
    assert_eq!(serving(), 1);
    drop(reader);
    for _ in 0..100 {
        if serving() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("qemu-nbd still runs");
}

#[tokio::test]
async fn a_reader_that_is_dropped_has_its_disk_closed() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = raw(directory.path(), &[1; 8192]);
    let ended = directory.path().join("ended");
    let wrapper = directory.path().join("wrapper");
    let script = format!(
        "#!/bin/sh\nqemu-nbd \"$@\"\necho $? >{}.new\nmv {0}.new {0}\n",
        ended.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = server(directory.path());
    server.program = wrapper;
    let reader = server.read(&file(&path, "raw", false), 8192).await.unwrap();
    drop(reader);
    for _ in 0..100 {
        if let Ok(status) = std::fs::read_to_string(&ended) {
            assert_eq!(status, "0\n");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was killed, or still runs");
}

/// Files in a format, written through `qemu-nbd`.
struct Files {
    directory: tempfile::TempDir,
    format: &'static str,
    /// The sizes of those made so far.
    made: Mutex<Vec<u64>>,
    blank: bool,
}

impl Files {
    /// Each has a file of its own: the server of one whose writer was dropped may hold it for a moment.
    fn path(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("written-{number}"))
    }
}

#[async_trait]
impl WriterBench for Files {
    async fn open(&self, size: u64) -> raksha_core::Result<Box<dyn DiskWriter>> {
        let number = {
            let mut made = self.made.lock().unwrap();
            made.push(size);
            made.len()
        };
        let path = self.path(number);
        let make = ["create", "-f", self.format].map(std::ffi::OsStr::new);
        let length = size.to_string();
        run(
            "qemu-img",
            &[&make[..], &[path.as_os_str(), length.as_ref()]].concat(),
        );
        if !self.blank {
            // What lies there must not shine through where zeroes are written.
            let before = server(self.directory.path());
            let before = before
                .write(&file(&path, self.format, true), size, true)
                .await?;
            let rubbish = vec![0xee; usize::try_from(size).unwrap()];
            before.write_at(0, rubbish.into()).await?;
            before.finish().await?;
        }
        let server = server(self.directory.path());
        let served = file(&path, self.format, true);
        Ok(Box::new(Watched {
            inner: server.write(&served, size, self.blank).await?,
            whole: self.directory.path().join("whole"),
        }))
    }

    async fn whole(&self) -> raksha_core::Result<Option<Box<dyn DiskReader>>> {
        let whole = self.directory.path().join("whole");
        if std::fs::remove_file(whole).is_err() {
            return Ok(None);
        }
        let made = self.made.lock().unwrap().clone();
        let (number, size) = (made.len(), *made.last().unwrap());
        let served = file(&self.path(number), self.format, false);
        let reader = server(self.directory.path()).read(&served, size).await?;
        Ok(Some(Box::new(reader)))
    }
}

/// A writer that leaves a sign when it has finished, as a restore would in its journal.
#[derive(Debug)]
struct Watched<W> {
    inner: W,
    whole: PathBuf,
}

#[async_trait]
impl<W: DiskWriter> DiskWriter for Watched<W> {
    async fn write_at(&self, offset: u64, data: Bytes) -> raksha_core::Result<()> {
        self.inner.write_at(offset, data).await
    }

    async fn write_zeroes(&self, range: std::ops::Range<u64>) -> raksha_core::Result<()> {
        self.inner.write_zeroes(range).await
    }

    async fn finish(&self) -> raksha_core::Result<()> {
        self.inner.finish().await?;
        std::fs::write(&self.whole, []).unwrap();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_keep_their_contract() {
    for (format, blank) in [("raw", false), ("qcow2", false), ("raw", true)] {
        let bench = Files {
            directory: tempfile::tempdir().unwrap(),
            format,
            made: Mutex::default(),
            blank,
        };
        check_writer(&bench, SEED).await.unwrap();
    }
}

#[tokio::test]
async fn a_disk_served_for_reading_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = raw(directory.path(), &[1; 8192]);
    let served = file(&path, "raw", false);
    let error = server(directory.path())
        .write(&served, 8192, false)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}
