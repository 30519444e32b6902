//! A target as somebody sees it who has not all rights there.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Whoever sees `inner` like this may read all of it, and do what else is said.
#[derive(Debug, Clone)]
pub struct Rights {
    inner: Arc<dyn ObjectStore>,
    create: bool,
    delete: bool,
}

impl Rights {
    /// Reading alone.
    pub fn to_read(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            create: false,
            delete: false,
        }
    }

    /// Reading and making objects, but not deleting any.
    pub fn to_create(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            create: true,
            ..Self::to_read(inner)
        }
    }
}

fn may(right: bool, location: &Path) -> Result<()> {
    match right {
        true => Ok(()),
        false => Err(Error::PermissionDenied {
            path: location.to_string(),
            source: "the policy of the target does not allow it".into(),
        }),
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "some rights to {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Rights {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        may(self.create, location)?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        may(self.create, location)?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if self.delete {
            return self.inner.delete_stream(locations);
        }
        let refuse = |location: Result<Path>| location.and_then(|l| may(false, &l).map(|()| l));
        locations.map(refuse).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        may(self.create, to)?;
        self.inner.copy_opts(from, to, options).await
    }
}
