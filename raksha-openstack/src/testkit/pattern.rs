//! Which requests are meant.

use std::str::FromStr;

use raksha_core::{Error, Kind};
use serde::{Deserialize, Serialize};

/// Requests by method, path and action.
///
/// Written as `METHOD /path`, where `*` as the method or as a segment of the path stands for any one, and `**` at the end for the rest
/// of it; `#name` behind the path means requests whose body has `name` as its only key, as actions have. So
/// `POST /compute/v2.1/servers/*/action#createImage`, `* /image/**`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
}

impl Pattern {
    pub(super) fn matches(&self, method: &str, path: &str, action: Option<&str>) -> bool {
        let Some((wanted_method, rest)) = self.text.split_once(' ') else {
            return false;
        };
        if wanted_method != "*" && wanted_method != method {
            return false;
        }
        let (wanted_path, wanted_action) = match rest.split_once('#') {
            Some((path, action)) => (path, Some(action)),
            None => (rest, None),
        };
        if wanted_action.is_some() && wanted_action != action {
            return false;
        }
        let path = path.split('?').next().unwrap_or_default();
        let mut segments = path.split('/').filter(|part| !part.is_empty());
        for wanted in wanted_path.split('/').filter(|part| !part.is_empty()) {
            match (wanted, segments.next()) {
                ("**", _) => return true,
                (_, None) => return false,
                ("*", Some(_)) => {}
                (wanted, Some(segment)) if wanted == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(' ') {
            Some((method, path)) if !method.is_empty() && path.starts_with('/') => Ok(Self {
                text: text.to_owned(),
            }),
            _ => Err(Error::new(
                Kind::Invalid,
                "read request pattern",
                "write it as METHOD /path, for example POST /compute/v2.1/servers/*/action#createImage",
            )
            .with("pattern", text)),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_actions_and_the_rest() {
        let matches = |pattern: &str, method: &str, path: &str, action: Option<&str>| {
            pattern
                .parse::<Pattern>()
                .unwrap()
                .matches(method, path, action)
        };
        assert!(matches(
            "GET /compute/v2.1/servers/*",
            "GET",
            "/compute/v2.1/servers/7?x=/y",
            None
        ));
        assert!(!matches(
            "GET /compute/v2.1/servers/*",
            "GET",
            "/compute/v2.1/servers/7/ips",
            None
        ));
        assert!(!matches(
            "GET /compute/v2.1/servers/*",
            "GET",
            "/compute/v2.1/servers",
            None
        ));
        assert!(!matches(
            "GET /compute/v2.1/servers/*",
            "PUT",
            "/compute/v2.1/servers/7",
            None
        ));
        assert!(matches(
            "* /image/**",
            "PUT",
            "/image/v2/images/7/file",
            None
        ));
        assert!(matches(
            "POST /s/*/action#pause",
            "POST",
            "/s/7/action",
            Some("pause")
        ));
        assert!(!matches(
            "POST /s/*/action#pause",
            "POST",
            "/s/7/action",
            Some("unpause")
        ));
        assert!("servers".parse::<Pattern>().is_err());
    }
}
