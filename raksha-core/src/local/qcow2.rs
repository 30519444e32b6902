//! Disks in qcow2 images, read with the imago crate.
//!
//! Only what the caller opened is read: no name that an image holds is ever followed from here. imago does its input and
//! output right in the threads that poll it, so all of it happens where [`Env::compute`] puts it. Should it panic on an
//! image that no check foresaw, that is an error of the image and no more (in programs that unwind).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use imago::file::File as Storage;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{FormatAccess, Mapping};

use super::layers::OpenLayer;
use super::qcow2_header::Header;
use super::raw::{check_range, span};
use crate::cloud::{DiskReader, Extent, ExtentKind};
use crate::env::Env;
use crate::error::{Error, Kind, Result};

/// Reads a qcow2 image that does not change, with the images that it builds on.
#[derive(Debug)]
pub(super) struct Qcow2Reader {
    image: Arc<FormatAccess<Storage>>,
    size: u64,
    /// The largest cluster of any of the images. The last cluster of an image may be cut short by less than that.
    cluster: u64,
    env: Env,
}

impl Qcow2Reader {
    /// Opens the images in `layers`: the disk's own first, then what shows through it. Blocks.
    pub(super) fn open(layers: Vec<OpenLayer>, env: Env) -> Result<Self> {
        let mut cluster = 0;
        let mut size = 0;
        let mut below: Option<FormatAccess<Storage>> = None;
        for layer in layers.into_iter().rev() {
            let access = match layer {
                OpenLayer::Raw(file) => {
                    size = file.metadata().map_err(|e| Error::io(OPEN, e))?.len();
                    contained(OPEN, || {
                        block_on(Raw::open_image(storage(file)?, false)).map(FormatAccess::new)
                    })?
                }
                OpenLayer::Qcow2 { file, data } => {
                    let header = Header::read(&file)?;
                    cluster = cluster.max(header.cluster);
                    size = header.size;
                    let below = below.take();
                    contained(OPEN, || {
                        let open = Qcow2::<Storage>::open_image(storage(file)?, false);
                        let mut image = block_on(tokio::task::unconstrained(open))?;
                        image.set_data_file(data.map(storage).transpose()?);
                        image.set_backing(below);
                        Ok(FormatAccess::new(image))
                    })?
                }
            };
            below = Some(access);
        }
        let image =
            below.ok_or_else(|| Error::new(Kind::Internal, OPEN, "a disk without files"))?;
        Ok(Self {
            image: Arc::new(image),
            size,
            cluster,
            env,
        })
    }
}

#[async_trait]
impl DiskReader for Qcow2Reader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        check_range(&range, self.size)?;
        let (image, cluster) = (Arc::clone(&self.image), self.cluster);
        let find = move || {
            contained("find extents of qcow2 image", || {
                drive(async {
                    let mut extents = Vec::new();
                    walk(&image, range, cluster, |range, kind| {
                        add(&mut extents, range, kind)
                    })
                    .await?;
                    Ok(extents)
                })
            })
        };
        self.env.compute(find).await?
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let range = span(offset, buffer.len());
        check_range(&range, self.size)?;
        let (image, cluster) = (Arc::clone(&self.image), self.cluster);
        let read = move || {
            contained("read qcow2 image", || {
                drive(async {
                    // Beyond the end of a file imago reads zeroes; this finds out before it does.
                    walk(&image, range, cluster, |_, _| {}).await?;
                    image.read(&mut buffer[..], offset).await
                })
            })
            .map(|()| buffer)
        };
        self.env
            .compute(read)
            .await?
            .map_err(|e| e.with("offset", offset))
    }
}

/// Tells what is where in `range`, and fails where data lies beyond the end of its file.
async fn walk(
    image: &FormatAccess<Storage>,
    range: Range<u64>,
    cluster: u64,
    mut tell: impl FnMut(Range<u64>, ExtentKind),
) -> io::Result<()> {
    use imago::Storage as _;
    let mut at = range.start;
    while at < range.end {
        let (mapping, length) = image.get_mapping(at, range.end - at).await?;
        let kind = match mapping {
            Mapping::Raw {
                storage, offset, ..
            } => {
                // QEMU lets the last cluster of a file be cut short, and so do its tools: see inc_refcounts
                // in block/qcow2-refcount.c.
                let end = offset.saturating_add(length);
                if end >= storage.size()?.saturating_add(cluster) {
                    let message = format!(
                        "data at {offset} of the file lies beyond its end: it was cut short"
                    );
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                ExtentKind::Data
            }
            Mapping::Zero { .. } => ExtentKind::Hole,
            Mapping::Special { .. } => ExtentKind::Data,
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = at.saturating_add(length).min(range.end);
        tell(at..end, kind);
        at = end;
    }
    Ok(())
}

fn add(extents: &mut Vec<Extent>, range: Range<u64>, kind: ExtentKind) {
    match extents.last_mut() {
        Some(last) if last.kind == kind => last.range.end = range.end,
        _ => extents.push(Extent { range, kind }),
    }
}

/// Runs imago's future to its end, here and now. Nothing that it waits for is driven by the runtime, so tokio's budget
/// for how long a task may go on must not make it wait.
fn drive<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    block_on(tokio::task::unconstrained(future))
}

/// Runs `work`; what goes wrong in it is the image's fault.
fn contained<T>(operation: &'static str, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
    let damaged = |message| Error::new(Kind::Corrupt, operation, message);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(damaged("the image is damaged or cannot be read").caused_by(e)),
        Err(_) => Err(damaged("the image is damaged in a way that nobody foresaw")),
    }
}

fn storage(file: File) -> io::Result<Storage> {
    Storage::try_from(file)
}

const OPEN: &str = "open qcow2 image";

/// Waits on this thread for a future of the image library, whose futures end without anybody's help.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
