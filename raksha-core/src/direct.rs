//! Large writes past the page cache.
//!
//! What is written here is not read again soon, and is synced before it counts. To copy it into the page cache first costs a processor more
//! than anything else that a disk's restore does, displaces what the machine has better use for, and makes syncing wait for all
//! of it. So whole blocks go to the device straight from the buffer (`O_DIRECT`). Where that is not possible (the bytes or their
//! place are not aligned, the file system has no such thing) they are left to the caller, who writes them as ever.
//!
//! Writes past the cache and through it may be mixed in a file as long as they are to different blocks. Neither is durable before the
//! file was synced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Bytes and places must be multiples of this: the largest block of a device that is in use.
pub const ALIGNMENT: usize = 4096;

/// Less than this is not worth a request of its own to the device.
const LEAST: usize = 64 << 10;

/// A file that is open for writing past the page cache, if its file system can do that.
#[derive(Debug)]
pub struct DirectFile(Option<File>);

impl DirectFile {
    /// Opens the file at `path`, which exists.
    pub fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let flags = i32::try_from(OFlags::DIRECT.bits());
        options.write(true).custom_flags(flags.unwrap_or(0));
        Self(options.open(path).ok())
    }

    /// Writes whole blocks at the front of `data` to `offset`, and answers how many bytes that was: none where it is not possible. The
    /// rest is for the caller to write.
    pub fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let Self(Some(file)) = self else {
            return Ok(0);
        };
        let whole = data.len() / ALIGNMENT * ALIGNMENT;
        let aligned =
            data.as_ptr().align_offset(ALIGNMENT) == 0 && offset.is_multiple_of(ALIGNMENT as u64);
        if !aligned || whole < LEAST {
            return Ok(0);
        }
        let mut done = 0;
        while let Some(rest) = data.get(done..whole).filter(|rest| !rest.is_empty()) {
            match file.write_at(rest, offset + done as u64) {
                Ok(written) if written > 0 && written.is_multiple_of(ALIGNMENT) => done += written,
                // The caller's own attempt tells what is the matter.
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

/// How many bytes to skip in `buffer`, which has room for [`ALIGNMENT`] more than it needs, so that what follows is aligned.
pub(crate) fn padding(buffer: &[u8]) -> usize {
    // A pointer to bytes can always be aligned; if not, writing goes through the cache.
    match buffer.as_ptr().align_offset(ALIGNMENT) {
        padding if padding < ALIGNMENT => padding,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn blocks_past_the_cache_and_bytes_through_it_make_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = File::create(&path).unwrap();
        let direct = DirectFile::open(&path);
        let mut buffer = Vec::with_capacity((1 << 20) + ALIGNMENT + 77);
        let skip = padding(&buffer);
        buffer.resize(skip, 0);
        buffer.extend((0..(1 << 20) + 77).map(|n: u32| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]));
        let data = &buffer[skip..];
        file.write_all(&data[..100]).unwrap();

        let done = direct.write_at(data, 0).unwrap();
        // Some file systems in memory cannot do it.
        assert!(done == 1 << 20 || done == 0, "{done}");
        file.write_all_at(&data[done..], done as u64).unwrap();
        assert!(std::fs::read(&path).unwrap() == data);

        // Not aligned, or too little: all of it is left.
        assert_eq!(direct.write_at(&data[1..], 0).unwrap(), 0);
        assert_eq!(direct.write_at(data, 512).unwrap(), 0);
        assert_eq!(direct.write_at(&data[..4096], 0).unwrap(), 0);
        assert!(std::fs::read(&path).unwrap() == data);
    }
}
