//! A request as the services see it.

use std::path::PathBuf;

use axum::http::HeaderMap;
use serde_json::Value;

use super::reply::Refusal;

/// The services, by the first segment of their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Identity,
    Compute,
    Volume,
    Image,
    Network,
    Objects,
}

impl Area {
    pub(super) fn of(segment: &str) -> Option<Self> {
        Some(match segment {
            "identity" => Self::Identity,
            "compute" => Self::Compute,
            "volume" => Self::Volume,
            "image" => Self::Image,
            "network" => Self::Network,
            "object-store" => Self::Objects,
            _ => return None,
        })
    }
}

/// Who calls: what the token says.
#[derive(Debug, Clone, Default)]
pub(super) struct Who {
    pub(super) token: String,
    pub(super) user: String,
    pub(super) project: String,
    pub(super) roles: Vec<String>,
}

impl Who {
    pub(super) fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "admin")
    }
}

/// What becomes of the things that a call makes: a fault may want them to fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Fine,
    /// They end in the state `error`.
    Error,
    /// They stay in the state that they begin in.
    Unfinished,
}

/// A body that was too large for memory and lies in a file.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) md5: String,
    pub(super) sha512: String,
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) area: Area,
    pub(super) method: String,
    /// The path as it was sent, the service's part included.
    pub(super) uri: String,
    /// The segments after the service's name, percent-decoded, empty ones left out.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// The JSON body, null if there is none.
    pub(super) body: Value,
    /// Whether there was a body and it was no JSON.
    pub(super) garbled: bool,
    pub(super) upload: Option<Upload>,
    /// None without a valid token.
    pub(super) who: Option<Who>,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    pub(super) fate: Fate,
}

impl Call {
    /// Who calls; 401 for nobody.
    pub(super) fn who(&self) -> Result<&Who, Refusal> {
        self.who.as_ref().ok_or_else(unauthenticated)
    }

    pub(super) fn query(&self, key: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(name, _)| name == key);
        found.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it is about the service itself.
    pub(super) fn is_root(&self) -> bool {
        self.segment_count() == 0
    }

    /// How many segments the path has after the service's name.
    pub(super) fn segment_count(&self) -> usize {
        let path = self.uri.split('?').next().unwrap_or_default();
        let all = path.split('/').filter(|segment| !segment.is_empty());
        all.count().saturating_sub(1)
    }

    /// The segments, to match on.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Whether the query names every project's things (`all_tenants=1`) and the caller may have them.
    pub(super) fn all_projects(&self, who: &Who) -> bool {
        let asked = self
            .query("all_tenants")
            .or_else(|| self.query("all_projects"));
        asked.is_some_and(truth) && who.is_admin()
    }
}

/// Whether a text means yes, as OpenStack reads it.
pub(super) fn truth(text: &str) -> bool {
    matches!(
        text.to_lowercase().as_str(),
        "" | "1" | "t" | "true" | "on" | "y" | "yes"
    )
}

/// 401, as the middleware before every service says it.
pub(super) fn unauthenticated() -> Refusal {
    Refusal::new(401, "The request you have made requires authentication.")
}
