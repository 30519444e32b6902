//! What the lab's guests write: numbers, first to the root disk and then to each further one, each durable before the next disk gets
//! it (`tests/lab/guest/raksha-writer.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::BytesMut;
use raksha_core::cloud::{DiskReader, ExtentKind};

/// The file system of a copied disk, in a file of its own.
pub(crate) struct FileSystem(PathBuf);

/// Copies the file system of a disk: of the second partition if there are partitions, else all.
pub(crate) async fn copy(reader: &dyn DiskReader, directory: &Path, name: &str) -> FileSystem {
    let head = reader.read_at(0, BytesMut::zeroed(512)).await.unwrap();
    let number = |at: usize| u64::from(u32::from_le_bytes(head[at..at + 4].try_into().unwrap()));
    let partitioned = head[510..] == [0x55, 0xaa] && head[446 + 16 + 4] == 0x83;
    let range = match partitioned {
        true => {
            let start = number(446 + 16 + 8) * 512;
            start..start + number(446 + 16 + 12) * 512
        }
        false => 0..reader.size(),
    };
    let path = directory.join(name);
    let file = File::create(&path).unwrap();
    file.set_len(range.end - range.start).unwrap();
    for extent in reader.extents(range.clone()).await.unwrap() {
        let mut at = extent.range.start;
        while extent.kind == ExtentKind::Data && at < extent.range.end {
            let length = (extent.range.end - at).min(16 << 20);
            let buffer = BytesMut::zeroed(usize::try_from(length).unwrap());
            let bytes = reader.read_at(at, buffer).await.unwrap();
            file.write_all_at(&bytes, at - range.start).unwrap();
            at += length;
        }
    }
    FileSystem(path)
}

fn run(program: &str, arguments: &[&str], path: &Path, good: i32) -> String {
    let done = Command::new(program)
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.code().unwrap() <= good,
        "{program}: {said} {done:?}"
    );
    said
}

impl FileSystem {
    /// Whether the journal is empty: the file system was frozen, or unmounted.
    pub(crate) fn is_clean(&self) -> bool {
        !run("dumpe2fs", &["-h"], &self.0, 0).contains("needs_recovery")
    }

    /// The numbers in the journal file and when they were written, in seconds since boot, after what was written is made whole as a mount would.
    fn journal(&self) -> Vec<(u64, f64)> {
        run("e2fsck", &["-f", "-y"], &self.0, 1);
        let text = run("debugfs", &["-R", "cat /journal.txt"], &self.0, 0);
        text.lines()
            .map(|line| {
                let (number, uptime) = line.split_once(' ').unwrap();
                (number.parse().unwrap(), uptime.trim().parse().unwrap())
            })
            .collect()
    }

    /// The longest time between two records, of those since a number, in seconds.
    pub(crate) fn longest_pause(&self, since: u64) -> f64 {
        let lines = self.journal();
        let later = lines.iter().position(|(number, _)| *number >= since);
        let pairs = lines[later.expect("the number is there")..].windows(2);
        pairs.map(|pair| pair[1].1 - pair[0].1).fold(0.0, f64::max)
    }

    /// The last number in the journal file. All numbers are there, but for those that a guest wrote elsewhere at its boot before it had mounted
    /// this.
    pub(crate) fn last(&self) -> u64 {
        let lines = self.journal();
        let gap = lines.windows(2).find(|pair| {
            let booted = pair[1].1 < pair[0].1;
            pair[1].0 != pair[0].0 + 1 && !(booted && pair[1].0 > pair[0].0)
        });
        assert!(gap.is_none(), "a record is missing: {gap:?}");
        lines.last().expect("the guest has written something").0
    }
}
