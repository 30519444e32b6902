//! Hooks that an operator publishes: commands on this machine, and addresses.
//!
//! Both are told of the call in JSON (a [`HookCall`]): a command on its standard input, an address in the body of a `POST`. A command that exits with
//! anything but 0 has failed, as has an address that answers anything but a status of 2xx. What takes longer than a hook may take is ended: of a command, the
//! whole process group.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use raksha_core::cloud::Consistency;
use raksha_core::protect::{HookCall, Hooks, PublishedHook};
use raksha_core::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Deserializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use url::Url;

const OPERATION: &str = "call hook";

/// How long a call may take unless it is said.
const WITHIN: u64 = 30;
/// Applications do not hold their writes for longer.
const LONGEST: u64 = 600;

const LONGEST_COMPLAINT: u64 = 4096;

/// A hook, as an operator describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSpec {
    /// By which jobs choose it.
    pub name: String,
    /// What it does, for those who choose.
    #[serde(default)]
    pub description: String,
    /// A program, by its path, and its arguments. This, or `url`.
    #[serde(default)]
    pub command: Vec<String>,
    /// An address. This, or `command`.
    #[serde(default, deserialize_with = "url")]
    pub url: Option<Url>,
    /// How long a call may take, in seconds.
    #[serde(default = "within")]
    pub within: u64,
    /// The level at which all disks of the servers are between its calls. Points claim it on your word.
    #[serde(default)]
    pub holds: Option<Consistency>,
}

fn url<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Option<Url>, D::Error> {
    let text = String::deserialize(d)?;
    let url = Url::parse(&text);
    url.map(Some)
        .map_err(|e| serde::de::Error::custom(format!("`{text}` is no URL: {e}")))
}

fn within() -> u64 {
    WITHIN
}

/// Hooks that are published.
#[derive(Debug, Clone)]
pub struct ConfiguredHooks {
    hooks: Vec<HookSpec>,
    http: reqwest::Client,
}

impl ConfiguredHooks {
    /// Publishes these.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if one cannot be meant, naming it.
    pub fn new(hooks: Vec<HookSpec>) -> Result<Self> {
        for (n, hook) in hooks.iter().enumerate() {
            let wrong = |why: String| {
                let error = Error::new(Kind::Invalid, "publish hooks", why);
                Err(error.with("hook", &hook.name))
            };
            if hook.name.trim().is_empty() || hooks.iter().skip(n + 1).any(|h| h.name == hook.name)
            {
                return wrong("give each hook a name of its own".to_owned());
            }
            if hook.command.is_empty() == hook.url.is_none() {
                return wrong("give it either a command or a url".to_owned());
            }
            if let Some(url) = &hook.url
                && !["http", "https"].contains(&url.scheme())
            {
                return wrong("its url must begin with http:// or https://".to_owned());
            }
            if !(1..=LONGEST).contains(&hook.within) {
                return wrong(format!("let it take from 1 to {LONGEST} seconds (within)"));
            }
            if hook.holds == Some(Consistency::Crash) {
                return wrong(
                    "leave `holds` out: every disk is as after a crash by itself".to_owned(),
                );
            }
        }
        // Unless the embedder chose one before: an error here says just that.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("raksha/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(0)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|source| {
                let message =
                    "connections cannot be made: check the certificates that the system trusts";
                Error::new(Kind::Unavailable, "publish hooks", message).caused_by(source)
            })?;
        Ok(Self { hooks, http })
    }

    /// Reads hooks from JSON: a list of [`HookSpec`]s.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is none, or one cannot be meant.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let hooks = serde_json::from_slice(json).map_err(|source| {
            Error::new(Kind::Invalid, "publish hooks", "this is no list of hooks").caused_by(source)
        })?;
        Self::new(hooks)
    }
}

#[async_trait]
impl Hooks for ConfiguredHooks {
    fn published(&self) -> Vec<PublishedHook> {
        let published = self.hooks.iter().map(|hook| PublishedHook {
            name: hook.name.clone(),
            description: hook.description.clone(),
            within: Duration::from_secs(hook.within),
            holds: hook.holds,
        });
        published.collect()
    }

    async fn call(&self, call: &HookCall) -> Result<()> {
        let told = serde_json::to_vec(call).map_err(|source| {
            Error::new(Kind::Internal, OPERATION, "the call cannot be told").caused_by(source)
        })?;
        let Some(hook) = self.hooks.iter().find(|hook| hook.name == call.hook) else {
            return Err(Error::new(Kind::NotFound, OPERATION, "it is not published"));
        };
        match &hook.url {
            Some(url) => self.post(url, told).await,
            None => run(&hook.command, call, &told).await,
        }
    }
}

impl ConfiguredHooks {
    async fn post(&self, url: &Url, told: Vec<u8>) -> Result<()> {
        let mut shown = url.clone();
        // A query may hold a secret.
        shown.set_query(None);
        let request = self.http.post(url.clone());
        let request = request
            .header("Content-Type", "application/json")
            .body(told);
        let answer = request.send().await.map_err(|source| {
            Error::new(Kind::Unavailable, OPERATION, "the address did not answer")
                .with("url", &shown)
                .caused_by(source.without_url())
        })?;
        if answer.status().is_success() {
            return Ok(());
        }
        let message = format!("the address answered {}", answer.status());
        Err(Error::new(Kind::Unavailable, OPERATION, message).with("url", &shown))
    }
}

async fn run(command: &[String], call: &HookCall, told: &[u8]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::new(Kind::Internal, OPERATION, "it has no command"));
    };
    let failed =
        |kind: Kind, why: String| Error::new(kind, OPERATION, why).with("program", program);
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).kill_on_drop(true);
    command.env("RAKSHA_HOOK", &call.hook);
    command.env("RAKSHA_MOMENT", call.moment.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| {
        failed(Kind::NotFound, "the program does not start".to_owned()).caused_by(e)
    })?;
    let mut group = Group(child);
    let (status, complaint) = group.end(told).await.map_err(|e| {
        failed(
            Kind::Unavailable,
            "the program cannot be waited for".to_owned(),
        )
        .caused_by(e)
    })?;
    if status.success() {
        return Ok(());
    }
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
    let why = last.map_or(String::new(), |line| format!(": {}", line.trim()));
    Err(failed(
        Kind::Unavailable,
        format!("the program ended with {status}{why}"),
    ))
}

/// A program and all that it starts. Killed if it is dropped before it ended.
struct Group(Child);

impl Group {
    async fn end(&mut self, told: &[u8]) -> std::io::Result<(ExitStatus, String)> {
        let (input, errors) = (self.0.stdin.take(), self.0.stderr.take());
        let tell = async {
            if let Some(mut input) = input {
                // Who does not want to know may close it.
                let _ = input.write_all(told).await;
            }
        };
        let listen = async {
            let mut complaint = Vec::new();
            if let Some(errors) = errors {
                let mut errors = errors.take(LONGEST_COMPLAINT);
                let _ = errors.read_to_end(&mut complaint).await;
                // So that the program does not stand still if it has more to say.
                let _ = tokio::io::copy(errors.get_mut(), &mut tokio::io::sink()).await;
            }
            String::from_utf8_lossy(&complaint).into_owned()
        };
        let ((), complaint) = tokio::join!(tell, listen);
        Ok((self.0.wait().await?, complaint))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It may have ended in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use raksha_core::protect::Moment;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn call(hook: &str) -> HookCall {
        let id = "0".repeat(32);
        let servers = json!([["server-1", "web"]]);
        let call = json!({ "hook": hook, "moment": "before", "project": "p", "job": id, "run": id, "servers": servers });
        serde_json::from_value(call).unwrap()
    }

    fn hooks(specs: serde_json::Value) -> Result<ConfiguredHooks> {
        ConfiguredHooks::parse(specs.to_string().as_bytes())
    }

    #[tokio::test]
    async fn a_command_is_told_and_its_end_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("told");
        let keep = format!(
            "cat > {}; echo $RAKSHA_HOOK $RAKSHA_MOMENT >> {0}",
            file.display()
        );
        let hooks = hooks(json!([
            { "name": "keeps", "command": ["/bin/sh", "-c", keep] },
            { "name": "fails", "command": ["/bin/sh", "-c", "echo no database >&2; exit 3"] },
            { "name": "is not there", "command": ["/no/such/program"] },
        ]))
        .unwrap();
        hooks.call(&call("keeps")).await.unwrap();
        let told = std::fs::read_to_string(&file).unwrap();
        let (told, names) = told.split_once('}').unwrap();
        let told: HookCall = serde_json::from_str(&format!("{told}}}")).unwrap();
        assert_eq!(
            (told.moment, told.servers[0].1.as_str()),
            (Moment::Before, "web")
        );
        assert_eq!(names.trim(), "keeps before");
        let error = hooks.call(&call("fails")).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3: no database"), "{error}");
        let error = hooks.call(&call("is not there")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[tokio::test]
    async fn a_command_that_is_given_up_is_killed_with_all_that_it_started() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("pid");
        let start = format!("sleep 600 & echo $! > {}; wait", file.display());
        let specs = json!([{ "name": "slow", "command": ["/bin/sh", "-c", start] }]);
        let hooks = hooks(specs).unwrap();
        let call = call("slow");
        let ended = tokio::time::timeout(Duration::from_millis(500), hooks.call(&call)).await;
        assert!(ended.is_err());
        let pid = std::fs::read_to_string(&file).unwrap();
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        for _ in 0..100 {
            if !lives() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} lives");
    }

    #[tokio::test]
    async fn an_address_is_told_and_its_answer_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hold?token=secret",
            listener.local_addr().unwrap()
        );
        let hooks = hooks(json!([{ "name": "web", "url": url }])).unwrap();
        for (status, good) in [
            ("204 No Content", true),
            ("503 Busy", false),
            ("302 Found", false),
        ] {
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 4096];
                let mut length = 0;
                while !bytes[..length].ends_with(b"}") {
                    length += stream.read(&mut bytes[length..]).await.unwrap();
                }
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&bytes[..length]).into_owned()
            };
            let call = call("web");
            let (ended, told) = tokio::join!(hooks.call(&call), serve);
            assert!(
                told.starts_with("POST /hold?token=secret ")
                    && told.contains("\"moment\":\"before\""),
                "{told}"
            );
            assert_eq!(ended.is_ok(), good, "{status}");
            if let Err(error) = ended {
                let text = error.to_string();
                assert!(
                    text.contains(&status[..3]) && !text.contains("secret"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        for (spec, expected) in [
            (json!({ "name": "x" }), "either a command or a url"),
            (
                json!({ "name": "x", "command": ["a"], "url": "http://h" }),
                "either a command or a url",
            ),
            (json!({ "name": "x", "url": "ftp://h" }), "http://"),
            (
                json!({ "name": "x", "command": ["a"], "within": 0 }),
                "from 1 to 600",
            ),
            (
                json!({ "name": "x", "command": ["a"], "holds": "crash" }),
                "leave `holds` out",
            ),
            (json!({ "name": " ", "command": ["a"] }), "name of its own"),
            (json!({ "name": "x", "comand": ["a"] }), "no list of hooks"),
        ] {
            let error = hooks(json!([spec])).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let twice = json!([{ "name": "x", "command": ["a"] }, { "name": "x", "command": ["b"] }]);
        assert!(
            hooks(twice)
                .unwrap_err()
                .to_string()
                .contains("name of its own")
        );
    }
}
