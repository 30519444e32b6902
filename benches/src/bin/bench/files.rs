//! What is looked at in files, outside of what is measured.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Reads a file once, so that whoever reads it next finds it in memory.
pub fn warm(path: &Path) -> Result<()> {
    let mut file = open(path)?;
    let mut block = vec![0; BLOCK];
    while file.read(&mut block)? > 0 {}
    Ok(())
}

/// Reads all files of a directory once.
pub fn warm_all(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => warm_all(&entry.path())?,
            false => warm(&entry.path())?,
        }
    }
    Ok(())
}

/// Fails unless both files hold the same bytes.
pub fn must_be_same(original: &Path, restored: &Path) -> Result<()> {
    let (mut a, mut b) = (open(original)?, open(restored)?);
    let (mut of_a, mut of_b) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    let mut offset = 0;
    loop {
        of_a.clear();
        of_b.clear();
        let length = (&mut a).take(BLOCK as u64).read_to_end(&mut of_a)?;
        (&mut b).take(BLOCK as u64).read_to_end(&mut of_b)?;
        if of_a != of_b {
            let (a, b) = (original.display(), restored.display());
            return Err(format!("{b} differs from {a} in the MiB from byte {offset}").into());
        }
        if length == 0 {
            return Ok(());
        }
        offset += length as u64;
    }
}

/// What differs between two files, in the grain that qemu keeps its dirty bitmaps in by default, as JSON.
pub fn changes(before: &Path, after: &Path) -> Result<String> {
    const GRAIN: usize = 64 << 10;
    let (mut before, mut after) = (open(before)?, open(after)?);
    let (mut was, mut is) = (Vec::with_capacity(GRAIN), Vec::with_capacity(GRAIN));
    let mut changes: Vec<(u64, u64)> = Vec::new();
    let mut offset = 0;
    loop {
        was.clear();
        is.clear();
        (&mut before).take(GRAIN as u64).read_to_end(&mut was)?;
        let length = (&mut after).take(GRAIN as u64).read_to_end(&mut is)? as u64;
        if length == 0 {
            break;
        }
        match changes.last_mut() {
            _ if was == is => {}
            Some((start, long)) if *start + *long == offset => *long += length,
            _ => changes.push((offset, length)),
        }
        offset += length;
    }
    let changes = changes.iter();
    let changes = changes.map(|(offset, length)| json!({ "offset": offset, "length": length }));
    Ok(Value::from_iter(changes).to_string())
}

/// The bytes that a directory and all in it occupy on disk; holes occupy nothing.
pub fn occupied(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => occupied(&entry.path())?,
            // POSIX counts in 512 bytes, whatever the file system's block is.
            false => metadata.blocks() * 512,
        };
    }
    Ok(bytes)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_files_apart_by_a_byte_and_by_length() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let mut bytes = vec![7; BLOCK + 5];
        let original = write("a", &bytes);
        must_be_same(&original, &write("same", &bytes)).unwrap();
        must_be_same(&original, &write("short", &bytes[..BLOCK])).unwrap_err();
        bytes.push(7);
        must_be_same(&original, &write("long", &bytes)).unwrap_err();
        bytes.pop();
        bytes[BLOCK + 4] = 8;
        must_be_same(&original, &write("other", &bytes)).unwrap_err();
    }
}
