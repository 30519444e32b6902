//! Reading the file of an object.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, Extensions, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta,
};

use super::blocking;
use super::files::refused;

/// Bytes that one trip to a blocking thread reads: as many as are asked for at once, so that nothing has to be joined.
const READ: u64 = 4 << 20;

/// An object that is open for reading.
pub(super) struct Source {
    file: File,
    path: PathBuf,
    meta: ObjectMeta,
}

impl Source {
    pub(super) fn open(path: PathBuf, location: Path) -> object_store::Result<Self> {
        let opened = File::open(&path).and_then(|file| {
            let metadata = file.metadata()?;
            match metadata.is_file() {
                true => Ok((file, metadata)),
                false => Err(io::ErrorKind::NotFound.into()),
            }
        });
        let (file, metadata) = opened.map_err(|e| refused("read", &path, &location, e))?;
        let meta = meta(location, &metadata);
        Ok(Self { file, path, meta })
    }

    pub(super) fn get(mut self, options: &GetOptions) -> object_store::Result<GetResult> {
        options.check_preconditions(&self.meta)?;
        let meta = self.meta.clone();
        let range = resolve(options.range.clone(), meta.size)?;
        let body = if options.head {
            stream::empty().boxed()
        } else if range.end - range.start <= READ {
            stream::iter([self.read(range.clone())]).boxed()
        } else {
            self.stream(range.clone())
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(body),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }

    pub(super) fn read_range(&mut self, range: Range<u64>) -> object_store::Result<Bytes> {
        let range = resolve(Some(GetRange::Bounded(range)), self.meta.size)?;
        self.read(range)
    }

    pub(super) fn copy_to(&mut self, to: &mut File, location: &Path) -> object_store::Result<u64> {
        io::copy(&mut self.file, to).map_err(|e| refused("copy", &self.path, location, e))
    }

    fn read(&mut self, range: Range<u64>) -> object_store::Result<Bytes> {
        let mut read = || -> io::Result<Vec<u8>> {
            let length = range.end - range.start;
            let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
            self.file.seek(SeekFrom::Start(range.start))?;
            (&mut self.file).take(length).read_to_end(&mut bytes)?;
            match bytes.len() as u64 == length {
                true => Ok(bytes),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        read()
            .map(Bytes::from)
            .map_err(|e| refused("read", &self.path, &self.meta.location, e))
    }

    fn stream(self, range: Range<u64>) -> BoxStream<'static, object_store::Result<Bytes>> {
        stream::try_unfold((self, range), |(mut source, left)| async move {
            if left.is_empty() {
                return Ok(None);
            }
            let now = left.start..left.end.min(left.start + READ);
            let rest = now.end..left.end;
            let (bytes, source) =
                blocking(move || source.read(now).map(|bytes| (bytes, source))).await?;
            Ok(Some((bytes, (source, rest))))
        })
        .boxed()
    }
}

/// What is known about an object.
pub(super) fn meta(location: Path, metadata: &Metadata) -> ObjectMeta {
    let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
    ObjectMeta {
        location,
        last_modified: modified.into(),
        size: metadata.len(),
        e_tag: Some(e_tag(metadata)),
        version: None,
    }
}

/// Changes whenever an object's bytes do.
pub(super) fn e_tag(metadata: &Metadata) -> String {
    let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
    let nanos = modified
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    format!("{:x}-{nanos:x}-{:x}", inode(metadata), metadata.len())
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> u64 {
    0
}

/// The bytes that `wanted` means in an object of `size`.
fn resolve(wanted: Option<GetRange>, size: u64) -> object_store::Result<Range<u64>> {
    match wanted {
        None => Ok(0..size),
        Some(range) => range.as_range(size).map_err(|source| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, source);
            object_store::Error::Generic {
                store: "directory",
                source: Box::new(source),
            }
        }),
    }
}
