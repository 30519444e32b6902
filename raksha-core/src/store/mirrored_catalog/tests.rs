//! What happens to log and copy when their writers die between the steps, or one of the two is not what it was.

use std::fmt;

use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutPayload, PutResult,
};

use super::*;

/// A catalog, a target, and a way to lose either.
struct World {
    ordered: Arc<InMemory>,
    target: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        Self {
            ordered: Arc::default(),
            target: Arc::default(),
        }
    }

    /// The catalog by itself, as a writer sees it that dies before it copies.
    fn catalog(&self) -> Arc<ObjectCatalog> {
        Arc::new(ObjectCatalog::new(Arc::clone(&self.ordered) as _))
    }

    fn mirrored(&self) -> MirroredCatalog {
        MirroredCatalog::new(self.catalog(), Arc::clone(&self.target) as _)
    }

    /// A process that comes anew and may only read the target.
    fn reader(&self) -> MirroredCatalog {
        let readable = ReadOnly(Arc::clone(&self.target));
        MirroredCatalog::new(self.catalog(), Arc::new(readable))
    }

    async fn copied(&self) -> usize {
        let copies = ObjectCatalog::new(Arc::clone(&self.target) as _);
        copies.read(0, 100).await.unwrap().len()
    }
}

fn entry(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn append(catalog: &dyn ManifestCatalog, number: u64, text: &str) -> Appended {
    catalog.append(number, entry(text)).await.unwrap()
}

async fn refused(catalog: &dyn ManifestCatalog, number: u64, text: &str) -> String {
    let error = catalog.append(number, entry(text)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(!error.is_retryable());
    error.to_string()
}

#[tokio::test]
async fn an_entry_whose_writer_died_before_it_was_copied_is_copied_by_the_next() {
    let world = World::new();
    assert_eq!(append(&world.mirrored(), 0, "first").await, Appended::Done);
    assert_eq!(append(&*world.catalog(), 1, "died").await, Appended::Done);
    assert_eq!(world.copied().await, 1);

    // Nobody who cannot copy it is told of it.
    assert_eq!(world.reader().read(0, 9).await.unwrap(), [entry("first")]);
    assert_eq!(
        world.reader().read(1, 9).await.unwrap(),
        Vec::<Bytes>::new()
    );
    // Who reads and may write copies it.
    let read = world.mirrored().read(0, 9).await.unwrap();
    assert_eq!(read, [entry("first"), entry("died")]);
    assert_eq!(world.copied().await, 2);
    assert_eq!(world.reader().read(0, 9).await.unwrap().len(), 2);

    // So does who appends behind it, and who finds its number taken: it may be the one who died, asking again.
    assert_eq!(
        append(&*world.catalog(), 2, "died again").await,
        Appended::Done
    );
    assert_eq!(append(&world.mirrored(), 3, "next").await, Appended::Done);
    assert_eq!(world.copied().await, 4);
    assert_eq!(
        append(&*world.catalog(), 4, "lost answer").await,
        Appended::Done
    );
    assert_eq!(
        append(&world.mirrored(), 4, "lost answer").await,
        Appended::Taken
    );
    assert_eq!(world.copied().await, 5);
}

#[tokio::test]
async fn a_catalog_that_is_older_than_its_copy_gets_nothing_more() {
    let world = World::new();
    let mirrored = world.mirrored();
    for number in 0..3 {
        assert_eq!(append(&mirrored, number, "before").await, Appended::Done);
    }
    // A backup of the catalog is put back.
    for lost in [1, 2] {
        world
            .ordered
            .delete(&ObjectCatalog::location(lost))
            .await
            .unwrap();
    }
    for process in [&world.mirrored(), &mirrored] {
        let error = process.read(0, 9).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().contains("raksha rebuild"), "{error}");
        assert!(
            refused(process, 1, "fork")
                .await
                .contains("ends before the copy")
        );
    }
    let ordered = world.catalog().read(0, 9).await.unwrap();
    assert_eq!(ordered.len(), 1, "the catalog was appended to");
}

#[tokio::test]
async fn a_copy_that_lost_entries_is_not_appended_to() {
    let world = World::new();
    for number in 0..4 {
        assert_eq!(
            append(&world.mirrored(), number, "entry").await,
            Appended::Done
        );
    }
    for lost in [2, 3] {
        world
            .target
            .delete(&ObjectCatalog::location(lost))
            .await
            .unwrap();
    }
    assert!(
        refused(&world.mirrored(), 4, "more")
            .await
            .contains("lost entries")
    );
    assert_eq!(world.catalog().read(0, 9).await.unwrap().len(), 4);
}

/// Two catalogs for one target: the second is found out at its first append, and nothing that was copied is overwritten.
#[tokio::test]
async fn a_second_catalog_for_one_target_is_found_out() {
    let world = World::new();
    let other = World {
        ordered: Arc::default(),
        target: Arc::clone(&world.target),
    };
    assert_eq!(append(&world.mirrored(), 0, "first").await, Appended::Done);
    assert_eq!(append(&*other.catalog(), 0, "first").await, Appended::Done);
    assert_eq!(append(&world.mirrored(), 1, "mine").await, Appended::Done);
    assert!(
        refused(&other.mirrored(), 1, "theirs")
            .await
            .contains("ends before the copy")
    );

    // Even if it was appended to by somebody who did not look.
    assert_eq!(append(&*other.catalog(), 1, "theirs").await, Appended::Done);
    assert!(
        refused(&other.mirrored(), 1, "theirs")
            .await
            .contains("other bytes")
    );
    let copy = ObjectCatalog::new(Arc::clone(&world.target) as _);
    assert_eq!(copy.read(1, 1).await.unwrap(), [entry("mine")]);
}

/// A target that takes nothing.
#[derive(Debug)]
struct ReadOnly(Arc<InMemory>);

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("read only")
    }
}

fn denied(location: &Path) -> object_store::Error {
    object_store::Error::PermissionDenied {
        path: location.to_string(),
        source: "read only".into(),
    }
}

#[async_trait]
impl ObjectStore for ReadOnly {
    async fn put_opts(
        &self,
        location: &Path,
        _: PutPayload,
        _: PutOptions,
    ) -> object_store::Result<PutResult> {
        Err(denied(location))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(denied(location))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        use futures_util::StreamExt;
        locations.map(|location| Err(denied(&location?))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(denied(to))
    }
}
