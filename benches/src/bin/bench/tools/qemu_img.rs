//! qemu-img: the image converted to qcow2, neither compressed nor encrypted. By itself it leaves the writing to the kernel; with `-t none` it writes past the page cache
//! and flushes, so that the image is there when it ends, as the backups of the others are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, Tool, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct QemuImg {
    home: PathBuf,
    synced: bool,
}

impl QemuImg {
    pub fn new(scratch: &Path, synced: bool) -> Self {
        let name = match synced {
            true => "qemu-img-synced",
            false => "qemu-img",
        };
        Self {
            home: scratch.join(name),
            synced,
        }
    }

    fn convert(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", from, "-O", to]);
        if self.synced {
            command.args(["-t", "none"]);
        }
        command
    }

    fn image(&self, label: &str) -> PathBuf {
        self.home.join(label).with_extension("qcow2")
    }
}

impl Tool for QemuImg {
    fn name(&self) -> &'static str {
        match self.synced {
            true => "qemu-img, synced",
            false => "qemu-img",
        }
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
        let mut command = self.convert("raw", "qcow2");
        command.arg(image.file).arg(self.image(image.label));
        Ok(measure::run(&mut command)?.0)
    }

    fn restore(&self, label: &str, _file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let image = into.join("image.raw");
        let mut command = self.convert("qcow2", "raw");
        command.arg(self.image(label)).arg(&image);
        Ok((measure::run(&mut command)?.0, image))
    }
}
