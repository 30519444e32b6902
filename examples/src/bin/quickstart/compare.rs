//! Comparing what came back with what was there.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use raksha_core::cloud::DiskId;
use raksha_core::id::{ServerId, VolumeId};
use raksha_core::local::LocalCloud;
use raksha_core::{Error, Kind, Result};

use crate::disks;

/// A raw copy of a disk as it was.
pub struct Original {
    disk: DiskId,
    copy: PathBuf,
}

/// Raw copies of all disk images of a cloud.
pub fn keep(home: &Path, folder: &Path) -> Result<Vec<Original>> {
    let failed = |e| Error::io("keep copies of the disks", e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(home.join("images")).map_err(failed)? {
        let image = entry.map_err(failed)?.path();
        let copy = folder
            .join(image.file_stem().unwrap_or_default())
            .with_extension("raw");
        disks::raw_copy(&image, &copy)?;
        let name = copy.file_stem().unwrap_or_default().to_string_lossy();
        let disk = match name.split_once('-') {
            Some((server, "root")) => DiskId::Local {
                server: ServerId::new(format!("server-{server}")),
                name: "root".into(),
            },
            Some((server, _)) => DiskId::Volume(VolumeId::new(format!("volume-{server}"))),
            None => continue,
        };
        kept.push(Original { disk, copy });
    }
    Ok(kept)
}

/// Compares every original with the same disk of the restored cloud, byte by byte. Gives how many there are.
pub async fn all(originals: &[Original], restored: &LocalCloud) -> Result<usize> {
    for original in originals {
        let path = restored.disk_path(&original.disk).await?;
        let same = same_bytes(&original.copy, &path).map_err(|e| Error::io("compare disks", e))?;
        if !same {
            return Err(
                Error::new(Kind::Corrupt, "compare disks", "a disk came back different")
                    .with("disk", &original.disk),
            );
        }
    }
    Ok(originals.len())
}

fn same_bytes(a: &Path, b: &Path) -> std::io::Result<bool> {
    let (mut a, mut b) = (
        BufReader::new(File::open(a)?),
        BufReader::new(File::open(b)?),
    );
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = a.read(&mut left)?;
        let (Some(left), Some(right)) = (left.get(..read), right.get_mut(..read)) else {
            return Ok(false);
        };
        if read == 0 {
            return Ok(b.read(&mut [0])? == 0);
        }
        match b.read_exact(right) {
            Ok(()) if left == &*right => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}
