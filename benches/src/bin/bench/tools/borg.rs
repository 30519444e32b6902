//! BorgBackup: cuts by content, keyed BLAKE2b, AES-CTR, lz4.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, PASSPHRASE, Tool, split, version_of};
use crate::Result;
use crate::measure::{self, Usage};

pub struct Borg {
    home: PathBuf,
    /// Its index of the repository's chunks and its notes on keys; it does not do without.
    notes: PathBuf,
}

impl Borg {
    pub fn new(scratch: &Path) -> Self {
        Self {
            home: scratch.join("borg"),
            notes: scratch.join("borg-notes"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("borg");
        command.env("BORG_PASSPHRASE", PASSPHRASE);
        command.env("BORG_BASE_DIR", &self.notes);
        command
    }

    /// How it names an archive: by the repository and what follows `::`.
    fn archive(&self, label: &str) -> OsString {
        let mut name = self.home.clone().into_os_string();
        name.push("::");
        name.push(label);
        name
    }
}

impl Tool for Borg {
    fn name(&self) -> &'static str {
        "borg"
    }

    fn version(&self) -> Result<String> {
        version_of("borg", "--version")
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn remembers(&self) -> bool {
        true
    }

    fn init(&self) -> Result<()> {
        let mut command = self.command();
        command
            .args(["init", "-e", "repokey-blake2"])
            .arg(&self.home);
        measure::run(&mut command).map(drop)
    }

    fn backup(&mut self, image: &Image<'_>) -> Result<Usage> {
        let (directory, name) = split(image.file)?;
        let mut command = self.command();
        command.args([
            "create",
            "--compression",
            "lz4",
            "--files-cache",
            "disabled",
        ]);
        command.arg(self.archive(image.label));
        command.arg(name).current_dir(directory);
        Ok(measure::run(&mut command)?.0)
    }

    fn restore(&self, label: &str, file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let mut command = self.command();
        command.args(["extract", "--sparse"]);
        command.arg(self.archive(label)).current_dir(into);
        Ok((measure::run(&mut command)?.0, into.join(split(file)?.1)))
    }
}
