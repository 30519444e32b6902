//! Listings, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::NaiveDateTime;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};
use reqwest::Method;
use serde::Deserialize;

use super::client::{Request, garbled, lost, quoted};
use super::limits::about;
use super::store::Inner;

/// A row of a listing: an object, or what several names begin with.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Row {
    Object {
        name: String,
        bytes: u64,
        hash: String,
        last_modified: String,
    },
    Prefix {
        subdir: String,
    },
}

/// What is asked for.
#[derive(Debug, Clone)]
struct Query {
    container: String,
    /// What names begin with.
    prefix: String,
    /// Names come after this one.
    marker: String,
    one_level: bool,
}

impl Inner {
    /// All objects of the container under `prefix` after `offset`, in the order of their names.
    pub(super) fn list(
        self: &Arc<Self>,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let query = Query {
            container: self.container.clone(),
            prefix: begin(prefix),
            marker: offset.map(ToString::to_string).unwrap_or_default(),
            one_level: false,
        };
        let state = (Arc::clone(self), Some(query), VecDeque::new());
        stream::try_unfold(state, |(inner, mut query, mut rows)| async move {
            loop {
                while let Some(row) = rows.pop_front() {
                    if let Some(meta) = meta(row)? {
                        return Ok(Some((meta, (inner, query, rows))));
                    }
                }
                let Some(asked) = query.take() else {
                    return Ok(None);
                };
                (rows, query) = inner.page(asked).await?;
            }
        })
        .boxed()
    }

    /// The objects and prefixes right under `prefix`.
    pub(super) async fn list_level(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut query = Some(Query {
            container: self.container.clone(),
            prefix: begin(prefix),
            marker: String::new(),
            one_level: true,
        });
        let (mut common_prefixes, mut objects) = (Vec::new(), Vec::new());
        while let Some(asked) = query.take() {
            let (rows, next) = self.page(asked).await?;
            for row in rows {
                match row {
                    Row::Prefix { subdir } => common_prefixes.extend(Path::parse(subdir).ok()),
                    row => objects.extend(meta(row)?),
                }
            }
            query = next;
        }
        Ok(ListResult {
            common_prefixes,
            objects,
            extensions: object_store::Extensions::default(),
        })
    }

    /// The names in `container` that begin with `prefix`; none if there is no such container.
    pub(super) async fn names(&self, container: &str, prefix: &str) -> Result<Vec<String>> {
        let mut query = Some(Query {
            container: container.to_owned(),
            prefix: prefix.to_owned(),
            marker: String::new(),
            one_level: false,
        });
        let mut names = Vec::new();
        while let Some(asked) = query.take() {
            let (rows, next) = match self.page(asked).await {
                Err(object_store::Error::NotFound { .. }) => break,
                page => page?,
            };
            names.extend(rows.into_iter().filter_map(|row| match row {
                Row::Object { name, .. } => Some(name),
                Row::Prefix { .. } => None,
            }));
            query = next;
        }
        Ok(names)
    }

    /// A page, and what to ask for next. Only an empty page is known to be the last: others may be short for reasons of their own.
    async fn page(&self, query: Query) -> Result<(VecDeque<Row>, Option<Query>)> {
        let Query {
            container,
            prefix,
            marker,
            one_level,
        } = &query;
        let path = format!(
            "/{}?format=json&limit={}&prefix={}&marker={}{}",
            quoted(container),
            self.limits.page,
            quoted(prefix),
            quoted(marker),
            if *one_level { "&delimiter=/" } else { "" },
        );
        let request =
            Request::new(Method::GET, path, &about(container)).header("Accept", "application/json");
        let body = self.connection.send(request).await?.bytes().await;
        let body = body.map_err(lost)?;
        if body.is_empty() {
            return Ok((VecDeque::new(), None));
        }
        let (rows, last) = rows(&body, marker)?;
        let next = last.map(|marker| Query { marker, ..query });
        Ok((rows, next))
    }
}

/// The rows of a page, and the last name in it, which comes after `marker`.
fn rows(body: &[u8], marker: &str) -> Result<(VecDeque<Row>, Option<String>)> {
    let rows: VecDeque<Row> = serde_json::from_slice(body).map_err(|e| garbled(&e.to_string()))?;
    let last = rows.back().map(|row| match row {
        Row::Object { name, .. } => name.clone(),
        Row::Prefix { subdir } => subdir.clone(),
    });
    if last.as_deref().is_some_and(|last| last <= marker) {
        return Err(garbled("a listing does not go forward"));
    }
    Ok((rows, last))
}

/// What the names under `prefix` begin with.
fn begin(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}

/// The object of a row; nothing if its name cannot be one of ours.
fn meta(row: Row) -> Result<Option<ObjectMeta>> {
    let Row::Object {
        name,
        bytes,
        hash,
        last_modified,
    } = row
    else {
        return Ok(None);
    };
    let Some(location) = Path::parse(&name).ok().filter(|l| l.as_ref() == name) else {
        return Ok(None);
    };
    let modified =
        NaiveDateTime::parse_from_str(last_modified.trim_end_matches('Z'), "%Y-%m-%dT%H:%M:%S%.f");
    let modified = modified.map_err(|_| garbled("a time in a listing"))?;
    Ok(Some(ObjectMeta {
        location,
        last_modified: modified.and_utc(),
        size: bytes,
        e_tag: Some(hash.trim_matches('"').to_owned()),
        version: None,
    }))
}

#[cfg(test)]
mod tests {
    use raksha_core::testkit::Fuzz;
    use raksha_core::{Error, Kind};

    use super::*;

    #[test]
    fn pages_that_were_changed() {
        let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
        let good = r#"[{"hash": "d41d8cd98f00b204e9800998ecf8427e", "last_modified": "2026-11-26T22:10:01.123456", "bytes": 7,
            "name": "log/00000000000000000001", "content_type": "application/octet-stream"}, {"subdir": "packs/"}]"#;
        Fuzz::new("swift-listing", corpora).good(good).feed(|body| {
            let refuse = |e: object_store::Error| Error::new(Kind::Corrupt, "list", e.to_string());
            let (rows, last) = rows(body, "a").map_err(refuse)?;
            assert!(
                last.is_none_or(|last| last.as_str() > "a"),
                "it goes forward"
            );
            let mut ours = 0;
            for row in rows {
                ours += usize::from(meta(row).map_err(refuse)?.is_some());
            }
            Ok(ours.min(2).to_string())
        });
    }
}
