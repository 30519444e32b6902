//! Lists that come page by page.

use std::collections::HashSet;

use raksha_core::{Error, Kind, Result};
use serde_json::Value;
use url::Url;

use super::{Answer, Client, Request, Service};

/// How often a list is begun anew, when what marked the place in it was deleted meanwhile.
const RESTARTS: u32 = 3;

impl Client {
    /// All that a list holds under `key`, page by page: follows `KEY_links` (Nova, Cinder, Neutron), `links` (Keystone) and `next` (Glance).
    ///
    /// Of the next page's URL only the query counts: the request goes where the first one went.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Kind::Corrupt`] if an answer has no such list, or pages go round in a circle.
    pub async fn list(
        &self,
        service: Service,
        request: Request,
        key: &'static str,
    ) -> Result<Vec<Value>> {
        self.list_seen(service, request, key, &mut |_| Ok(())).await
    }

    /// The same, and `see` is shown the text of each page. What it sees twice, since the list was begun anew, counts as it was last.
    pub(crate) async fn list_seen(
        &self,
        service: Service,
        request: Request,
        key: &'static str,
        see: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
    ) -> Result<Vec<Value>> {
        let mut restarts = 0;
        loop {
            match self.pages(service, &request, key, see).await {
                Err((error, true)) if error.kind() == Kind::Invalid && restarts < RESTARTS => {
                    restarts += 1;
                    tracing::debug!(%error, "the list is begun anew");
                }
                outcome => return outcome.map_err(|(error, _)| error),
            }
        }
    }

    /// On failure also whether it was on a later page than the first.
    async fn pages(
        &self,
        service: Service,
        first: &Request,
        key: &'static str,
        see: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
    ) -> Result<Vec<Value>, (Error, bool)> {
        let mut items = Vec::new();
        let mut seen: HashSet<Vec<(String, String)>> = HashSet::new();
        let mut request = first.clone();
        loop {
            let later = !seen.is_empty();
            seen.insert(request.query.clone());
            let sent = self.send(service, request.clone()).await;
            let answer = sent.map_err(|error| (error, later))?;
            see(&answer.text).map_err(|error| (error, later))?;
            let next = next(&answer.body, key);
            let corrupt = |answer: &Answer, message: &str| {
                let id = answer.request_id.as_deref().unwrap_or("none").to_owned();
                let error = Error::new(Kind::Corrupt, first.operation, message);
                let error = error.with("service", service).with("path", &first.path);
                (error.with("request id", id), later)
            };
            if next.as_ref().is_some_and(|query| seen.contains(query)) {
                return Err(corrupt(
                    &answer,
                    "the pages of the list go round in a circle",
                ));
            }
            match answer.body {
                Value::Object(mut body) => match body.remove(key) {
                    Some(Value::Array(page)) => items.extend(page),
                    _ => {
                        let answer = Answer {
                            body: Value::Null,
                            ..answer
                        };
                        return Err(corrupt(
                            &answer,
                            "the answer lacks the list that it must have",
                        ));
                    }
                },
                _ => return Err(corrupt(&answer, "the answer is no list")),
            }
            match next {
                None => return Ok(items),
                Some(query) => request.query = query,
            }
        }
    }
}

/// The query of the next page.
fn next(body: &Value, key: &str) -> Option<Vec<(String, String)>> {
    let links = body.get(format!("{key}_links")).and_then(Value::as_array);
    let listed = links
        .into_iter()
        .flatten()
        .find(|link| link.get("rel").and_then(Value::as_str) == Some("next"))
        .and_then(|link| link.get("href"));
    let href = listed
        .or_else(|| body.get("links")?.get("next"))
        .or_else(|| body.get("next"))?
        .as_str()?;
    // Glance's are relative; the host does not matter.
    let base = Url::parse("http://localhost/").ok()?;
    let url = base.join(href).ok()?;
    Some(url.query_pairs().into_owned().collect())
}
