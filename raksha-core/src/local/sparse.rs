//! Sparse files: where their data is, copies that stay sparse, and what differs between two of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::cloud::{Extent, ExtentKind};

/// Bytes moved or compared at once, and between two looks at whether to stop.
const STEP: usize = 1 << 20;
/// The unit in which differences are told.
pub(super) const BLOCK: usize = 4096;

/// Tells work on another thread to stop when the one who waits for it is gone.
#[derive(Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

/// What the worker looks at.
#[derive(Debug, Clone)]
pub(super) struct Stopped(Arc<AtomicBool>);

impl Stop {
    pub(super) fn watch(&self) -> Stopped {
        Stopped(Arc::clone(&self.0))
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Stopped {
    /// An error once nobody waits any more.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "nobody waits for this any more",
            ));
        }
        Ok(())
    }
}

/// How a copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopiedBy {
    /// The file system shares the blocks of both files until one is written: an instant for the whole file.
    Cloning,
    /// Byte for byte, holes left out.
    Reading,
}

/// Divides `range` of `file` into data and holes. The file may end before the range does: that is a hole too.
pub(super) fn extents(file: &File, range: Range<u64>) -> io::Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = range.start;
    let mut add = |range: Range<u64>, kind| {
        if !range.is_empty() {
            extents.push(Extent { range, kind });
        }
    };
    while at < range.end {
        let data = next_data(file, at, range.end)?;
        add(at..data, ExtentKind::Hole);
        if data == range.end {
            break;
        }
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(data)) {
            Ok(hole) => hole,
            Err(Errno::INVAL | Errno::NOTSUP) => range.end,
            Err(e) => return Err(e.into()),
        };
        // A hole punched between the two calls would stop progress here.
        let hole = hole.clamp(data + 1, range.end);
        add(data..hole, ExtentKind::Data);
        at = hole;
    }
    Ok(extents)
}

/// Copies `from` into the empty file `to`: a terabyte with nothing in it costs nothing.
pub(super) fn copy(from: &File, to: &File, stopped: &Stopped) -> io::Result<CopiedBy> {
    stopped.check()?;
    #[cfg(target_os = "linux")]
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(CopiedBy::Cloning);
    }
    let size = from.metadata()?.len();
    to.set_len(size)?;
    let mut buffer = vec![0; STEP];
    for extent in extents(from, 0..size)? {
        if extent.kind == ExtentKind::Hole {
            continue;
        }
        for step in steps(extent.range) {
            stopped.check()?;
            let buffer = part(&mut buffer, &step);
            from.read_exact_at(buffer, step.start)?;
            to.write_all_at(buffer, step.start)?;
        }
    }
    Ok(CopiedBy::Reading)
}

/// The stretches of `range` in which the files differ, in whole blocks of [`BLOCK`] bytes counted from the beginning of the
/// range. Both files reach at least to the end of the range.
pub(super) fn differences(
    a: &File,
    b: &File,
    range: Range<u64>,
    stopped: &Stopped,
) -> io::Result<Vec<Range<u64>>> {
    let mut different: Vec<Range<u64>> = Vec::new();
    let mut of_a = vec![0; STEP];
    let mut of_b = vec![0; STEP];
    let mut from = range.start;
    loop {
        stopped.check()?;
        // Where neither has data there is nothing to compare.
        let data = next_data(a, from, range.end)?.min(next_data(b, from, range.end)?);
        if data >= range.end {
            break;
        }
        let start = data - (data - range.start) % BLOCK as u64;
        let step = start..range.end.min(start + STEP as u64);
        from = step.end;
        let of_a = part(&mut of_a, &step);
        let of_b = part(&mut of_b, &step);
        a.read_exact_at(of_a, step.start)?;
        b.read_exact_at(of_b, step.start)?;
        let mut at = step.start;
        for (block_a, block_b) in of_a.chunks(BLOCK).zip(of_b.chunks(BLOCK)) {
            let end = at + block_a.len() as u64;
            if block_a != block_b {
                match different.last_mut() {
                    Some(last) if last.end == at => last.end = end,
                    _ => different.push(at..end),
                }
            }
            at = end;
        }
    }
    Ok(different)
}

/// Where the next data of `file` is at or after `at`; `end` if there is none before.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<u64> {
    if at >= end {
        return Ok(end);
    }
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(data.clamp(at, end)),
        // No data from here on.
        Err(Errno::NXIO) => Ok(end),
        // The file system keeps no account of holes.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(at),
        Err(e) => Err(e.into()),
    }
}

/// `range` in pieces of at most [`STEP`] bytes.
fn steps(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = (range.start..range.end).step_by(STEP);
    starts.map(move |start| start..range.end.min(start + STEP as u64))
}

/// The part of `buffer` that holds `step`, which is no longer than it.
fn part<'a>(buffer: &'a mut [u8], step: &Range<u64>) -> &'a mut [u8] {
    let length = usize::try_from(step.end - step.start).unwrap_or(usize::MAX);
    let length = length.min(buffer.len());
    buffer.split_at_mut(length).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::test_files::Scratch;
    use crate::testkit::Seeded;

    #[test]
    fn a_copy_is_equal_and_stays_sparse() {
        let scratch = Scratch::new();
        let from = scratch.file("from");
        from.set_len(1 << 40).unwrap();
        from.write_all_at(b"somewhere", (1 << 39) + 12345).unwrap();
        from.write_all_at(b"end", (1 << 40) - 3).unwrap();
        let to = scratch.file("to");
        copy(&from, &to, &unstopped()).unwrap();

        assert_eq!(to.metadata().unwrap().len(), 1 << 40);
        use std::os::unix::fs::MetadataExt;
        let bytes_on_disk = to.metadata().unwrap().blocks() * 512;
        assert!(
            bytes_on_disk < 1 << 20,
            "the copy takes {bytes_on_disk} bytes"
        );
        let mut there = [0; 9];
        to.read_exact_at(&mut there, (1 << 39) + 12345).unwrap();
        assert_eq!(&there, b"somewhere");
        let different = differences(&from, &to, (1 << 39)..(1 << 39) + (8 << 20), &unstopped());
        assert_eq!(different.unwrap(), Vec::<Range<u64>>::new());
    }

    #[test]
    fn differences_are_exactly_the_blocks_that_differ() {
        let scratch = Scratch::new();
        for seed in 0..8 {
            let mut random = Seeded::new(seed);
            let size = (3 << 20) + random.below(9000);
            let a = scratch.file(&format!("a{seed}"));
            let b = scratch.file(&format!("b{seed}"));
            a.set_len(size).unwrap();
            for _ in 0..20 {
                a.write_all_at(&random.bytes(5000), random.below(size - 5000))
                    .unwrap();
            }
            copy(&a, &b, &unstopped()).unwrap();
            for _ in 0..random.below(6) {
                b.write_all_at(&random.bytes(3), random.below(size - 3))
                    .unwrap();
            }
            let read = |file: &File| {
                let mut bytes = vec![0; usize::try_from(size).unwrap()];
                file.read_exact_at(&mut bytes, 0).unwrap();
                bytes
            };
            let (bytes_a, bytes_b) = (read(&a), read(&b));
            let told = differences(&a, &b, 0..size, &unstopped()).unwrap();
            let blocks = bytes_a.chunks(BLOCK).zip(bytes_b.chunks(BLOCK)).enumerate();
            for (i, (x, y)) in blocks {
                let at = (i * BLOCK) as u64;
                let is_told = told.iter().any(|r| r.contains(&at));
                assert_eq!(x != y, is_told, "seed {seed}, block at {at}");
            }
        }
    }

    #[test]
    fn a_copy_stops_when_nobody_waits() {
        let scratch = Scratch::new();
        let from = scratch.file("from");
        from.write_all_at(&[1; 100], 0).unwrap();
        let stop = Stop::default();
        let watch = stop.watch();
        drop(stop);
        assert!(copy(&from, &scratch.file("to"), &watch).is_err());
    }

    fn unstopped() -> Stopped {
        Stopped(Arc::default())
    }
}
