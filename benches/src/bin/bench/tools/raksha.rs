//! Raksha, by its command.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Image, Tool, version_of};
use crate::arguments::Arguments;
use crate::measure::{self, Usage};
use crate::{Result, files};

pub struct Raksha {
    program: PathBuf,
    home: PathBuf,
    key: PathBuf,
    /// Whether it is told what changed since the newest backup of the disk, as a hypervisor or a storage cluster would.
    told: bool,
    /// The points that backups were given, by their labels.
    points: BTreeMap<String, String>,
    /// The newest point of each disk, and the file that was backed up.
    newest: BTreeMap<String, (String, PathBuf)>,
}

impl Raksha {
    pub fn new(arguments: &Arguments, scratch: &Path, told: bool) -> Result<Self> {
        let program = match &arguments.raksha {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("raksha"),
        };
        if !program.exists() {
            let build = "cargo build --release -p raksha-examples --bin raksha";
            return Err(format!(
                "{}: make it with {build}, or use --raksha",
                program.display()
            )
            .into());
        }
        let name = if told { "raksha-told" } else { "raksha" };
        Ok(Self {
            program,
            home: scratch.join(name),
            key: scratch.join(name).with_extension("key"),
            told,
            points: BTreeMap::new(),
            newest: BTreeMap::new(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--target").arg(&self.home);
        command.arg("--key-file").arg(&self.key);
        command
    }
}

impl Tool for Raksha {
    fn name(&self) -> &'static str {
        match self.told {
            true => "raksha, told",
            false => "raksha",
        }
    }

    fn version(&self) -> Result<String> {
        version_of(&self.program, "--version")
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn remembers(&self) -> bool {
        true
    }

    fn init(&self) -> Result<()> {
        let mut key = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        File::create_new(&self.key)?.write_all(&key)?;
        fs::create_dir(&self.home)?;
        measure::run(self.command().arg("init")).map(drop)
    }

    fn backup(&mut self, image: &Image<'_>) -> Result<Usage> {
        let mut command = self.command();
        command.args(["disk", "backup"]).arg(image.file);
        command.args(["--name", image.disk]);
        if let Some((since, before)) = self.newest.get(image.disk).filter(|_| self.told) {
            let changed = self.home.with_extension("changed.json");
            fs::write(&changed, files::changes(before, image.file)?)?;
            command
                .arg("--changed")
                .arg(changed)
                .args(["--since", since]);
        }
        let (usage, point) = measure::run(&mut command)?;
        let point = point.trim().to_owned();
        let newest = (point.clone(), image.file.to_owned());
        self.newest.insert(image.disk.to_owned(), newest);
        self.points.insert(image.label.to_owned(), point);
        Ok(usage)
    }

    fn restore(&self, label: &str, _file: &Path, into: &Path) -> Result<(Usage, PathBuf)> {
        let point = self.points.get(label);
        let point = point.ok_or_else(|| format!("{label} was not backed up"))?;
        let image = into.join("image.raw");
        let mut command = self.command();
        command.args(["disk", "restore", point]).arg(&image);
        Ok((measure::run(&mut command)?.0, image))
    }
}
