//! A server that answers as a test says: HTTP/1.1 over TCP or TLS, written out, since resets and stalls are what it is for.
//!
//! It is its own Keystone (`/v3/auth/tokens`), whose catalog names it as every service, and tells the version documents of Nova and Cinder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raksha_core::env::Env;
use raksha_openstack::client::{Client, ClientOptions};
use raksha_openstack::config::{CloudConfig, Sources};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What the server does.
pub(crate) enum Reply {
    Json(u16, Value),
    Full {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Promises `length` bytes, sends `body`, and then does nothing (`stall`) or breaks off.
    Partial {
        status: u16,
        headers: Vec<(String, String)>,
        length: usize,
        body: Vec<u8>,
        stall: bool,
    },
    /// Breaks off before it answers.
    Reset,
    /// Never answers.
    Silence,
    /// Answers after a while.
    Later(Duration, Box<Reply>),
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Json(200, json!({}))
    }

    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self::Full {
            status,
            headers: owned(headers),
            body: body.as_bytes().to_vec(),
        }
    }
}

pub(crate) fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    headers.iter().map(owned).collect()
}

/// Answers the `n`th request (from 1) that is neither for a token nor for a version document.
type Handler = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

pub(crate) struct State {
    handler: Box<Handler>,
    seen: Mutex<Vec<Seen>>,
    keystone: Mutex<Keystone>,
    /// Uploads are read this slowly; none means not at all.
    pub(crate) takes_bodies: Mutex<bool>,
    busy: Mutex<(usize, usize)>,
}

/// What the server's Keystone does.
pub(crate) struct Keystone {
    /// How many tokens were asked for.
    pub(crate) asked: usize,
    /// The tokens that services accept.
    pub(crate) valid: Vec<String>,
    /// Seconds.
    pub(crate) life: u64,
    /// Whether it gives tokens at all.
    pub(crate) open: bool,
    /// How long it thinks.
    pub(crate) delay: Duration,
    /// Ids of user and project.
    pub(crate) user: String,
    pub(crate) project: String,
    /// Nova's highest microversion.
    pub(crate) nova: String,
    /// URLs of services in the catalog, by type; what is not here is the server at `/TYPE` and the version.
    pub(crate) urls: BTreeMap<String, String>,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, handler).await
    }

    pub(crate) async fn start_with(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            handler: Box::new(handler),
            seen: Mutex::default(),
            keystone: Mutex::new(Keystone {
                asked: 0,
                valid: Vec::new(),
                life: 3600,
                open: true,
                delay: Duration::ZERO,
                user: "u1".to_owned(),
                project: "p1".to_owned(),
                nova: "2.93".to_owned(),
                urls: BTreeMap::new(),
            }),
            takes_bodies: Mutex::new(true),
            busy: Mutex::default(),
        });
        let (shared, base) = (Arc::clone(&state), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, base, tls) = (Arc::clone(&shared), base.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => state.serve(stream, &base).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                state.serve(stream, &base).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, state, task }
    }

    /// Settings of a user of it.
    pub(crate) fn config(&self) -> CloudConfig {
        let sources = Sources::default()
            .variable("OS_AUTH_URL", format!("{}/v3", self.url))
            .variable("OS_USERNAME", "demo")
            .variable("OS_PASSWORD", "correct-horse")
            .variable("OS_PROJECT_NAME", "demo")
            .variable("OS_DEFAULT_DOMAIN_ID", "default");
        CloudConfig::from_environment(&sources).unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_with(options()).await
    }

    pub(crate) async fn client_with(&self, options: ClientOptions) -> Client {
        Client::connect_with(&self.config(), options, Env::system())
            .await
            .unwrap()
    }

    pub(crate) fn keystone(&self) -> std::sync::MutexGuard<'_, Keystone> {
        self.state.keystone.lock().unwrap()
    }

    /// What came, but for tokens and version documents.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The most requests that were under way at once.
    pub(crate) fn busiest(&self) -> usize {
        self.state.busy.lock().unwrap().1
    }
}

/// As usual, but less patient.
pub(crate) fn options() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.attempt = Duration::from_secs(5);
    options.effect = Duration::from_secs(5);
    options.stall = Duration::from_millis(500);
    options.pause = Duration::from_millis(10);
    options.poll = Duration::from_millis(10);
    options
}

impl State {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, base: &str) {
        let mut stream = BufReader::new(stream);
        while let Some((seen, length)) = head(&mut stream).await {
            let mut seen = seen;
            if !*self.takes_bodies.lock().unwrap() && length != Some(0) && seen.method == "PUT" {
                std::future::pending::<()>().await;
            }
            seen.body = body(&mut stream, length).await;
            let reply = self.answer(&seen, base).await;
            self.enter(1);
            let goes_on = write(stream.get_mut(), reply).await;
            self.enter(-1);
            if !goes_on {
                return;
            }
        }
    }

    fn enter(&self, change: isize) {
        let mut busy = self.busy.lock().unwrap();
        busy.0 = busy.0.checked_add_signed(change).unwrap();
        busy.1 = busy.1.max(busy.0);
    }

    async fn answer(&self, seen: &Seen, base: &str) -> Reply {
        match (seen.method.as_str(), seen.target.as_str()) {
            ("POST", "/v3/auth/tokens") => {
                let delay = self.keystone.lock().unwrap().delay;
                tokio::time::sleep(delay).await;
                self.keystone.lock().unwrap().issue(base)
            }
            ("GET", "/compute/v2.1/") => Reply::Json(
                200,
                json!({"version": {"id": "v2.1", "version": self.keystone.lock().unwrap().nova.clone(), "min_version": "2.1",
                    "links": [{"rel": "self", "href": "http://elsewhere.invalid/v2.1/"}]}}),
            ),
            ("GET", "/volumev3/v3/") => Reply::Json(
                200,
                json!({"versions": [{"id": "v3.0", "version": "3.70", "min_version": "3.0",
                    "links": [{"rel": "self", "href": "http://elsewhere.invalid/v3/"}]}]}),
            ),
            _ => {
                let n = {
                    let mut all = self.seen.lock().unwrap();
                    all.push(seen.clone());
                    all.len()
                };
                let token = seen.header("x-auth-token").to_owned();
                if !self.keystone.lock().unwrap().valid.contains(&token) {
                    return Reply::Json(
                        401,
                        json!({"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}),
                    );
                }
                (self.handler)(seen, n)
            }
        }
    }
}

impl Keystone {
    fn issue(&mut self, base: &str) -> Reply {
        self.asked += 1;
        if !self.open {
            return Reply::Json(
                401,
                json!({"error": {"code": 401, "title": "Unauthorized", "message": "Invalid user credentials."}}),
            );
        }
        let token = format!("secret-token-{}", self.asked);
        self.valid = vec![token.clone()];
        let catalog: Vec<Value> = [
            ("compute", "v2.1"),
            ("volumev3", "v3"),
            ("image", "v2"),
            ("network", "v2.0"),
            ("object-store", "v1/AUTH_p1"),
        ]
        .iter()
        .map(|(service, version)| {
            let usual = format!("{base}/{service}/{version}");
            let url = self.urls.get(*service).cloned().unwrap_or(usual);
            json!({"type": service, "name": service, "endpoints": [{"interface": "public", "region_id": "R", "url": url}]})
        })
        .collect();
        // Long ago: a client must not compare with its own clock.
        let expires = format!(
            "1999-01-01T{:02}:{:02}:{:02}.000000Z",
            self.life / 3600,
            self.life / 60 % 60,
            self.life % 60
        );
        let body = json!({"token": {"user": {"id": self.user, "name": "demo"}, "project": {"id": self.project, "name": "demo"},
            "roles": [{"name": "member"}], "issued_at": "1999-01-01T00:00:00.000000Z", "expires_at": expires, "catalog": catalog}});
        Reply::Full {
            status: 201,
            headers: owned(&[("X-Subject-Token", &token)]),
            body: body.to_string().into_bytes(),
        }
    }
}

async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    use tokio::io::AsyncBufReadExt;
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(n) if n > 0 => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

/// The head of a request and how long its body is; none if it comes in chunks.
async fn head<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<(Seen, Option<usize>)> {
    let first = line(stream).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = match headers.get("transfer-encoding") {
        Some(_) => None,
        None => Some(
            headers
                .get("content-length")
                .map_or(0, |n| n.parse().unwrap()),
        ),
    };
    let body = Vec::new();
    let seen = Seen {
        method,
        target,
        headers,
        body,
    };
    Some((seen, length))
}

async fn body<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, length: Option<usize>) -> Vec<u8> {
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            if stream.read_exact(&mut body).await.is_err() {
                body.clear();
            }
        }
        None => loop {
            let Some(size) = line(stream).await else {
                break;
            };
            let size = usize::from_str_radix(&size, 16).unwrap();
            let start = body.len();
            body.resize(start + size, 0);
            if stream.read_exact(&mut body[start..]).await.is_err() {
                break;
            }
            line(stream).await;
            if size == 0 {
                break;
            }
        },
    }
    body
}

/// Whether the connection is good for another request.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> bool {
    let mut reply = reply;
    while let Reply::Later(pause, then) = reply {
        tokio::time::sleep(pause).await;
        reply = *then;
    }
    let (status, headers, length, body, after) = match reply {
        Reply::Json(status, json) => {
            let body = json.to_string().into_bytes();
            let headers = owned(&[("Content-Type", "application/json")]);
            (status, headers, body.len(), body, None)
        }
        Reply::Full {
            status,
            headers,
            body,
        } => (status, headers, body.len(), body, None),
        Reply::Partial {
            status,
            headers,
            length,
            body,
            stall,
        } => (status, headers, length, body, Some(stall)),
        Reply::Reset | Reply::Later(..) => return false,
        Reply::Silence => return std::future::pending().await,
    };
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let written = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.flush().await
    };
    if written.await.is_err() {
        return false;
    }
    match after {
        None => true,
        Some(true) => std::future::pending().await,
        Some(false) => false,
    }
}

/// Nothing listens there.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(TcpStream::connect(address).await.is_err());
    format!("http://{address}")
}
