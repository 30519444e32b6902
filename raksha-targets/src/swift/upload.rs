//! Large objects: segments in a container of their own, and a manifest (a *static large object*) that makes them one.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use reqwest::Method;
use serde::Serialize;

use super::client::{Request, generic, object_path};
use super::store::Inner;

#[derive(Debug)]
pub(super) struct Upload {
    inner: Arc<Inner>,
    location: Path,
    /// Tells the segments of this upload from those of others of the same object.
    id: u128,
    begun: usize,
    stored: Arc<Mutex<Vec<Segment>>>,
}

/// A line of a manifest.
#[derive(Debug, Clone, Serialize)]
struct Segment {
    path: String,
    etag: String,
    size_bytes: u64,
    #[serde(skip)]
    number: usize,
    #[serde(skip)]
    name: Path,
}

/// The name of a segment: the object's, the upload's, the number's.
fn segment_name(location: &Path, id: u128, number: usize) -> Path {
    location
        .clone()
        .join(format!("{id:032x}"))
        .join(format!("{number:08}"))
}

/// The object that a segment with this name belongs to.
pub(super) fn object_of_segment(name: &str) -> Option<&str> {
    let (rest, number) = name.rsplit_once('/')?;
    let (object, id) = rest.rsplit_once('/')?;
    let ours = number.len() == 8
        && number.bytes().all(|b| b.is_ascii_digit())
        && id.len() == 32
        && id.bytes().all(|b| b.is_ascii_hexdigit());
    ours.then_some(object)
}

impl Upload {
    pub(super) async fn begin(inner: Arc<Inner>, location: Path) -> Result<Self> {
        let id = u128::from_be_bytes(inner.env.random::<16>().map_err(generic)?);
        inner.make_container(&inner.segments).await?;
        Ok(Self {
            inner,
            location,
            id,
            begun: 0,
            stored: Arc::default(),
        })
    }

    fn stored(&self) -> Vec<Segment> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stored = stored.clone();
        stored.sort_by_key(|segment| segment.number);
        stored
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = self.begun;
        self.begun += 1;
        let most = self.inner.limits.segments.unwrap_or(0);
        let (inner, stored) = (Arc::clone(&self.inner), Arc::clone(&self.stored));
        let name = segment_name(&self.location, self.id, number);
        async move {
            if number >= most {
                let message = format!("a large object has at most {most} parts here");
                return Err(Error::NotSupported {
                    source: message.into(),
                });
            }
            let size_bytes = data.content_length() as u64;
            let result = inner.put(&inner.segments, &name, data, &[]).await?;
            let segment = Segment {
                path: format!("/{}/{name}", inner.segments),
                etag: result.e_tag.unwrap_or_default(),
                size_bytes,
                number,
                name,
            };
            let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored.push(segment);
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let segments = self.stored();
        if segments.len() != self.begun {
            return Err(generic("not all parts of the upload were stored"));
        }
        if segments.iter().all(|segment| segment.size_bytes == 0) {
            let put = self.inner.put(
                &self.inner.container,
                &self.location,
                PutPayload::new(),
                &[],
            );
            return put.await;
        }
        // A manifest takes no empty segments.
        let lines: Vec<_> = segments.iter().filter(|s| s.size_bytes > 0).collect();
        let manifest = serde_json::to_vec(&lines).map_err(generic)?;
        let path = object_path(&self.inner.container, self.location.as_ref());
        let path = format!("{path}?multipart-manifest=put");
        let request =
            Request::new(Method::PUT, path, &self.location).body(PutPayload::from(manifest));
        let response = self.inner.connection.send(request).await?;
        let e_tag = super::client::text(response.headers(), "etag");
        Ok(PutResult {
            e_tag: e_tag.map(|tag| tag.trim_matches('"').to_owned()),
            version: None,
            extensions: object_store::Extensions::default(),
        })
    }

    async fn abort(&mut self) -> Result<()> {
        let names: Vec<_> = self.stored().into_iter().map(|s| s.name).collect();
        let errors = self.inner.delete_in(&self.inner.segments, &names).await;
        errors.into_values().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_told_from_those_of_objects_below() {
        let object = Path::from("packs/a");
        let name = segment_name(&object, 7, 12);
        assert_eq!(object_of_segment(name.as_ref()), Some("packs/a"));
        assert_eq!(object_of_segment("packs/a/b"), None);
        let below = segment_name(&object.join("b"), 7, 12);
        assert_eq!(object_of_segment(below.as_ref()), Some("packs/a/b"));
    }
}
