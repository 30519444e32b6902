//! Where settings come from, as a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The places to look in and the variables to look at.
///
/// [`Sources::system`] gives this process's; tests and embedders make their own. [`Sources::default`] has no place and no variable.
#[derive(Clone, Default)]
pub struct Sources {
    directories: Vec<PathBuf>,
    home: Option<PathBuf>,
    variables: BTreeMap<String, Zeroizing<String>>,
}

impl Sources {
    /// What this process sees: its `OS_*` variables, and the directories of openstacksdk in their order: the current directory,
    /// `$XDG_CONFIG_HOME/openstack`, `~/.config/openstack`, `/etc/xdg/openstack`, `/etc/openstack`.
    ///
    /// A variable that is not UTF-8 is passed over, as is one that is not named `OS_*`.
    pub fn system() -> Self {
        let path = |name: &str| {
            std::env::var_os(name)
                .filter(|value: &OsString| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = path("HOME");
        let directories = [
            Some(PathBuf::from(".")),
            path("XDG_CONFIG_HOME").map(|directory| directory.join("openstack")),
            home.as_deref().map(|home| home.join(".config/openstack")),
            Some(PathBuf::from("/etc/xdg/openstack")),
            Some(PathBuf::from("/etc/openstack")),
        ];
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("OS_"))
            .map(|(name, value)| (name, Zeroizing::new(value)))
            .collect();
        Self {
            directories: directories.into_iter().flatten().collect(),
            home,
            variables,
        }
    }

    /// Looks in `directory` too, after those named before.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directories.push(directory.into());
        self
    }

    /// What `~` stands for in paths.
    #[must_use]
    pub fn home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Sets the variable `name`.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables
            .insert(name.into(), Zeroizing::new(value.into()));
        self
    }

    /// The variable's value; an empty one counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All variables that are set and not empty.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }

    /// The paths at which `stem` may lie, in the order in which to look.
    pub(super) fn candidates(&self, stem: &str) -> Vec<PathBuf> {
        self.directories
            .iter()
            .flat_map(|directory| {
                ["yaml", "yml", "json"].map(|suffix| directory.join(format!("{stem}.{suffix}")))
            })
            .collect()
    }

    /// `path` with a leading `~` replaced by the home directory.
    pub(super) fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), &self.home) {
            (Some(""), Some(home)) => home.clone(),
            (Some(rest), Some(home)) if rest.starts_with('/') => {
                home.join(Path::new(rest.trim_start_matches('/')))
            }
            _ => PathBuf::from(path),
        }
    }
}

/// Names of variables only: some hold secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("directories", &self.directories)
            .field("home", &self.home)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .finish()
    }
}
