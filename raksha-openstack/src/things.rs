//! Things in a cloud that have a status and a name: finding them, waiting for them, removing them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use raksha_core::{Error, Kind, Result, Timestamp};
use serde_json::Value;

use crate::client::{Client, Microversion, Request, Service};

/// A kind of thing: where it lives, and what its states mean.
#[derive(Debug)]
pub(crate) struct Thing {
    /// In errors: `volume snapshot`.
    pub(crate) what: &'static str,
    pub(crate) service: Service,
    /// The path of all: `snapshots`.
    pub(crate) path: &'static str,
    /// The path by which they are listed with all that is known of them.
    pub(crate) list: &'static str,
    /// The key of the list, and of one.
    pub(crate) keys: (&'static str, Option<&'static str>),
    pub(crate) microversion: Option<Microversion>,
    /// In which states it may be deleted. In others that are no error it is waited for.
    pub(crate) deletable: &'static [&'static str],
}

pub(crate) const SNAPSHOT: Thing = Thing {
    what: "volume snapshot",
    service: Service::BlockStorage,
    path: "snapshots",
    list: "snapshots/detail",
    keys: ("snapshots", Some("snapshot")),
    microversion: None,
    deletable: &["available", "error"],
};

pub(crate) const GROUP_SNAPSHOT: Thing = Thing {
    what: "group snapshot",
    service: Service::BlockStorage,
    path: "group_snapshots",
    list: "group_snapshots/detail",
    keys: ("group_snapshots", Some("group_snapshot")),
    microversion: Some(Microversion::new(3, 14)),
    deletable: &["available", "error"],
};

pub(crate) const VOLUME: Thing = Thing {
    what: "volume",
    service: Service::BlockStorage,
    path: "volumes",
    list: "volumes/detail",
    keys: ("volumes", Some("volume")),
    microversion: None,
    deletable: &["available", "error", "error_extending", "error_restoring"],
};

pub(crate) const IMAGE: Thing = Thing {
    what: "image",
    service: Service::Image,
    path: "images",
    list: "images",
    keys: ("images", None),
    microversion: None,
    deletable: &[
        "queued",
        "saving",
        "active",
        "killed",
        "deactivated",
        "uploading",
        "importing",
    ],
};

/// How often a deletion that the cloud took back is asked for again: what stood in its way may be on its own way out.
const DELETIONS: u32 = 3;

impl Thing {
    fn request(&self, request: Request) -> Request {
        match self.microversion {
            Some(microversion) => request.microversion(microversion),
            None => request,
        }
    }

    /// What the cloud says of the one with this id.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none.
    pub(crate) async fn get(&self, client: &Client, id: &str) -> Result<Value> {
        let request = self.request(Request::get(format!("{}/{id}", self.path)));
        let answer = client.send(self.service, request).await?;
        match self.keys.1 {
            Some(key) => answer.take(key),
            None => Ok(answer.body),
        }
    }

    /// Those of the project that are called exactly `name`.
    pub(crate) async fn named(&self, client: &Client, name: &str) -> Result<Vec<Value>> {
        let request = self.request(Request::get(self.list).query("name", name));
        let mut found = client.list(self.service, request, self.keys.0).await?;
        found.retain(|one| text(one, "name") == name);
        Ok(found)
    }

    /// Waits until it is in one of the states `wanted`, and gives what the cloud says then.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if it goes to an error instead, [`Kind::NotFound`] if it vanishes, [`Kind::Timeout`].
    pub(crate) async fn reaches(
        &self,
        client: &Client,
        id: &str,
        wanted: &[&str],
        deadline: Duration,
    ) -> Result<Value> {
        let what = format!("{} {id} to become {}", self.what, wanted.join(" or "));
        client
            .wait(&what, deadline, || async {
                let one = self.get(client, id).await?;
                let status = text(&one, "status");
                if wanted.contains(&status) {
                    return Ok(Some(one));
                }
                match status.starts_with("error") || status == "killed" {
                    true => Err(self.failed(id, status)),
                    false => Ok(None),
                }
            })
            .await
    }

    /// Deletes it and waits until it is gone. That it is not there is fine.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if the cloud does not let it go, [`Kind::Timeout`].
    pub(crate) async fn remove(&self, client: &Client, id: &str, deadline: Duration) -> Result<()> {
        let what = format!("{} {id} to be gone", self.what);
        let asked = AtomicU32::new(0);
        let look = || async {
            let one = match self.get(client, id).await {
                Ok(one) => one,
                Err(error) if error.kind() == Kind::NotFound => return Ok(Some(())),
                Err(error) => return Err(error),
            };
            let status = text(&one, "status");
            if status == "error_deleting" {
                return Err(self.failed(id, status));
            }
            if !self.deletable.contains(&status) {
                return Ok((status == "deleted").then_some(()));
            }
            if asked.fetch_add(1, Ordering::Relaxed) >= DELETIONS {
                let message = format!(
                    "the cloud does not let the {} go: something that was made from it is still there; delete that first",
                    self.what
                );
                let error = Error::new(Kind::Conflict, "release", message).with("id", id);
                return Err(error.with("status", status));
            }
            let request = self.request(Request::delete(format!("{}/{id}", self.path)));
            let request = request.operation("release");
            match client.send(self.service, request).await {
                // Whether it is gone, the next look tells.
                Ok(_) => Ok(None),
                Err(error) if error.kind() == Kind::NotFound => Ok(Some(())),
                // It has just changed its state, or something depends on it for now.
                Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Conflict) => {
                    tracing::debug!(%error, "not deleted yet");
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        client.wait(&what, deadline, look).await
    }

    fn failed(&self, id: &str, status: &str) -> Error {
        let message = format!(
            "the {} went to an error: the log of the cloud's {} service says why",
            self.what, self.service
        );
        let error = Error::new(Kind::Unavailable, "wait for the cloud", message);
        error.with("id", id).with("status", status)
    }
}

/// The text under `key`, or none of it.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The id, which everything has.
///
/// # Errors
/// [`Kind::Corrupt`] if this has none.
pub(crate) fn id(value: &Value) -> Result<String> {
    match text(value, "id") {
        "" => {
            let message = "the cloud's answer lacks the id of what it is about";
            Err(Error::new(
                Kind::Corrupt,
                "read the cloud's answer",
                message,
            ))
        }
        id => Ok(id.to_owned()),
    }
}

/// The time under `key`, as [`utc`] reads it.
pub(crate) fn time(value: &Value, key: &str) -> Option<Timestamp> {
    utc(text(value, key)).ok()
}

/// A time: Cinder and Nova write it without a zone, Keystone sometimes, and mean UTC.
pub(crate) fn utc(text: &str) -> Result<Timestamp> {
    match text.ends_with('Z') {
        true => text.parse(),
        false => format!("{text}Z").parse(),
    }
}

/// Whether a property means yes, as OpenStack's services read them.
pub(crate) fn is_yes(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    ["1", "t", "true", "on", "y", "yes"].contains(&text.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_with_and_without_zone() {
        let volume = json!({ "created_at": "2026-11-26T22:10:01.250000" });
        let image = json!({ "created_at": "2026-11-26T22:10:01Z" });
        let difference = time(&volume, "created_at")
            .unwrap()
            .since(time(&image, "created_at").unwrap());
        assert_eq!(difference, Duration::from_millis(250));
        assert_eq!(time(&json!({ "created_at": null }), "created_at"), None);
    }

    #[test]
    fn yes_has_many_spellings() {
        assert!(["yes", "True", " on ", "1"].iter().all(|text| is_yes(text)));
        assert!(
            ["no", "", "0", "false", "yesterday"]
                .iter()
                .all(|text| !is_yes(text))
        );
    }
}
