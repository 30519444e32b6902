//! Images in the format qcow2, version 3: written without compression, read if they are like that and need no other file.
//!
//! Source of the layout: `docs/interop/qcow2.txt` of QEMU.

use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disks::next_data;

const MAGIC: u64 = 0x5146_49fb;
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of 8 bytes in a cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// References of 2 bytes in a cluster.
const REFERENCES: u64 = CLUSTER / 2;
/// The bits of an entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;

/// The size of the disk in an image.
pub(super) fn virtual_size(path: &Path) -> io::Result<u64> {
    Ok(Header::read(&File::open(path)?)?.size)
}

struct Header {
    cluster_bits: u32,
    size: u64,
    l1_entries: u64,
    l1_at: u64,
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason.to_owned())
}

fn number(file: &File, at: u64, bytes: usize) -> io::Result<u64> {
    let mut buffer = [0; 8];
    let part = buffer.get_mut(8 - bytes..).unwrap_or_default();
    file.read_exact_at(part, at)?;
    Ok(u64::from_be_bytes(buffer))
}

impl Header {
    fn read(file: &File) -> io::Result<Self> {
        if number(file, 0, 4)? != MAGIC {
            return Err(invalid("this is no qcow2 image"));
        }
        if number(file, 8, 8)? != 0 {
            return Err(invalid(
                "the image has a backing file, which is never followed",
            ));
        }
        let cluster_bits = u32::try_from(number(file, 20, 4)?).unwrap_or_default();
        if !(9..=21).contains(&cluster_bits) || number(file, 32, 4)? != 0 {
            return Err(invalid("the image is encrypted or has strange clusters"));
        }
        Ok(Self {
            cluster_bits,
            size: number(file, 24, 8)?,
            l1_entries: number(file, 36, 4)?,
            l1_at: number(file, 40, 8)?,
        })
    }
}

/// Writes the raw disk `from` as an image.
pub(super) fn write(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let size = source.metadata()?.len();
    let target = File::create(to)?;
    let clusters = size.div_ceil(CLUSTER);
    let l1_entries = clusters.div_ceil(ENTRIES).max(1);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
    // Header, first level, then second levels and data as they come; references last.
    let mut free = (1 + l1_clusters) * CLUSTER;
    let mut buffer = vec![0; usize::try_from(CLUSTER).unwrap_or_default()];
    let mut done = 0;
    let mut l2 = None;
    while let Some((start, end)) = next_data(&source, done * CLUSTER)? {
        let last = end.div_ceil(CLUSTER);
        for cluster in (start / CLUSTER).max(done)..last {
            let length =
                usize::try_from((size - cluster * CLUSTER).min(CLUSTER)).unwrap_or_default();
            buffer.fill(0);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            source.read_exact_at(piece, cluster * CLUSTER)?;
            if buffer.iter().all(|byte| *byte == 0) {
                continue;
            }
            let table = cluster / ENTRIES;
            let at = match l2 {
                Some((known, at)) if known == table => at,
                _ => {
                    let at = free;
                    free += CLUSTER;
                    target.write_all_at(&(at | COPIED).to_be_bytes(), CLUSTER + table * 8)?;
                    l2 = Some((table, at));
                    at
                }
            };
            target.write_all_at(&(free | COPIED).to_be_bytes(), at + cluster % ENTRIES * 8)?;
            target.write_all_at(&buffer, free)?;
            free += CLUSTER;
        }
        done = last;
    }
    let (table_at, table_clusters) = references(&target, free)?;
    let mut header = Vec::new();
    let mut put = |value: u64, bytes: usize| {
        header.extend_from_slice(value.to_be_bytes().get(8 - bytes..).unwrap_or_default());
    };
    put(MAGIC, 4);
    put(3, 4);
    put(0, 8); // backing file: none
    put(0, 4);
    put(u64::from(CLUSTER_BITS), 4);
    put(size, 8);
    put(0, 4); // encryption: none
    put(l1_entries, 4);
    put(CLUSTER, 8); // the first level follows the header
    put(table_at, 8);
    put(table_clusters, 4);
    put(0, 4); // internal snapshots: none
    put(0, 8);
    put(0, 8); // incompatible features
    put(0, 8); // compatible features
    put(0, 8); // autoclear features
    put(4, 4); // references of 2^4 bits
    put(104, 4); // the header's length
    put(0, 8); // no extensions
    target.write_all_at(&header, 0)
}

/// Writes that every cluster before `used`, and those of the references themselves, is used once: where the table is and its clusters.
fn references(target: &File, used: u64) -> io::Result<(u64, u64)> {
    let data = used / CLUSTER;
    let mut blocks = 1;
    let mut tables = 1;
    while (data + blocks + tables).div_ceil(REFERENCES) > blocks
        || blocks.div_ceil(ENTRIES) > tables
    {
        blocks = (data + blocks + tables).div_ceil(REFERENCES).max(blocks);
        tables = blocks.div_ceil(ENTRIES).max(tables);
    }
    let blocks_at = used + tables * CLUSTER;
    for block in 0..blocks {
        let entry = blocks_at + block * CLUSTER;
        target.write_all_at(&entry.to_be_bytes(), used + block * 8)?;
    }
    let count = usize::try_from(data + blocks + tables).unwrap_or_default();
    target.write_all_at(&[0, 1].repeat(count), blocks_at)?;
    target.set_len(blocks_at + blocks * CLUSTER)?;
    Ok((used, tables))
}

/// Writes the disk in an image as a raw disk of at least `size` bytes.
pub(super) fn read(from: &Path, to: &Path, size: u64) -> io::Result<()> {
    let source = File::open(from)?;
    let header = Header::read(&source)?;
    let cluster = 1 << header.cluster_bits;
    let entries = cluster / 8;
    let target = File::create(to)?;
    target.set_len(header.size.max(size))?;
    let mut buffer = vec![0; usize::try_from(cluster).unwrap_or_default()];
    for table in 0..header.l1_entries {
        let l2 = number(&source, header.l1_at + table * 8, 8)? & OFFSET;
        if l2 == 0 {
            continue;
        }
        for entry in 0..entries {
            let at = (table * entries + entry) * cluster;
            if at >= header.size {
                break;
            }
            let found = number(&source, l2 + entry * 8, 8)?;
            if found & COMPRESSED != 0 {
                return Err(invalid(
                    "the image is compressed, which this test cloud does not read",
                ));
            }
            // The lowest bit says that the cluster reads as zeroes.
            if found & OFFSET == 0 || found & 1 != 0 {
                continue;
            }
            let length = usize::try_from((header.size - at).min(cluster)).unwrap_or_default();
            let piece = buffer.get_mut(..length).unwrap_or_default();
            source.read_exact_at(piece, found & OFFSET)?;
            target.write_all_at(piece, at)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_others_read_it_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let options = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .clone();
        let raw = options.open(path("raw")).unwrap();
        raw.set_len((1 << 30) + 512).unwrap();
        raw.write_all_at(&[7; 100_000], 0).unwrap();
        raw.write_all_at(&[8; 70_000], (600 << 20) + 12345).unwrap();
        raw.write_all_at(&[9; 512], 1 << 30).unwrap();
        write(&path("raw"), &path("image")).unwrap();
        assert!(path("image").metadata().unwrap().len() < 2 << 20);
        assert_eq!(virtual_size(&path("image")).unwrap(), (1 << 30) + 512);
        read(&path("image"), &path("back"), 0).unwrap();
        let same = |other: &Path| {
            let other = File::open(other).unwrap();
            assert_eq!(other.metadata().unwrap().len(), (1 << 30) + 512);
            for at in [0, 65_536, 600 << 20, (600 << 20) + 65_536, 1 << 30] {
                let length = usize::try_from(((1 << 30) + 512 - at).min(65_536)).unwrap();
                let (mut a, mut b) = (vec![0; length], vec![1; length]);
                raw.read_exact_at(&mut a, at).unwrap();
                other.read_exact_at(&mut b, at).unwrap();
                assert!(a == b, "at {at}");
            }
        };
        same(&path("back"));
        // QEMU's own tool is the judge where it is installed.
        let tool = |arguments: &[&str]| {
            let tool = std::process::Command::new("qemu-img")
                .args(arguments)
                .current_dir(directory.path())
                .output();
            tool.ok()
                .map(|output| assert!(output.status.success(), "{output:?}"))
        };
        if tool(&["check", "-q", "image"]).is_some() {
            tool(&["convert", "-f", "qcow2", "-O", "raw", "image", "theirs"]);
            same(&path("theirs"));
        }
    }
}
