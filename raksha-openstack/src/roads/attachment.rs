//! Attaching a volume to nobody: Cinder then tells where its bytes are.

use raksha_core::Result;
use raksha_core::cloud::{Recorder, Temporary};
use serde_json::{Value, json};

use super::Roads;
use crate::client::{Microversion, Request, Service};
use crate::temporary::{ATTACHMENT, ATTACHMENTS, planned};
use crate::things::{self, text};

/// The least that lets an attachment be completed.
const COMPLETE: Microversion = Microversion::new(3, 44);
const ATTACH: &str = "attach volume";

impl Roads {
    /// Attaches a volume of ours to nobody, and gives what its connection is made of. Recorded first; added to `made` as soon as it may exist.
    pub(super) async fn attach(
        &self,
        volume: &str,
        marker: &str,
        recorder: &dyn Recorder,
        made: &mut Vec<Temporary>,
    ) -> Result<Value> {
        let name = self.name(marker, "attachment")?;
        let mut temporary = planned(ATTACHMENT, name, json!({ "volume": volume }));
        recorder.record(&temporary).await?;
        made.push(temporary.clone());
        // Who connects: not a host of the cloud, so nothing is exported to an address. Drivers that need more than this say so.
        let connector = json!({
            "host": "raksha",
            "ip": "127.0.0.1",
            "initiator": "iqn.1994-05.io.raksha:reader",
            "multipath": false,
            "platform": std::env::consts::ARCH,
            "os_type": "linux",
        });
        let request = Request::post(
            "attachments",
            json!({ "attachment": { "volume_uuid": volume, "connector": connector } }),
        );
        let request = request.microversion(ATTACHMENTS).operation(ATTACH);
        let answer = self.client.send(Service::BlockStorage, request).await?;
        let attachment = answer.take("attachment")?;
        let id = things::id(&attachment)?;
        temporary.id = Some(id.clone());
        if let Some(last) = made.last_mut() {
            last.clone_from(&temporary);
        }
        recorder.record(&temporary).await?;
        let complete = Request::post(
            format!("attachments/{id}/action"),
            json!({ "os-complete": {} }),
        );
        let complete = complete.microversion(COMPLETE).operation(ATTACH);
        if let Err(error) = self.client.send(Service::BlockStorage, complete).await {
            // Reading needs it not; it only makes the volume be shown as in use.
            tracing::debug!(%error, "the attachment is not completed");
        }
        Ok(connection(&attachment))
    }
}

/// What a connection is made of: this API puts the kind among it, the older one beside it.
fn connection(attachment: &Value) -> Value {
    let mut info = attachment
        .get("connection_info")
        .cloned()
        .unwrap_or_default();
    let kind = text(&info, "driver_volume_type").to_owned();
    match info.get_mut("data").map(Value::take) {
        Some(Value::Object(mut data)) => {
            data.insert("driver_volume_type".to_owned(), kind.into());
            Value::Object(data)
        }
        _ => info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_connection_are_one() {
        let flat = json!({ "connection_info": { "driver_volume_type": "nfs", "export": "a:/b", "name": "volume-1" } });
        let nested = json!({ "connection_info": { "driver_volume_type": "nfs", "data": { "export": "a:/b", "name": "volume-1" } } });
        assert_eq!(connection(&flat), connection(&nested));
        assert_eq!(text(&connection(&nested), "export"), "a:/b");
        assert_eq!(connection(&json!({})), Value::Null);
    }
}
