//! qemu-img: the image converted to qcow2, neither compressed nor encrypted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, Tool, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct QemuImg {
    home: PathBuf,
}

impl QemuImg {
    pub fn new(scratch: &Path) -> Self {
        Self {
            home: scratch.join("qemu-img"),
        }
    }

    fn image(&self, label: &str) -> PathBuf {
        self.home.join(label).with_extension("qcow2")
    }
}

impl Tool for QemuImg {
    fn name(&self) -> &'static str {
        "qemu-img"
    }

    fn version(&self) -> Result<String> {
        version_of("qemu-img", "--version")
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
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "raw", "-O", "qcow2"]);
        command.arg(image.file).arg(self.image(image.label));
        Ok(measure::run(&mut command)?.0)
    }

    fn restore(&self, label: &str, _file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let image = into.join("image.raw");
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "qcow2", "-O", "raw"]);
        command.arg(self.image(label)).arg(&image);
        Ok((measure::run(&mut command)?.0, image))
    }
}
