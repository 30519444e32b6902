//! A client that knows nothing: requests and answers as they are, for the test cloud and for a real one.
// Each test crate uses a part of it; all of it is tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub(crate) mod recorder;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// How often to ask, at most: a loaded lab takes minutes to detach a volume from a guest.
const PATIENCE: usize = 3000;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// A text at a place in the body.
    #[track_caller]
    pub(crate) fn text(&self, pointer: &str) -> String {
        match self.body.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            other => panic!("{pointer} is {other:?} in {} {}", self.status, self.body),
        }
    }

    /// This answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{} {:?}",
            self.body,
            String::from_utf8_lossy(&self.bytes)
        );
        self
    }
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Somebody {
    http: reqwest::Client,
    pub(crate) token: String,
    pub(crate) project: String,
    pub(crate) user: String,
    pub(crate) endpoints: BTreeMap<String, String>,
}

/// What to send, beside method and address.
#[derive(Debug, Default, Clone)]
pub(crate) struct Extra {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) bytes: Option<Vec<u8>>,
}

impl From<Value> for Extra {
    fn from(body: Value) -> Self {
        Self {
            body: Some(body),
            ..Self::default()
        }
    }
}

pub(crate) fn none() -> Extra {
    Extra::default()
}

/// A header.
pub(crate) fn with(name: &'static str, value: impl Into<String>) -> Extra {
    Extra {
        headers: vec![(name, value.into())],
        ..Extra::default()
    }
}

impl Extra {
    pub(crate) fn and(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn bytes(mut self, bytes: Vec<u8>) -> Self {
        self.bytes = Some(bytes);
        self
    }
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(120))
        .build()
        .unwrap()
}

/// Sends a request to an address.
pub(crate) async fn send(
    http: &reqwest::Client,
    method: &str,
    url: &str,
    extra: impl Into<Extra>,
) -> Result<Answer, reqwest::Error> {
    let extra = extra.into();
    let mut request = http.request(method.parse().unwrap(), url);
    for (name, value) in extra.headers {
        request = request.header(name, value);
    }
    if let Some(body) = extra.body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    if let Some(bytes) = extra.bytes {
        request = request.body(bytes);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let headers = answer.headers().iter().map(|(name, value)| {
        (
            name.to_string(),
            value.to_str().unwrap_or_default().to_owned(),
        )
    });
    let headers = headers.collect();
    let bytes = answer.bytes().await?.to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer {
        status,
        headers,
        body,
        bytes,
    })
}

/// The body that asks for a token by password.
pub(crate) fn password(user: &str, scope: Value) -> Value {
    json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": user,
        "domain": {"name": "Default"}, "password": "raksha"}}}, "scope": scope}})
}

impl Somebody {
    /// `user` in the project of the same name.
    pub(crate) async fn new(auth_url: &str, user: &str) -> Self {
        let scope = json!({"project": {"name": user, "domain": {"name": "Default"}}});
        Self::by(auth_url, password(user, scope)).await
    }

    /// Whoever gets a token for this body.
    pub(crate) async fn by(auth_url: &str, body: Value) -> Self {
        let http = client();
        let url = format!("{auth_url}/auth/tokens");
        let answer = send(&http, "POST", &url, body).await.unwrap().expect(201);
        let mut endpoints = BTreeMap::new();
        for service in answer
            .body
            .pointer("/token/catalog")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let all = service["endpoints"].as_array().unwrap();
            let public = all.iter().find(|one| one["interface"] == "public").unwrap();
            let kind = service["type"].as_str().unwrap().to_owned();
            endpoints.insert(
                kind,
                public["url"]
                    .as_str()
                    .unwrap()
                    .trim_end_matches('/')
                    .to_owned(),
            );
        }
        Self {
            http,
            token: answer.headers["x-subject-token"].clone(),
            project: answer
                .body
                .pointer("/token/project/id")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            user: answer.text("/token/user/id"),
            endpoints,
        }
    }

    /// The address of a path: `compute:/servers`, or a whole address.
    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            return path.to_owned();
        }
        let (service, path) = path.split_once(':').unwrap();
        let suffix = match service {
            "image" => "/v2",
            "network" => "/v2.0",
            _ => "",
        };
        format!("{}{suffix}{path}", self.endpoints[service])
    }

    pub(crate) async fn try_ask(
        &self,
        method: &str,
        path: &str,
        extra: impl Into<Extra>,
    ) -> Result<Answer, reqwest::Error> {
        let extra = extra.into().and("x-auth-token", &*self.token);
        send(&self.http, method, &self.url(path), extra).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, extra: impl Into<Extra>) -> Answer {
        self.try_ask(method, path, extra).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, none()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, body).await
    }

    /// Asks until a text in the answer is one of those that are wanted; then that answer.
    pub(crate) async fn until(&self, path: &str, pointer: &str, wanted: &[&str]) -> Answer {
        for _ in 0..PATIENCE {
            let answer = self.get(path).await;
            let found = answer
                .body
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default();
            if wanted.contains(&found) {
                return answer;
            }
            assert!(!found.eq_ignore_ascii_case("error"), "{}", answer.body);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{path} never came to {wanted:?}");
    }

    /// Asks until the thing is gone.
    pub(crate) async fn until_gone(&self, path: &str) {
        for _ in 0..PATIENCE {
            if self.get(path).await.status == 404 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{path} does not go");
    }
}
