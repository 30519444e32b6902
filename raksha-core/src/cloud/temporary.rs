//! Things that a run creates in the cloud and must not leave behind.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::resource::Raw;
use crate::error::Result;

/// Something that a run or restore creates in the cloud and releases in the end: a snapshot, a volume made from it,
/// an attachment, an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temporary {
    /// Its name or marker in the cloud, drawn before it is created and used nowhere else: by it the thing is found
    /// again even if the answer to its creation was lost.
    pub marker: String,
    /// What it is, in the cloud's words: `volume snapshot`, `image` ...
    pub kind: String,
    /// The cloud's id, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What else the provider needs to find and release it.
    #[serde(default)]
    pub detail: Raw,
}

/// Where temporaries are written down: before they are created, again when their id is known, and when they are gone.
///
/// # Contract
/// [`record`](Self::record) has returned successfully before the cloud is asked to create anything, and what it recorded
/// survives a crash.
#[async_trait]
pub trait Recorder: Send + Sync + fmt::Debug {
    /// Notes `temporary`; the same marker again replaces what was noted.
    async fn record(&self, temporary: &Temporary) -> Result<()>;

    /// Notes that the temporary with this marker is gone. Unknown markers are fine.
    async fn released(&self, marker: &str) -> Result<()>;
}
