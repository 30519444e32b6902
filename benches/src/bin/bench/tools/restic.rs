//! restic: cuts by content, SHA-256, AES-CTR with Poly1305, zstd.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, PASSPHRASE, Tool, split, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct Restic {
    home: PathBuf,
}

impl Restic {
    pub fn new(scratch: &Path) -> Self {
        Self {
            home: scratch.join("restic"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("restic");
        command.args(["--quiet", "--no-cache", "--repo"]);
        command.arg(&self.home).env("RESTIC_PASSWORD", PASSPHRASE);
        command
    }
}

impl Tool for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn version(&self) -> Result<String> {
        version_of("restic", "version")
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn remembers(&self) -> bool {
        true
    }

    fn init(&self) -> Result<()> {
        measure::run(self.command().arg("init")).map(drop)
    }

    fn backup(&mut self, image: &Image<'_>) -> Result<Usage> {
        let (directory, name) = split(image.file)?;
        let mut command = self.command();
        command.args(["backup", "--force", "--tag", image.label]);
        command.arg(name).current_dir(directory);
        Ok(measure::run(&mut command)?.0)
    }

    fn restore(&self, label: &str, file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let mut command = self.command();
        command.args(["restore", "latest", "--sparse", "--tag", label]);
        command.arg("--target").arg(into);
        Ok((measure::run(&mut command)?.0, into.join(split(file)?.1)))
    }
}
