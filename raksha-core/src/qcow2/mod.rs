//! Disks in qcow2 images (feature `qcow2`), read with the imago crate.
//!
//! Only what the caller opened is read: no name that an image holds is ever followed from here. imago does its input and
//! output right in the threads that poll it, so all of it happens where [`Env::compute`] puts it. Should it panic on an
//! image that no check foresaw, that is an error of the image and no more (in programs that unwind).

pub(crate) mod header;
mod tables;

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
use imago::{FormatAccess, ShallowMapping};

use crate::cloud::{DiskReader, Extent, ExtentKind};
use crate::disk_range::{check_range, span};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use header::Header;
use tables::Tables;

/// A file of a disk, opened.
#[derive(Debug)]
pub enum Layer {
    /// The disk byte for byte.
    Raw(File),
    /// A qcow2 image.
    Qcow2 {
        /// The image.
        file: File,
        /// The file with its data, if that is apart.
        data: Option<File>,
    },
}

/// Reads a qcow2 image that does not change, with the images that it builds on.
#[derive(Debug)]
pub struct Qcow2Reader {
    images: Arc<Images>,
    size: u64,
    env: Env,
}

#[derive(Debug)]
struct Images {
    /// The disk's own image, which holds those that show through it.
    top: FormatAccess<Storage>,
    /// The tables of each, from the top down, with the file they are in; none for raw ones.
    tables: Vec<Option<(Tables, File)>>,
}

impl Qcow2Reader {
    /// Opens an image that builds on no other file, as clouds export them.
    ///
    /// # Errors
    /// [`Kind::Denied`] if it names another file, whichever: whoever made the image would choose what is read;
    /// [`Kind::Corrupt`] and [`Kind::Unsupported`] if it is damaged or needs what is not known here.
    pub async fn alone(file: File, env: Env) -> Result<Self> {
        let reader = env.clone();
        let open = move || {
            let header = Header::read(&file)?;
            if header.backing.is_some() || header.data_file.is_some() {
                let message = "the image refers to another file, which is never followed: qemu-img convert makes it whole";
                return Err(Error::new(Kind::Denied, OPEN, message));
            }
            Self::open(vec![Layer::Qcow2 { file, data: None }], reader)
        };
        env.compute(open).await?
    }

    /// Opens the images in `layers`: the disk's own first, then what shows through it. Blocks.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] and [`Kind::Unsupported`] as for [`alone`](Self::alone), and where an image refers to another file and none is given, or
    /// the other way round.
    pub fn open(layers: Vec<Layer>, env: Env) -> Result<Self> {
        let mut size = 0;
        let mut tables = Vec::new();
        let mut below: Option<FormatAccess<Storage>> = None;
        for layer in layers.into_iter().rev() {
            let access = match layer {
                Layer::Raw(file) => {
                    tables.push(None);
                    contained(OPEN, || {
                        drive(Raw::open_image(storage(file)?, false)).map(FormatAccess::new)
                    })?
                }
                Layer::Qcow2 { file, data } => {
                    let header = Header::read(&file)?;
                    if header.data_file.is_some() != data.is_some()
                        || header.backing.is_some() != below.is_some()
                    {
                        let message = "the image refers to other files than when it was found";
                        return Err(Error::new(Kind::Corrupt, OPEN, message));
                    }
                    size = header.size;
                    let again = file.try_clone().map_err(|e| Error::io(OPEN, e))?;
                    tables.push(Some((header.tables, again)));
                    let below = below.take();
                    contained(OPEN, || {
                        let open = Qcow2::<Storage>::open_image(storage(file)?, false);
                        let mut image = drive(open)?;
                        image.set_data_file(data.map(storage).transpose()?);
                        image.set_backing(below);
                        Ok(FormatAccess::new(image))
                    })?
                }
            };
            below = Some(access);
        }
        let top = below.ok_or_else(|| Error::new(Kind::Internal, OPEN, "a disk without files"))?;
        tables.reverse();
        Ok(Self {
            images: Arc::new(Images { top, tables }),
            size,
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
        let images = Arc::clone(&self.images);
        let find = move || {
            contained("find extents of qcow2 image", || {
                drive(async {
                    let mut extents = Vec::new();
                    walk(&images, range, |range, kind| add(&mut extents, range, kind)).await?;
                    Ok(extents)
                })
            })
        };
        self.env.compute(find).await?
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let range = span(offset, buffer.len());
        check_range(&range, self.size)?;
        let images = Arc::clone(&self.images);
        let read = move || {
            contained("read qcow2 image", || {
                drive(async {
                    // Beyond the end of a file imago reads zeroes; this finds out before it does.
                    walk(&images, range, |_, _| {}).await?;
                    images.top.read(&mut buffer[..], offset).await
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

/// Tells what is where in `range`, and fails where data lies beyond the end of its file: there imago would read zeroes,
/// which nobody could tell from data.
async fn walk(
    images: &Images,
    range: Range<u64>,
    mut tell: impl FnMut(Range<u64>, ExtentKind),
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let (kind, length) = look(images, at, range.end - at).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = at.saturating_add(length).min(range.end);
        tell(at..end, kind);
        at = end;
    }
    Ok(())
}

/// What is at `offset`, and for how many bytes; at most `length`.
async fn look(images: &Images, mut offset: u64, mut length: u64) -> io::Result<(ExtentKind, u64)> {
    use imago::Storage as _;
    let mut image = &images.top;
    for tables in &images.tables {
        let (mapping, found) = image.get_shallow_mapping(offset, length).await?;
        match mapping {
            ShallowMapping::Raw {
                storage, offset, ..
            } => {
                return if offset.saturating_add(found) > storage.size()? {
                    let message = format!(
                        "data at {offset} of the file lies beyond its end: it was cut short, or qemu-img convert makes it whole"
                    );
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
                } else {
                    Ok((ExtentKind::Data, found))
                };
            }
            ShallowMapping::Special { offset, .. } => {
                if let Some((tables, file)) = tables {
                    let range = offset..offset.saturating_add(found);
                    tables
                        .check_compressed(file, &range)
                        .map_err(io::Error::other)?;
                }
                return Ok((ExtentKind::Data, found));
            }
            ShallowMapping::Zero { .. } => return Ok((ExtentKind::Hole, found)),
            ShallowMapping::Indirect {
                layer,
                offset: there,
                ..
            } => {
                (image, offset, length) = (layer, there, found);
            }
            // An image that is shorter than the one above it.
            ShallowMapping::Eof { .. } => return Ok((ExtentKind::Hole, length)),
            _ => break,
        }
    }
    Err(io::Error::other(
        "an image builds on one that was not opened",
    ))
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
