//! Listings: the pages of all shards, merged into the order of names.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Extensions, ListResult, ObjectMeta, Result};

use super::index::{Entry, Known};
use super::store::{Inner, meta};

/// Objects that are asked themselves, because their entries say nothing, at once.
const QUESTIONS: usize = 16;

/// A shard while it is listed.
#[derive(Debug)]
struct Shard {
    number: usize,
    page: VecDeque<(String, String)>,
    /// The last name that was read or is to be passed over.
    after: String,
    more: bool,
}

/// Names and entries under a prefix, in order.
pub(super) struct Names {
    inner: Arc<Inner>,
    prefix: String,
    shards: Vec<Shard>,
}

impl Names {
    /// Names that begin with `prefix` and come after `after`.
    pub(super) fn new(inner: Arc<Inner>, prefix: String, after: String) -> Self {
        let shard = |number| Shard {
            number,
            page: VecDeque::new(),
            after: after.clone(),
            more: true,
        };
        let shards = (0..inner.index.shards()).map(shard).collect();
        Self {
            inner,
            prefix,
            shards,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<(String, String)>> {
        // Each shard must show its next name, or that it has none, before the first of all is known.
        let about = Path::from(self.prefix.as_str());
        let dry = |s: &&mut Shard| s.page.is_empty() && s.more;
        try_join_all(self.shards.iter_mut().filter(dry).map(|shard| {
            let (number, prefix, after) = (shard.number, self.prefix.clone(), shard.after.clone());
            let page = move |inner: &Inner| inner.index.page(number, &prefix, &after);
            let page = self.inner.blocking(&about, page);
            async {
                let (page, more) = page.await?;
                shard.more = more && !page.is_empty();
                if let Some((last, _)) = page.last() {
                    shard.after.clone_from(last);
                }
                shard.page = page.into();
                Ok::<_, object_store::Error>(())
            }
        }))
        .await?;
        let first = self.shards.iter_mut().filter(|s| !s.page.is_empty());
        let first = first.min_by(|a, b| a.page.front().cmp(&b.page.front()));
        Ok(first.and_then(|shard| shard.page.pop_front()))
    }

    /// Passes over all names that begin with `prefix`.
    fn skip(&mut self, prefix: &str) {
        let end = format!("{prefix}{}", char::MAX);
        for shard in &mut self.shards {
            while shard.page.front().is_some_and(|(name, _)| *name <= end) {
                shard.page.pop_front();
            }
            if shard.page.is_empty() && shard.after < end {
                shard.after.clone_from(&end);
            }
        }
    }
}

impl Inner {
    /// The object of a name: from its entry, or by asking it. None if there is none.
    pub(super) async fn describe(
        self: &Arc<Self>,
        name: String,
        text: String,
    ) -> Result<Option<ObjectMeta>> {
        // What is no name of ours was put there by others.
        let Some(location) = Path::parse(&name).ok().filter(|l| l.as_ref() == name) else {
            return Ok(None);
        };
        let known = match Entry::read(&text) {
            Some(Entry::Closed(known)) => Some((known.size, known.modified, Some(known.tag))),
            _ => {
                let ask = move |inner: &Self| inner.ask(&name, &text, false);
                self.blocking(&location, ask).await?
            }
        };
        known
            .map(|(size, modified, tag)| meta(location, size, modified, tag))
            .transpose()
    }

    /// Asks an object what its entry does not say. An entry that was abandoned (or any, if that is to be `settled` now) is put right. Blocks.
    pub(super) fn ask(
        &self,
        name: &str,
        text: &str,
        settled: bool,
    ) -> io::Result<Option<(u64, i64, Option<String>)>> {
        let found = match self.data.read(name, 0, 0) {
            Ok(read) => Some((read.size, read.modified, read.tag)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let abandoned = Entry::read(text).is_none_or(|e| e.is_abandoned(&self.env));
        if abandoned || settled {
            let closed = match &found {
                Some((size, modified, Some(tag))) => Some(Entry::Closed(Known {
                    size: *size,
                    modified: *modified,
                    tag: tag.clone(),
                })),
                // Others wrote it: it has no tag, and is asked each time.
                Some((_, _, None)) => return Ok(found),
                None => None,
            };
            // If it was changed meanwhile, somebody else sees to it.
            self.index.replace(name, text, closed.as_ref())?;
        }
        Ok(found)
    }

    /// All objects under `prefix` after `offset`, in the order of their names.
    pub(super) fn list(
        self: Arc<Self>,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let after = offset.map(ToString::to_string).unwrap_or_default();
        let names = Names::new(Arc::clone(&self), begin(prefix), after);
        let names = stream::try_unfold(names, |mut names| async move {
            Ok(names.next().await?.map(|next| (next, names)))
        });
        names
            .map_ok(move |(name, text)| {
                let inner = Arc::clone(&self);
                async move { inner.describe(name, text).await }
            })
            .try_buffered(QUESTIONS)
            .try_filter_map(async |meta| Ok(meta))
            .boxed()
    }

    /// The objects and prefixes right under `prefix`.
    pub(super) async fn list_level(self: &Arc<Self>, prefix: Option<&Path>) -> Result<ListResult> {
        let begin = begin(prefix);
        let mut names = Names::new(Arc::clone(self), begin.clone(), String::new());
        let (mut common_prefixes, mut objects) = (Vec::new(), Vec::new());
        while let Some((name, text)) = names.next().await? {
            let rest = name.get(begin.len()..).unwrap_or_default();
            let Some((level, _)) = rest.split_once('/') else {
                objects.extend(self.describe(name, text).await?);
                continue;
            };
            let below = format!("{begin}{level}");
            // A prefix is there if an object under it is.
            if self.describe(name, text).await?.is_some() {
                common_prefixes.extend(Path::parse(&below).ok());
                names.skip(&format!("{below}/"));
            }
        }
        Ok(ListResult {
            common_prefixes,
            objects,
            extensions: Extensions::default(),
        })
    }
}

/// What the names under `prefix` begin with.
fn begin(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}
