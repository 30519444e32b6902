//! Disks as sparse files in a directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// The most bytes that are held while copying.
const PIECE: usize = 1 << 20;

/// Where the bytes of disks, images and objects lie.
#[derive(Debug, Clone)]
pub(super) struct Disks {
    directory: PathBuf,
}

impl Disks {
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let directory = directory.join("disks");
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Where the bytes of the thing `id` lie, whatever it is: a volume, a snapshot, a server's local disk, an image.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// A disk of holes.
    pub(super) fn create(&self, id: &str, size: u64) -> io::Result<()> {
        File::create(self.path(id))?.set_len(size)
    }

    /// A disk with the bytes of another, and then holes up to `size`.
    pub(super) fn copy(&self, from: &str, to: &str, size: u64) -> io::Result<()> {
        let source = File::open(self.path(from))?;
        let target = File::create(self.path(to))?;
        copy_extents(&source, &target)?;
        let length = source.metadata()?.len().max(size);
        target.set_len(length)
    }

    pub(super) fn grow(&self, id: &str, size: u64) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.path(id))?
            .set_len(size)
    }

    pub(super) fn size(&self, id: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path(id))?.len())
    }

    pub(super) fn write(&self, id: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.path(id))?
            .write_all_at(bytes, offset)
    }

    /// Removes the bytes; that there are none is fine.
    pub(super) fn remove(&self, id: &str) {
        let _ = std::fs::remove_file(self.path(id));
    }
}

/// Copies what is no hole.
fn copy_extents(source: &File, target: &File) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while let Some((start, end)) = next_data(source, at)? {
        at = start;
        while at < end {
            let length = usize::try_from((end - at).min(PIECE as u64)).unwrap_or(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            source.read_exact_at(piece, at)?;
            target.write_all_at(piece, at)?;
            at += length as u64;
        }
    }
    Ok(())
}

/// The first run of data at or after `from`.
pub(super) fn next_data(file: &File, from: u64) -> io::Result<Option<(u64, u64)>> {
    match seek(file, SeekFrom::Data(from)) {
        Ok(start) => Ok(Some((start, seek(file, SeekFrom::Hole(start))?))),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let directory = tempfile::tempdir().unwrap();
        let disks = Disks::new(directory.path()).unwrap();
        disks.create("a", 1 << 30).unwrap();
        disks.write("a", 0, &[1; 5000]).unwrap();
        disks.write("a", (1 << 29) + 7, &[2; 3_000_000]).unwrap();
        disks.copy("a", "b", 2 << 30).unwrap();
        assert_eq!(disks.size("b").unwrap(), 2 << 30);
        let copy = File::open(disks.path("b")).unwrap();
        let mut bytes = vec![0; 3_000_000];
        copy.read_exact_at(&mut bytes, (1 << 29) + 7).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 2));
        copy.read_exact_at(&mut bytes[..5001], 0).unwrap();
        assert_eq!((bytes[4999], bytes[5000]), (1, 0));
        let kept = copy.metadata().unwrap().blocks() * 512;
        assert!(kept < 4 << 20, "{kept} bytes for 3 MB of data");
    }
}
