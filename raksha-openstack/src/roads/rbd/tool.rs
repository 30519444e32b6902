//! The program `rbd`: what is asked of it, and what it answers.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use raksha_core::{Error, Kind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::Place;
use crate::cloud::CephAccess;
use crate::roads::options::RoadOptions;

/// The longest answer: a change is told in some 50 bytes, and a disk of 4 TiB has a million objects.
const LONGEST_ANSWER: u64 = 64 << 20;
const LONGEST_COMPLAINT: u64 = 4096;

/// A snapshot of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Snapshot {
    /// Its number, which no other snapshot of the pool ever has.
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Of the image at that time, in bytes.
    pub(crate) size: u64,
    /// When it was made, in the cluster's words.
    #[serde(default)]
    pub(crate) timestamp: String,
}

/// A stretch that may differ.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Change {
    pub(super) offset: u64,
    pub(super) length: u64,
}

#[derive(Debug)]
pub(super) struct Tool {
    program: PathBuf,
    access: CephAccess,
    deadline: Duration,
}

impl Tool {
    pub(super) fn new(access: &CephAccess, options: &RoadOptions) -> Self {
        Self {
            program: options.rbd.clone(),
            access: access.clone(),
            deadline: options.request,
        }
    }

    /// The number of the image, which no other image of the pool ever has.
    pub(super) async fn image_id(&self, place: &Place) -> Result<String> {
        #[derive(Deserialize)]
        struct Info {
            id: String,
        }
        let info: Info = self.ask("look at RBD image", place, &["info"]).await?;
        Ok(info.id)
    }

    /// What the image can do beyond the least.
    pub(super) async fn features(&self, place: &Place) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Info {
            features: Vec<String>,
        }
        let info: Info = self.ask("look at RBD image", place, &["info"]).await?;
        Ok(info.features)
    }

    pub(super) async fn snapshots(&self, place: &Place) -> Result<Vec<Snapshot>> {
        self.ask("list RBD snapshots", place, &["snap", "ls"]).await
    }

    /// What changed from one snapshot to another: by whole objects, which takes no longer for a large image than for a small one, or exactly.
    pub(super) async fn diff(
        &self,
        place: &Place,
        (old, new): (&str, &str),
        whole_objects: bool,
    ) -> Result<Vec<Change>> {
        let mut arguments = vec!["diff", "--from-snap", old, "--snap", new];
        if whole_objects {
            arguments.push("--whole-object");
        }
        self.ask("compare RBD snapshots", place, &arguments).await
    }

    pub(super) async fn make_snapshot(&self, place: &Place, name: &str) -> Result<()> {
        let arguments = ["snap", "create", "--no-progress", "--snap", name];
        self.run("make RBD snapshot", place, &arguments)
            .await
            .map(drop)
    }

    pub(super) async fn remove_snapshot(&self, place: &Place, name: &str) -> Result<()> {
        let arguments = ["snap", "rm", "--no-progress", "--snap", name];
        self.run("remove RBD snapshot", place, &arguments)
            .await
            .map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        place: &Place,
        arguments: &[&str],
    ) -> Result<T> {
        let arguments = [arguments, &["--format", "json"]].concat();
        let answer = self.run(operation, place, &arguments).await?;
        read(operation, &answer).map_err(|error| error.with("image", place))
    }

    async fn run(
        &self,
        operation: &'static str,
        place: &Place,
        arguments: &[&str],
    ) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.program);
        command.arg("--conf").arg(&self.access.conf);
        command.args(["--id", &self.access.user]);
        command.arg("--keyring").arg(&self.access.keyring);
        command.args(arguments);
        command.args(["--pool", &place.pool, "--image", &place.image]);
        command.env("LC_ALL", "C").kill_on_drop(true);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let named = |error: Error| error.with("image", place);
        let mut child = command.spawn().map_err(|e| {
            if e.kind() != std::io::ErrorKind::NotFound {
                return named(Error::io(operation, e));
            }
            let message = "there is no `rbd` on this machine: install it (ceph-common), or take another road than rbd";
            named(Error::new(Kind::Unsupported, operation, message).caused_by(e))
        })?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (answer, complaint) = tokio::try_join!(
                collect(out, LONGEST_ANSWER),
                collect(err, LONGEST_COMPLAINT)
            )?;
            Ok::<_, std::io::Error>((child.wait().await?, answer, complaint))
        };
        let done = tokio::time::timeout(self.deadline, work).await;
        let done = done.map_err(|_| {
            let message = format!(
                "the Ceph cluster gives no answer within {} s: look at `ceph status`",
                self.deadline.as_secs()
            );
            named(Error::new(Kind::Timeout, operation, message))
        })?;
        let (status, answer, complaint) = done.map_err(|e| named(Error::io(operation, e)))?;
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            return Err(named(refused(operation, complaint.trim())));
        }
        if answer.len() as u64 >= LONGEST_ANSWER {
            let message = "the answer of `rbd` is too long to be read";
            return Err(named(Error::new(Kind::Unsupported, operation, message)));
        }
        Ok(answer)
    }
}

/// Reads an answer in JSON.
pub(super) fn read<T: DeserializeOwned>(operation: &'static str, answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).map_err(|e| {
        let message = "the answer of `rbd` is not understood: is it of a release before Luminous?";
        Error::new(Kind::Unsupported, operation, message).caused_by(e)
    })
}

/// What `rbd` complains of; it ends with the operating system's words for the cluster's error.
fn refused(operation: &'static str, complaint: &str) -> Error {
    let (kind, remedy) = if complaint.contains("No such file or directory") {
        (Kind::NotFound, "there is no such image or snapshot")
    } else if complaint.contains("Operation not permitted")
        || complaint.contains("Permission denied")
    {
        let remedy = "the Ceph user may not do this: give it `profile rbd` on the pool, or `profile rbd-read-only` for reading alone";
        (Kind::Denied, remedy)
    } else {
        (Kind::Unavailable, "`rbd` failed")
    };
    Error::new(kind, operation, remedy)
        .with("rbd says", complaint.lines().last().unwrap_or("nothing"))
}

/// Reads all there is, and keeps at most `most` bytes.
async fn collect(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(most).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use raksha_core::testkit::Fuzz;

    use super::*;

    #[test]
    fn what_rbd_says_is_understood() {
        let says = r#"[{"id":12,"name":"snapshot-1","size":1073741824,"protected":"true","timestamp":"Thu Nov 26 22:10:01 2026"}]"#;
        let snapshots: Vec<Snapshot> = serde_json::from_str(says).unwrap();
        assert_eq!((snapshots[0].id, snapshots[0].size), (12, 1 << 30));
        let says = r#"[{"offset":0,"length":4194304,"exists":"true"},{"offset":8388608,"length":512,"exists":"false"}]"#;
        let changes: Vec<Change> = serde_json::from_str(says).unwrap();
        assert_eq!(
            changes[1],
            Change {
                offset: 8 << 20,
                length: 512
            }
        );
    }

    #[test]
    fn snapshots_that_were_changed() {
        let says = r#"[{"id":12,"name":"snapshot-1","size":1073741824,"timestamp":"Thu Nov 26 22:10:01 2026"}]"#;
        Fuzz::new("rbd-snapshots", crate::CORPORA)
            .good(says)
            .feed(|answer| {
                let snapshots: Vec<Snapshot> = read("list", answer)?;
                Ok(snapshots.len().min(2).to_string())
            });
    }

    #[test]
    fn complaints_say_what_to_do() {
        let error = refused(
            "look",
            "rbd: error opening image x: (2) No such file or directory",
        );
        assert_eq!(error.kind(), Kind::NotFound);
        let error = refused(
            "make",
            "rbd: failed to create snapshot: (1) Operation not permitted",
        );
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("profile rbd"), "{error}");
        assert_eq!(refused("look", "").kind(), Kind::Unavailable);
    }
}
