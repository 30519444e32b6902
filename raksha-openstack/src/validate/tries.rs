//! Rights that can only be known by trying.

use raksha_core::{Kind, Result};
use serde_json::{Value, json};

use super::{Answer, Finding, ValidateOptions, Validation};
use crate::OpenStack;
use crate::client::{Client, Microversion, Request, Service};

/// What everything is called that is made here.
const NAME: &str = "raksha-validate";

/// One right: how it is tried, and how what was made is found again.
struct Try {
    what: &'static str,
    service: Service,
    path: String,
    key: &'static str,
    body: Value,
    microversion: Option<Microversion>,
}

impl Try {
    fn new(
        what: &'static str,
        service: Service,
        path: &str,
        key: &'static str,
        body: Value,
    ) -> Self {
        Self {
            what,
            service,
            path: path.to_owned(),
            key,
            body,
            microversion: None,
        }
    }
}

/// Adds what the principal may do.
pub(super) async fn rights(cloud: &OpenStack, options: ValidateOptions, found: &mut Validation) {
    let random: [u8; 4] = cloud.env().random().unwrap_or_default();
    let name = format!("{NAME}-{:08x}", u32::from_le_bytes(random));
    let mut trial = Trial {
        cloud,
        try_them: options.try_rights,
        found,
    };
    let simple = [
        Try::new(
            "make networks",
            Service::Network,
            "networks",
            "network",
            json!({ "name": name }),
        ),
        Try::new(
            "make security groups",
            Service::Network,
            "security-groups",
            "security_group",
            json!({ "name": name }),
        ),
        Try::new(
            "register images",
            Service::Image,
            "images",
            "",
            json!({ "name": name, "disk_format": "qcow2", "container_format": "bare" }),
        ),
    ];
    for one in simple {
        if let Some(id) = trial.attempt(&one).await {
            trial.remove(&one, &id).await;
        }
    }
    trial.volumes(&name).await;
}

struct Trial<'a> {
    cloud: &'a OpenStack,
    try_them: bool,
    found: &'a mut Validation,
}

impl Trial<'_> {
    fn client(&self) -> &Client {
        self.cloud.client()
    }

    /// Tries one right; gives the id of what was made.
    async fn attempt(&mut self, one: &Try) -> Option<String> {
        if !self.try_them {
            let answer = Answer::Unknown("not tried".to_owned());
            self.found.rights.push(Finding::new(one.what, answer));
            return None;
        }
        let body = match one.key {
            "" => one.body.clone(),
            key => json!({ key: one.body }),
        };
        let mut request = Request::post(one.path.as_str(), body).operation("try a right");
        if let Some(microversion) = one.microversion {
            request = request.microversion(microversion);
        }
        let made = self.client().send(one.service, request).await;
        let id = made.map(|answer| {
            let made = answer.body.get(one.key).unwrap_or(&answer.body);
            made.get("id").and_then(Value::as_str).map(str::to_owned)
        });
        let (answer, id) = match id {
            Ok(id) => (Answer::Yes("tried".to_owned()), id),
            Err(error) => {
                // Whether it was made is not known: somebody has to look.
                if matches!(
                    error.kind(),
                    Kind::Unavailable | Kind::Timeout | Kind::Corrupt
                ) {
                    self.found.left.push(format!(
                        "perhaps something called {} among {}",
                        one.body, one.path
                    ));
                }
                (Answer::No(error.to_string()), None)
            }
        };
        self.found.rights.push(Finding::new(one.what, answer));
        id
    }

    /// Removes what an attempt made, and waits until it is gone.
    async fn remove(&mut self, one: &Try, id: &str) {
        let path = format!("{}/{id}", one.path);
        let gone = self.gone(one, &path).await;
        if let Err(error) = gone {
            self.found
                .left
                .push(format!("{path} of the {} service: {error}", one.service));
        }
    }

    async fn gone(&self, one: &Try, path: &str) -> Result<()> {
        let send = async |mut request: Request| {
            if let Some(microversion) = one.microversion {
                request = request.microversion(microversion);
            }
            self.client().send(one.service, request).await
        };
        match send(Request::delete(path)).await {
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => {}
        }
        let poll = || async {
            match send(Request::get(path)).await {
                Err(error) if error.kind() == Kind::NotFound => Ok(Some(())),
                Err(error) => Err(error),
                Ok(_) => Ok(None),
            }
        };
        let deadline = self.cloud.options().restore.deadline;
        self.client().wait(path, deadline, poll).await
    }

    /// Waits until a volume or snapshot is there.
    async fn available(&self, path: &str, key: &'static str) -> Result<()> {
        let poll = || async {
            let found = self
                .client()
                .send(Service::BlockStorage, Request::get(path))
                .await?;
            let found = found.take(key)?;
            let status = found
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Ok((status == "available" || status.starts_with("error")).then_some(()))
        };
        let deadline = self.cloud.options().restore.deadline;
        self.client().wait(path, deadline, poll).await
    }

    /// A volume, its snapshot, and an attachment to nobody.
    async fn volumes(&mut self, name: &str) {
        let storage = Service::BlockStorage;
        let body = json!({ "name": name, "size": 1 });
        let volume = Try::new("make volumes", storage, "volumes", "volume", body);
        let id = self.attempt(&volume).await;
        let of = id.as_deref().unwrap_or_default();
        if !of.is_empty()
            && self
                .available(&format!("volumes/{of}"), "volume")
                .await
                .is_err()
        {
            self.remove(&volume, of).await;
            return;
        }
        let body = json!({ "name": name, "volume_id": of });
        let snapshot = Try::new("snapshot volumes", storage, "snapshots", "snapshot", body);
        let mut attachment = Try::new(
            "attach volumes to nobody, to learn where they lie",
            storage,
            "attachments",
            "attachment",
            json!({ "volume_uuid": of, "connector": { "host": "raksha", "ip": "127.0.0.1", "initiator": "iqn.1994-05.io.raksha:validate" } }),
        );
        attachment.microversion = Some(crate::temporary::ATTACHMENTS);
        if id.is_none() && self.try_them {
            // Without a volume there is nothing to try them with.
            for one in [&snapshot, &attachment] {
                let answer = Answer::Unknown("no volume could be made to try it with".to_owned());
                self.found.rights.push(Finding::new(one.what, answer));
            }
            return;
        }
        if let Some(snapshot_id) = self.attempt(&snapshot).await {
            let path = format!("snapshots/{snapshot_id}");
            if let Err(error) = self.available(&path, "snapshot").await {
                self.found.left.push(format!("{path}: {error}"));
            }
            self.remove(&snapshot, &snapshot_id).await;
        }
        if let Some(attachment_id) = self.attempt(&attachment).await {
            self.remove(&attachment, &attachment_id).await;
        }
        if let Some(id) = &id {
            self.remove(&volume, id).await;
        }
    }
}
