//! cp: the least that reading and writing an image takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, Tool, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct Cp {
    home: PathBuf,
}

impl Cp {
    pub fn new(scratch: &Path) -> Self {
        Self {
            home: scratch.join("cp"),
        }
    }

    fn copy(from: &Path, to: &Path) -> Result<Usage> {
        let mut command = Command::new("cp");
        // Sharing blocks, as some file systems can, would not be a copy.
        command.args(["--reflink=never", "--sparse=always"]);
        Ok(measure::run(command.arg(from).arg(to))?.0)
    }
}

impl Tool for Cp {
    fn name(&self) -> &'static str {
        "cp"
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
        Self::copy(image.file, &self.home.join(image.label))
    }

    fn restore(&self, label: &str, _file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let image = into.join("image.raw");
        Ok((Self::copy(&self.home.join(label), &image)?, image))
    }
}
