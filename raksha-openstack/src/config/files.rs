//! Finding and merging clouds.yaml, secure.yaml and clouds-public.yaml.

use std::io::Read;
use std::path::{Path, PathBuf};

use raksha_core::{Error, Kind, Result};
use zeroize::Zeroizing;

use super::sources::Sources;
use super::yaml::{self, Map, Node};
use super::{OPERATION, invalid};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The clouds that the files describe, secrets merged in.
pub(super) struct Files {
    pub(super) clouds: Map,
    /// The files that were read, for messages.
    pub(super) origin: String,
}

impl Files {
    /// Reads the first clouds file and the first secure file of the search path.
    pub(super) fn read(sources: &Sources) -> Result<Self> {
        let mut clouds = Map::new();
        let mut origin = Vec::new();
        for (stem, variable) in [
            ("clouds", "OS_CLIENT_CONFIG_FILE"),
            ("secure", "OS_CLIENT_SECURE_FILE"),
        ] {
            if let Some((path, section)) = first(sources, stem, Some(variable), "clouds")? {
                overlay(&mut clouds, section);
                origin.push(path.display().to_string());
            }
        }
        Ok(Self {
            clouds,
            origin: origin.join(" and "),
        })
    }
}

/// The settings of the vendor profile `name`, from clouds-public.yaml.
pub(super) fn profile(sources: &Sources, name: &str) -> Result<Map> {
    let found = first(sources, "clouds-public", None, "public-clouds")?;
    let place = found.as_ref().map_or_else(
        || "no clouds-public.yaml found".to_owned(),
        |(path, _)| path.display().to_string(),
    );
    match found.and_then(|(_, mut profiles)| profiles.remove(name)) {
        Some(Node::Map(settings)) => Ok(settings),
        _ => Err(Error::new(
            Kind::Unsupported,
            OPERATION,
            "this vendor profile is not known: profiles built into openstacksdk and profiles at a URL are not supported. Write its settings (auth_url at least) \
             into the cloud and remove the key, or put the profile under public-clouds in a clouds-public.yaml beside clouds.yaml",
        )
        .with("profile", name)
        .with("file", place)),
    }
}

/// Lays `over` on `under`: mappings key by key, everything else as a whole.
pub(super) fn overlay(under: &mut Map, over: Map) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Node::Map(below)), Node::Map(above)) => overlay(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// The `section` of the first file called `stem` that can be read.
///
/// The file that `variable` names must be readable; one of the search path that this user may not read is passed over, as
/// openstacksdk does. A file with a fault is an error, where openstacksdk warns and takes the next: that could be another cloud.
fn first(
    sources: &Sources,
    stem: &str,
    variable: Option<&'static str>,
    section: &str,
) -> Result<Option<(PathBuf, Map)>> {
    if let Some((variable, path)) = variable.and_then(|v| Some((v, sources.get(v)?))) {
        let path = sources.expand(path);
        let text = load(&path)
            .map_err(|source| Error::io(OPERATION, source))
            .map_err(|error| {
                error
                    .with("file", path.display())
                    .with("named by", variable)
            })?;
        return take(&path, &text, section).map(|map| Some((path, map)));
    }
    for path in sources.candidates(stem) {
        match load(&path) {
            Ok(text) => return take(&path, &text, section).map(|map| Some((path, map))),
            Err(error) => match error.kind() {
                std::io::ErrorKind::NotFound
                | std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::NotADirectory => {}
                _ => return Err(Error::io(OPERATION, error).with("file", path.display())),
            },
        }
    }
    Ok(None)
}

fn load(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len().min(MAX_BYTES);
    // Room for all of it at once, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(
        usize::try_from(length + 1).unwrap_or_default(),
    ));
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "larger than 4 MiB: this is no file of settings",
        ));
    }
    Ok(text)
}

fn take(path: &Path, text: &str, section: &str) -> Result<Map> {
    let fault = |reason: String| invalid(reason).with("file", path.display());
    let root = yaml::parse(text).map_err(|fault_at| fault(format!("no valid YAML: {fault_at}")))?;
    let Node::Map(mut root) = root else {
        return Err(fault(format!(
            "the file must be a mapping with the key {section}"
        )));
    };
    match root.remove(section) {
        Some(Node::Map(map)) => Ok(map),
        None => Ok(Map::new()),
        Some(Node::Scalar(text)) if text.is_empty() => Ok(Map::new()),
        Some(_) => Err(fault(format!(
            "{section} must be a mapping of names to settings"
        ))),
    }
}
