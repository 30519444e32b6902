//! cp: the least that reading and writing an image takes. By itself it leaves the writing to the kernel; followed by `sync` the copy is there when it ends, as the backups of the others are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, Tool, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct Cp {
    home: PathBuf,
    synced: bool,
}

impl Cp {
    pub fn new(scratch: &Path, synced: bool) -> Self {
        let name = if synced { "cp-synced" } else { "cp" };
        Self {
            home: scratch.join(name),
            synced,
        }
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<Usage> {
        // Sharing blocks, as some file systems can, would not be a copy.
        let copy = r#"cp --reflink=never --sparse=always "$1" "$2""#;
        let copy = match self.synced {
            true => format!(r#"{copy} && sync "$2""#),
            false => format!("exec {copy}"),
        };
        let mut command = Command::new("sh");
        command.args(["-c", &copy, "sh"]);
        Ok(measure::run(command.arg(from).arg(to))?.0)
    }
}

impl Tool for Cp {
    fn name(&self) -> &'static str {
        match self.synced {
            true => "cp, synced",
            false => "cp",
        }
    }

    fn version(&self) -> Result<String> {
        version_of("cp", "--version")
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn remembers(&self) -> bool {
        false
    }

    fn init(&self) -> Result<()> {
        Ok(fs::create_dir(&self.home)?)
    }

    fn backup(&mut self, image: &Image<'_>) -> Result<Usage> {
        self.copy(image.file, &self.home.join(image.label))
    }

    fn restore(&self, label: &str, _file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let image = into.join("image.raw");
        Ok((self.copy(&self.home.join(label), &image)?, image))
    }
}
