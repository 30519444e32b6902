//! A gateway in front of the services of a real cloud. It notes the requests that change something, and lets one of them hang.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use crate::proxy::{head, length};
use crate::{Lab, Points, alike};

/// The services of a cloud that changes go to: what they are called in patterns, and their types in its catalog.
const SERVICES: [(&str, &str); 4] = [
    ("compute", "compute"),
    ("volume", "volumev3"),
    ("image", "image"),
    ("network", "network"),
];

/// Longer bodies are data; what an action is, a shorter one tells.
const TELLING: usize = 64 << 10;

#[derive(Debug, Default)]
struct Seen {
    changes: Points,
    /// A pattern, how many such requests pass before, and whether the one that hangs is done.
    hang: Option<(String, u32, bool)>,
    hangs: bool,
}

/// The gateway. It ends with the process.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    seen: Arc<Mutex<Seen>>,
}

impl Gateway {
    /// In front of the services that the catalog of a cloud of the lab names; with it the clouds.yaml in which `cloud` is reached through it.
    pub fn before(lab: &Lab, cloud: &str) -> (Self, String) {
        let gateway = Self::default();
        let listed = lab.openstack(cloud, &["catalog", "list", "-f", "json"]);
        let catalog: Value = serde_json::from_str(&listed).unwrap();
        let mut overrides = format!("  {cloud}:\n");
        for (service, kind) in SERVICES {
            let entries = catalog.as_array().unwrap();
            let entry = entries.iter().find(|one| one["Type"] == kind).unwrap();
            let endpoints = entry["Endpoints"].as_array().unwrap();
            let public = endpoints.iter().find(|one| one["interface"] == "public");
            let url = public.unwrap()["url"].as_str().unwrap();
            let host = url["http://".len()..].split('/').next().unwrap();
            let address = gateway.listen(service, host);
            overrides += &format!(
                "    {kind}_endpoint_override: {}\n",
                url.replace(host, &address)
            );
        }
        let clouds = std::fs::read_to_string(lab.clouds()).unwrap();
        let through = clouds.replace(&format!("  {cloud}:\n"), &overrides);
        assert!(
            through != clouds,
            "{} does not describe {cloud}",
            lab.clouds().display()
        );
        (gateway, through)
    }

    /// The requests so far that changed something, as patterns with how many there were of each.
    pub fn changes(&self) -> Points {
        self.seen().changes.clone()
    }

    /// Forgets the requests so far; nothing hangs any more.
    pub fn forget(&self) {
        *self.seen() = Seen::default();
    }

    /// Lets one request hang: of those that look like `pattern` the one that comes after so many others, when it is done or before.
    pub fn hang(&self, pattern: &str, after: u32, done: bool) {
        self.seen().hang = Some((pattern.to_owned(), after, done));
    }

    /// Whether that request hangs.
    pub fn hangs(&self) -> bool {
        self.seen().hangs
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for a service at `host`; gives where.
    fn listen(&self, service: &'static str, host: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (own, host) = (self.clone(), host.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (own, host) = (own.clone(), host.clone());
                // A client that goes away is no trouble of ours.
                thread::spawn(move || drop(own.pass(client, service, &host)));
            }
        });
        address
    }

    /// Notes a request; if it is to hang, whether it is done before.
    fn note(&self, service: &str, head: &str, body: &[u8]) -> Option<bool> {
        let mut words = head.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let action = body.as_object().and_then(|members| members.keys().next());
        let pattern = alike(
            method,
            &format!("/{service}{path}"),
            action.map(String::as_str),
        )?;
        let mut seen = self.seen();
        *seen.changes.entry(pattern.clone()).or_default() += 1;
        let (_, after, done) = seen.hang.as_mut().filter(|hang| hang.0 == pattern)?;
        if *after > 0 {
            *after -= 1;
            return None;
        }
        let done = *done;
        seen.hang = None;
        Some(done)
    }

    /// Passes on one request and its answer.
    fn pass(&self, mut client: TcpStream, service: &str, host: &str) -> io::Result<()> {
        let Some((head, mut body)) = head(&mut client)? else {
            return Ok(());
        };
        let length = length(&head);
        if let Some(length) = length.filter(|&length| length <= TELLING) {
            let had = body.len();
            body.resize(length.max(had), 0);
            client.read_exact(&mut body[had..])?;
        }
        let hangs = self.note(service, &head, &body);
        if hangs == Some(false) {
            return self.until_gone(client);
        }
        let mut upstream = TcpStream::connect(host)?;
        let whole = body.len() >= length.unwrap_or(0) && !head.contains("chunked");
        upstream.write_all(
            head.replacen("\r\n", "\r\nConnection: close\r\n", 1)
                .as_bytes(),
        )?;
        upstream.write_all(&body)?;
        if !whole {
            let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
            thread::spawn(move || io::copy(&mut from, &mut to));
        }
        if hangs == Some(true) {
            upstream.read_exact(&mut [0])?;
            return self.until_gone(client);
        }
        io::copy(&mut upstream, &mut client)?;
        client.shutdown(Shutdown::Both)
    }

    /// Lets a client wait until it goes away.
    fn until_gone(&self, mut client: TcpStream) -> io::Result<()> {
        self.seen().hangs = true;
        io::copy(&mut client, &mut io::sink())?;
        Ok(())
    }
}
