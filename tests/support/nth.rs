//! A target in which something befalls one request.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is not done, and the connection breaks.
    NotDone,
    /// It is done, and the connection breaks.
    NotTold,
    /// It is not done, and whoever sent it is never heard of again.
    DiesBefore,
    /// It is done, and whoever sent it is never heard of again.
    DiesAfter,
}

#[derive(Debug)]
struct Plan {
    requests: u64,
    befalls: Option<(u64, Fate)>,
}

/// Shows `inner`; something befalls the request of one number.
#[derive(Debug, Clone)]
pub struct Nth {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Mutex<Plan>>,
}

fn broken() -> Error {
    Error::Generic {
        store: "nth",
        source: Box::new(io::Error::from(io::ErrorKind::ConnectionReset)),
    }
}

impl Nth {
    /// Shows `inner` as it is.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        let plan = Plan {
            requests: 0,
            befalls: None,
        };
        Self {
            inner,
            plan: Arc::new(Mutex::new(plan)),
        }
    }

    /// This befalls the request of this number, counted from here on.
    pub fn befall(&self, number: u64, fate: Fate) {
        let mut plan = self.plan.lock().unwrap();
        plan.befalls = Some((plan.requests + number, fate));
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.plan.lock().unwrap().requests
    }

    fn fate(&self) -> Option<Fate> {
        let mut plan = self.plan.lock().unwrap();
        plan.requests += 1;
        let number = plan.requests - 1;
        plan.befalls
            .filter(|(n, _)| *n == number)
            .map(|(_, fate)| fate)
    }

    async fn befallen<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let fate = self.fate();
        let done = match fate {
            Some(Fate::NotDone) => return Err(broken()),
            Some(Fate::DiesBefore) => std::future::pending().await,
            _ => request.await,
        };
        match fate {
            Some(Fate::NotTold) => Err(broken()),
            Some(Fate::DiesAfter) => std::future::pending().await,
            _ => done,
        }
    }

    /// The same for what is answered bit by bit.
    fn streamed<T: Send + 'static>(
        &self,
        answers: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let all = async move { Ok(answers.collect::<Vec<_>>().await) };
        let this = self.clone();
        let answered = async move { this.befallen(all).await };
        let told = stream::once(answered).flat_map(|done| {
            stream::iter(match done {
                Ok(answers) => answers,
                Err(error) => vec![Err(error)],
            })
        });
        told.boxed()
    }
}

impl fmt::Display for Nth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "troubled {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Nth {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.befallen(self.inner.put_opts(location, payload, options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.befallen(self.inner.put_multipart_opts(location, options))
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.befallen(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.streamed(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.streamed(self.inner.list(prefix))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.befallen(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.befallen(self.inner.copy_opts(from, to, options)).await
    }
}
