//! Where the program works: a directory with a repository, and clouds in directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use raksha_core::cloud::{DiskId, DiskSource};
use raksha_core::local::LocalCloud;
use tempfile::TempDir;

use crate::{Build, Program, Random};

/// A directory with a repository that a key file opens; all that the program leaves behind is in it.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    /// The program, which knows target and key.
    pub raksha: Program,
}

impl Place {
    /// A new one, whose repository is in it, too.
    #[expect(clippy::new_without_default, reason = "it is work")]
    pub fn new() -> Self {
        Self::on(None, &[])
    }

    /// A new one, whose repository lies in the target at `address`, which is opened with what is in `environment`.
    pub fn on(address: Option<&str>, environment: &[(&'static str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        fs::write(&key, Random::new(7).bytes(32)).unwrap();
        let target = address.map_or_else(|| folder.path().join("target"), PathBuf::from);
        let mut raksha = Program::find(Build::Newest)
            .at_home(folder.path())
            .with("RAKSHA_TARGET", target)
            .with("RAKSHA_KEY_FILE", &key);
        for (name, value) in environment {
            raksha = raksha.with(name, value);
        }
        let id = raksha.ok(&["init"]);
        assert!(is_id(&id), "init must print the repository's id: {id}");
        Self { folder, raksha }
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file in it; gives its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        text(&path)
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Whether it looks like an id, and nothing else.
pub fn is_id(text: &str) -> bool {
    text.len() >= 32 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// The files of all disks, by server and place.
pub async fn disks(cloud: &LocalCloud) -> BTreeMap<(String, usize), PathBuf> {
    let mut found = BTreeMap::new();
    for server in cloud.graph().await.unwrap().servers {
        for (n, attachment) in server.attachments.iter().enumerate() {
            let id = match &attachment.source {
                DiskSource::Volume(id) => DiskId::Volume(id.clone()),
                DiskSource::Local { name, .. } => DiskId::Local {
                    server: server.id.clone(),
                    name: name.clone(),
                },
            };
            let path = cloud.disk_path(&id).await.unwrap();
            found.insert((server.name.clone(), n), path);
        }
    }
    found
}

/// The bytes of all disks, by server and place.
pub async fn contents(cloud: &LocalCloud) -> BTreeMap<(String, usize), Vec<u8>> {
    let disks = disks(cloud).await.into_iter();
    disks
        .map(|(key, path)| (key, fs::read(path).unwrap()))
        .collect()
}
