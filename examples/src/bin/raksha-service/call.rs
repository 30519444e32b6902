//! A request as its handler sees it, and the answer.

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use raksha_core::id::ProjectId;
use raksha_core::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::App;
use crate::tokens::Caller;

/// A request that may be served: who asks was found out, and what may not be asked was refused.
pub struct Call {
    pub app: App,
    /// None where anybody may ask.
    caller: Option<Caller>,
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    body: Bytes,
}

impl Call {
    pub fn new(
        app: App,
        caller: Option<Caller>,
        path: BTreeMap<String, String>,
        query: BTreeMap<String, String>,
        body: Bytes,
    ) -> Self {
        Self {
            app,
            caller,
            path,
            query,
            body,
        }
    }

    pub fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or_else(|| {
            let message = "the route asks for nobody, and its handler for somebody";
            Error::new(Kind::Internal, "serve request", message)
        })
    }

    /// The project of the token, which is that of the path.
    pub fn project(&self) -> Result<&ProjectId> {
        Ok(&self.caller()?.project)
    }

    /// An id of the path. One that is no id is one that nothing has.
    pub fn id<T: FromStr>(&self, name: &'static str) -> Result<T> {
        let text = self.path.get(name).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|_| {
            let message = "the project has none of this id";
            Error::new(Kind::NotFound, "look up", message).with(name, text)
        })
    }

    /// An option of the query.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Whether an option of the query is set.
    pub fn flag(&self, name: &'static str) -> Result<bool> {
        match self.option(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(wrong("write 1 or 0").with(name, other)),
        }
    }

    /// The JSON of the body; without a body, an empty object. What is not known in there is refused.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let text: &[u8] = match self.body.is_empty() {
            true => b"{}",
            false => &self.body,
        };
        let mut unknown = Vec::new();
        let mut read = serde_json::Deserializer::from_slice(text);
        let value = serde_ignored::deserialize(&mut read, |path| unknown.push(path.to_string()))
            .and_then(|value| read.end().map(|()| value))
            .map_err(|error| wrong(&format!("the body is not what is expected: {error}")))?;
        match unknown.is_empty() {
            true => Ok(value),
            false => {
                Err(wrong("the body has fields that are not known")
                    .with("fields", unknown.join(", ")))
            }
        }
    }

    /// The page of `all` that was asked for: after the one that `marker` names, at most `limit`. Gives it as `{NAME: […], "next": MARKER}`.
    pub fn page<T: Serialize>(
        &self,
        name: &'static str,
        all: Vec<T>,
        id: impl Fn(&T) -> String,
    ) -> Result<Reply> {
        let limits = &self.app.config.limits;
        let limit = match self.option("limit") {
            None => limits.page,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=limits.largest_page).contains(&limit) => limit,
                _ => {
                    let message = format!("give a number from 1 to {}", limits.largest_page);
                    return Err(wrong(&message).with("limit", text));
                }
            },
        };
        let from = match self.option("marker") {
            None => 0,
            Some(marker) => {
                let found = all.iter().position(|one| id(one) == marker);
                let message = "nothing in this list has the id of the marker: begin anew";
                1 + found.ok_or_else(|| wrong(message).with("marker", marker))?
            }
        };
        let more = all.len() > from + limit;
        let page: Vec<&T> = all.iter().skip(from).take(limit).collect();
        let next = page.last().filter(|_| more).map(|last| id(last));
        let page = encode(&page)?;
        Ok(Reply::json(200, json!({ name: page, "next": next })))
    }
}

fn wrong(why: &str) -> Error {
    Error::new(Kind::Invalid, "read request", why)
}

/// As JSON.
pub fn encode(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| {
        Error::new(Kind::Internal, "answer", "it cannot be written as JSON").caused_by(e)
    })
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub kind: &'static str,
    pub body: Bytes,
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            kind: "application/json",
            body: body.to_string().into(),
        }
    }

    /// One thing, under its name.
    pub fn one(status: u16, name: &'static str, thing: &impl Serialize) -> Result<Self> {
        Ok(Self::json(status, json!({ name: encode(thing)? })))
    }

    pub fn text(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            kind,
            body: body.into(),
        }
    }

    /// Done, and there is nothing to say.
    pub fn nothing() -> Self {
        Self {
            status: 204,
            kind: "",
            body: Bytes::new(),
        }
    }
}
