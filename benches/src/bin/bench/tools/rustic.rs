//! rustic: restic's format, in Rust.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, PASSPHRASE, Tool, split, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct Rustic {
    home: PathBuf,
}

impl Rustic {
    pub fn new(scratch: &Path) -> Self {
        Self {
            home: scratch.join("rustic"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("rustic");
        command.args([
            "--no-progress",
            "--no-cache",
            "--log-level",
            "warn",
            "--repository",
        ]);
        command.arg(&self.home).env("RUSTIC_PASSWORD", PASSPHRASE);
        command
    }
}

impl Tool for Rustic {
    fn name(&self) -> &'static str {
        "rustic"
    }

    fn version(&self) -> Result<String> {
        version_of("rustic", "--version")
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
        command.args(["restore", "latest", "--sparse", "by-content"]);
        command.args(["--filter-tags", label]).arg(into);
        Ok((measure::run(&mut command)?.0, into.join(split(file)?.1)))
    }
}
