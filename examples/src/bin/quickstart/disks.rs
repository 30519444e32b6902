//! Disk images that hold real file systems with real files of this machine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use raksha_core::{Error, Kind, Result};

/// Folders that most machines have, from which disks are filled.
const SOURCES: [&str; 5] = [
    "/usr/bin",
    "/usr/share/doc",
    "/usr/share/perl",
    "/usr/lib/python3",
    "/usr/include",
];

/// The most bytes of files that go into one disk.
const MOST: u64 = 160 << 20;

/// Makes a sparse raw disk of `size` bytes with an ext4 file system that holds files of this machine; `nth` chooses which. Without `mke2fs`,
/// the files' bytes lie on the disk one after the other.
pub fn make(path: &Path, size: u64, nth: usize) -> Result<()> {
    let staged = path.with_extension("files");
    let files = gather(nth)?;
    stage(&files, &staged)?;
    let disk = File::create(path).and_then(|f| f.set_len(size));
    disk.map_err(|e| Error::io("make disk", e).with("disk", path.display()))?;
    let made = tool("mke2fs").map(|mke2fs| {
        Command::new(mke2fs)
            .args(["-q", "-t", "ext4", "-F", "-d"])
            .args([&staged, path])
            .stdout(Stdio::null())
            .status()
    });
    match made {
        Some(Ok(status)) if status.success() => {}
        Some(_) => {
            return Err(
                Error::new(Kind::Unavailable, "make file system", "mke2fs failed")
                    .with("disk", path.display()),
            );
        }
        None => concatenate(&files, path)?,
    }
    std::fs::remove_dir_all(&staged).map_err(|e| Error::io("remove staged files", e))
}

/// Turns a raw disk into a qcow2 one beside it, if qemu-img is there.
pub fn to_qcow2(raw: &Path) -> Result<Option<PathBuf>> {
    let Some(qemu) = tool("qemu-img") else {
        return Ok(None);
    };
    let path = raw.with_extension("qcow2");
    convert(&qemu, raw, &path, "raw", "qcow2")?;
    std::fs::remove_file(raw).map_err(|e| Error::io("remove raw disk", e))?;
    Ok(Some(path))
}

/// A raw copy of a disk image, made by qemu-img for qcow2, so that the comparison does not rest on the code under comparison.
pub fn raw_copy(image: &Path, to: &Path) -> Result<()> {
    match tool("qemu-img") {
        Some(qemu) if image.extension().is_some_and(|e| e == "qcow2") => {
            convert(&qemu, image, to, "qcow2", "raw")
        }
        _ => copy_sparse(image, to)
            .map_err(|e| Error::io("copy disk", e).with("disk", image.display())),
    }
}

fn convert(qemu: &Path, from: &Path, to: &Path, format: &str, into: &str) -> Result<()> {
    let status = Command::new(qemu)
        .args(["convert", "-f", format, "-O", into])
        .args([from, to])
        .status()
        .map_err(|e| Error::io("run qemu-img", e))?;
    match status.success() {
        true => Ok(()),
        false => Err(
            Error::new(Kind::Unavailable, "convert disk", "qemu-img failed")
                .with("disk", from.display()),
        ),
    }
}

/// Copies a file, leaving out blocks of zeroes.
fn copy_sparse(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut source, mut sink) = (File::open(from)?, File::create(to)?);
    sink.set_len(source.metadata()?.len())?;
    let mut block = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut block)?;
        let Some(bytes) = block.get(..read).filter(|b| !b.is_empty()) else {
            return Ok(());
        };
        if bytes.iter().any(|b| *b != 0) {
            sink.write_all(bytes)?;
        } else {
            sink.seek(SeekFrom::Current(read as i64))?;
        }
    }
}

/// Files of this machine, beginning with the `nth` source.
fn gather(nth: usize) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut sources = SOURCES;
    sources.rotate_left(nth % SOURCES.len());
    let mut folders: Vec<PathBuf> = sources.iter().rev().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file()
                && bytes + metadata.len() <= MOST
                && File::open(entry.path()).is_ok()
            {
                bytes += metadata.len();
                found.push(entry.path());
            }
        }
    }
    match found.is_empty() {
        true => Err(Error::new(
            Kind::NotFound,
            "gather files",
            "this machine has none of the folders that disks are filled from",
        )),
        false => Ok(found),
    }
}

fn stage(files: &[PathBuf], into: &Path) -> Result<()> {
    let copy = |file: &Path| {
        let place = into.join(file.strip_prefix("/").unwrap_or(file));
        place.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::copy(file, place).map(drop)
    };
    files
        .iter()
        .try_for_each(|f| copy(f))
        .map_err(|e| Error::io("copy files of this machine", e))
}

fn concatenate(files: &[PathBuf], disk: &Path) -> Result<()> {
    let write = || {
        let mut out = File::options().write(true).open(disk)?;
        files
            .iter()
            .try_for_each(|file| std::io::copy(&mut File::open(file)?, &mut out).map(drop))
    };
    write().map_err(|e: std::io::Error| Error::io("fill disk", e).with("disk", disk.display()))
}

/// Where a program is, looked for where system tools are too.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|p| p.is_file())
}
