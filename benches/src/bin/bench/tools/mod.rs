//! The tools compared: how each is told to back up and to restore.
//!
//! Each is used as its manual proposes for a file that is a disk image, with encryption where it has it, without
//! a cache of its own, and told to read the image even if it looks unchanged: an image on a device has no time of change.

mod borg;
mod cp;
mod qemu_img;
mod raksha;
mod restic;
mod rustic;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::arguments::{Arguments, Peer};
use crate::measure::{self, Usage};

/// What all repositories of one run are opened with.
const PASSPHRASE: &str = "of no worth beyond this run";

/// A state of a disk.
pub struct Image<'a> {
    /// The raw image; absolute.
    pub file: &'a Path,
    /// The disk that it is a state of.
    pub disk: &'a str,
    /// What its backup is called from here on.
    pub label: &'a str,
}

/// Something that keeps disk images, all below one directory.
pub trait Tool {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// What it says it is.
    fn version(&self) -> Result<String>;

    /// The directory that everything it keeps is in.
    fn home(&self) -> &Path;

    /// Whether it stores less when it has something similar already. If not, only one full backup tells something.
    fn remembers(&self) -> bool;

    /// Makes an empty repository.
    fn init(&self) -> Result<()>;

    /// Backs an image up, reading all of it, or what it is told has changed.
    fn backup(&mut self, image: &Image<'_>) -> Result<Usage>;

    /// Writes the image called `label`, backed up from `file`, somewhere below `into`, an empty directory; says where.
    fn restore(&self, label: &str, file: &Path, into: &Path) -> Result<(Usage, PathBuf)>;
}

/// Raksha, without and with change hints, and whom else the arguments name.
pub fn all(arguments: &Arguments, scratch: &Path) -> Result<Vec<Box<dyn Tool>>> {
    let mut tools: Vec<Box<dyn Tool>> = vec![
        Box::new(raksha::Raksha::new(arguments, scratch, false)?),
        Box::new(raksha::Raksha::new(arguments, scratch, true)?),
    ];
    for peer in &arguments.peers {
        tools.push(match peer {
            Peer::Restic => Box::new(restic::Restic::new(scratch)),
            Peer::Borg => Box::new(borg::Borg::new(scratch)),
            Peer::Rustic => Box::new(rustic::Rustic::new(scratch)),
            Peer::QemuImg => Box::new(qemu_img::QemuImg::new(scratch, false)),
            Peer::QemuImgSynced => Box::new(qemu_img::QemuImg::new(scratch, true)),
            Peer::Cp => Box::new(cp::Cp::new(scratch, false)),
            Peer::CpSynced => Box::new(cp::Cp::new(scratch, true)),
        });
    }
    Ok(tools)
}

/// The first line of what a command says of its version.
fn version_of(program: impl AsRef<OsStr>, argument: &str) -> Result<String> {
    let (_, said) = measure::run(Command::new(program).arg(argument))?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// The directory and the name in it: tools that store files by their path are run in the image's directory.
fn split(file: &Path) -> Result<(&Path, &OsStr)> {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(format!("{}: not a file", file.display()).into());
    };
    Ok((directory, name))
}
