//! A server that stands still for a moment, and goes on whatever happens.
//!
//! A pause is a temporary: it is recorded before Nova is asked for it, and released by letting the server go on. When the future that
//! paused a server is dropped, a task of its own lets it go on; after a crash, whoever releases what was recorded does. A pause
//! that somebody else asked for is left alone: Nova's list of what was done to the server tells them apart.

use std::time::Duration;

use raksha_core::cloud::{Recorder, Temporary};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result, Timestamp};
use serde_json::json;

use super::subject::{Now, last_action};
use crate::client::{Answer, Client, Request, Service};
use crate::temporary::{PAUSE, planned};
use crate::things::{self, text};

const STOP: &str = "pause server";
const GO_ON: &str = "unpause server";
/// How far this machine's clock and the cloud's may disagree before a pause of ours is taken for somebody else's.
const CLOCKS: Duration = Duration::from_secs(120);

/// A server that was asked to pause.
#[derive(Debug)]
pub(super) struct Pause {
    client: Client,
    server: String,
    deadline: Duration,
    /// Whether it still has to be told to go on.
    armed: bool,
}

impl Pause {
    /// Pauses a server and waits until it stands still; `marker` names the pause.
    ///
    /// # Errors
    /// Nova's, with the server going on.
    pub(super) async fn begin(
        client: &Client,
        server: &str,
        marker: &str,
        recorder: &dyn Recorder,
        env: &Env,
        deadline: Duration,
    ) -> Result<Self> {
        let asked = env.now();
        let detail = json!({ "server": server, "asked": asked });
        let mut temporary = planned(PAUSE, marker.to_owned(), detail);
        recorder.record(&temporary).await?;
        let pause = Self {
            client: client.clone(),
            server: server.to_owned(),
            deadline,
            armed: true,
        };
        let stopped = async {
            let answer = act(client, server, "pause", STOP).await?;
            let request = answer.request_id;
            temporary.detail = json!({ "server": server, "asked": asked, "request": request });
            recorder.record(&temporary).await?;
            let what = format!("server {server} to be paused");
            let look = || async {
                let now = Now::of(client, server).await?;
                match (now.status.as_str(), now.busy) {
                    ("PAUSED", false) => Ok(Some(())),
                    (_, true) | ("ACTIVE", false) => Ok(None),
                    (status, false) => {
                        let message = format!("the server became {status} instead of PAUSED");
                        Err(Error::new(Kind::Conflict, STOP, message).with("server", server))
                    }
                }
            };
            client.wait(&what, deadline, look).await
        };
        match stopped.await {
            Ok(()) => Ok(pause),
            Err(error) => {
                pause.end().await?;
                recorder.released(marker).await?;
                Err(error)
            }
        }
    }

    /// Lets the server go on and waits until it runs.
    pub(super) async fn end(mut self) -> Result<()> {
        let done = go_on(&self.client, &self.server, self.deadline).await;
        // If it failed there is no use in trying the same again; the pause stays recorded.
        self.armed = false;
        done
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (client, server, deadline) = (self.client.clone(), self.server.clone(), self.deadline);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::error!(
                server,
                "the server stays paused until what is recorded is released"
            );
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = go_on(&client, &server, deadline).await {
                tracing::error!(%error, "the server stays paused until what is recorded is released");
            }
        });
    }
}

/// Lets a paused server go on. While Nova still copies a disk of it, it does not, and is asked again.
async fn go_on(client: &Client, server: &str, deadline: Duration) -> Result<()> {
    let what = format!("server {server} to run again");
    let look = || async {
        let now = match Now::of(client, server).await {
            Ok(now) => now,
            // Who is deleted is not paused.
            Err(error) if error.kind() == Kind::NotFound => return Ok(Some(())),
            Err(error) => return Err(error),
        };
        match (now.status.as_str(), now.busy) {
            ("PAUSED", false) => match act(client, server, "unpause", GO_ON).await {
                Ok(_) => Ok(None),
                // Something else has just begun, or somebody was faster.
                Err(error) if error.kind() == Kind::Conflict => Ok(None),
                Err(error) => Err(error),
            },
            (_, true) => Ok(None),
            _ => Ok(Some(())),
        }
    };
    client.wait(&what, deadline, look).await.map_err(|error| {
        let message = format!(
            "the server is still paused; let it go on with: openstack server unpause {server}"
        );
        Error::new(error.kind(), GO_ON, message).caused_by(error)
    })
}

async fn act(
    client: &Client,
    server: &str,
    action: &str,
    operation: &'static str,
) -> Result<Answer> {
    let body = json!({ action: null });
    let request = Request::post(format!("servers/{server}/action"), body).operation(operation);
    client.send(Service::Compute, request).await
}

/// Ends the pause that `temporary` records, if the server stands still because of it.
pub(crate) async fn release(
    client: &Client,
    temporary: &Temporary,
    deadline: Duration,
) -> Result<()> {
    let server = text(&temporary.detail, "server");
    if server.is_empty() {
        let message = "it was not recorded which server was paused";
        return Err(Error::new(Kind::Corrupt, "release", message));
    }
    let what = format!("server {server} to have nothing done to it");
    let look = || async {
        match Now::of(client, server).await {
            Ok(now) if now.busy => Ok(None),
            Ok(now) => Ok(Some(now.status == "PAUSED")),
            Err(error) if error.kind() == Kind::NotFound => Ok(Some(false)),
            Err(error) => Err(error),
        }
    };
    if !client.wait(&what, deadline, look).await? {
        return Ok(());
    }
    let last = last_action(client, server).await?.unwrap_or_default();
    let same_request = match text(&temporary.detail, "request") {
        "" => {
            let asked = text(&temporary.detail, "asked").parse::<Timestamp>().ok();
            let began = things::time(&last, "start_time");
            let after = asked
                .zip(began)
                .is_some_and(|(asked, began)| asked.since(began) <= CLOCKS);
            after && text(&last, "user_id") == client.principal().user.id
        }
        request => text(&last, "request_id") == request,
    };
    if text(&last, "action") != "pause" || !same_request {
        tracing::info!(
            server,
            "the server is paused, but not by this run: it is left alone"
        );
        return Ok(());
    }
    go_on(client, server, deadline).await
}
