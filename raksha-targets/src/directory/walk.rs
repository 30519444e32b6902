//! Listing: a walk through directories that holds one open directory a level, however many objects there are.

use std::fs::{Metadata, ReadDir};
use std::io;
use std::path::{Path as FilePath, PathBuf};

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::blocking;
use super::files::{Root, is_reserved, refused};
use super::source::meta;

/// Objects that one trip to a blocking thread lists.
const BATCH: usize = 1024;

/// All objects under `prefix` whose names are greater than `offset`, in no order.
pub(super) fn list(
    root: Root,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
    let walk = Walk {
        next: Some((root.directory(prefix), name(prefix))),
        open: Vec::new(),
        offset: offset.map(ToString::to_string),
    };
    stream::try_unfold(walk, |mut walk| async move {
        let step = blocking(move || {
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                match walk.step()? {
                    Some(meta) => batch.push(meta),
                    None => break,
                }
            }
            Ok((batch, walk))
        });
        let (batch, walk) = step.await?;
        let next = (!batch.is_empty()).then(|| (stream::iter(batch.into_iter().map(Ok)), walk));
        Ok::<_, object_store::Error>(next)
    })
    .try_flatten()
    .boxed()
}

/// The objects and prefixes right under `prefix`, in the order of their names.
pub(super) fn list_level(root: &Root, prefix: Option<&Path>) -> object_store::Result<ListResult> {
    let mut common_prefixes = Vec::new();
    let mut objects = Vec::new();
    let above = name(prefix);
    if let Some(entries) = open(&root.directory(prefix), &above)? {
        for entry in entries {
            match read_entry(entry, &above)? {
                Some(Entry::Directory(_, below)) => {
                    common_prefixes.extend(Path::parse(below).ok());
                }
                Some(Entry::Object(meta)) => objects.push(meta),
                None => {}
            }
        }
    }
    common_prefixes.sort();
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(ListResult {
        common_prefixes,
        objects,
        extensions: object_store::Extensions::default(),
    })
}

/// A walk under way. Directories go with their names as prefixes: empty, or ending in `/`.
struct Walk {
    /// A directory to be opened next.
    next: Option<(PathBuf, String)>,
    /// The directories between the beginning and where the walk is.
    open: Vec<(ReadDir, String)>,
    offset: Option<String>,
}

enum Entry {
    Directory(PathBuf, String),
    Object(ObjectMeta),
}

impl Walk {
    fn step(&mut self) -> object_store::Result<Option<ObjectMeta>> {
        loop {
            if let Some((path, above)) = self.next.take() {
                let entries = open(&path, &above)?;
                self.open.extend(entries.map(|entries| (entries, above)));
            }
            let Some((entries, above)) = self.open.last_mut() else {
                return Ok(None);
            };
            let Some(entry) = entries.next() else {
                self.open.pop();
                continue;
            };
            match read_entry(entry, above)? {
                Some(Entry::Directory(path, below)) if !self.is_before_offset(&below) => {
                    self.next = Some((path, below));
                }
                Some(Entry::Object(meta)) if !self.is_object_before_offset(&meta) => {
                    return Ok(Some(meta));
                }
                _ => {}
            }
        }
    }

    /// Whether all names that begin with `prefix` are smaller than the offset.
    fn is_before_offset(&self, prefix: &str) -> bool {
        let offset = self.offset.as_deref();
        offset.is_some_and(|o| prefix < o && !o.starts_with(prefix))
    }

    fn is_object_before_offset(&self, meta: &ObjectMeta) -> bool {
        let offset = self.offset.as_deref();
        offset.is_some_and(|o| meta.location.as_ref() <= o)
    }
}

/// The entries of a directory; none if there is no such directory.
fn open(path: &FilePath, above: &str) -> object_store::Result<Option<ReadDir>> {
    match std::fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries)),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(refused("list", path, &Path::from(above), e)),
    }
}

/// What a directory's entry is; nothing if it has gone since, or cannot be an object of ours.
fn read_entry(
    entry: io::Result<std::fs::DirEntry>,
    above: &str,
) -> object_store::Result<Option<Entry>> {
    let read = || -> io::Result<Option<(PathBuf, String, Metadata)>> {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Ok(None);
        };
        if above.is_empty() && is_reserved(&name) {
            return Ok(None);
        }
        // Links are followed.
        let path = entry.path();
        let metadata = std::fs::metadata(&path)?;
        Ok(Some((path, format!("{above}{name}"), metadata)))
    };
    let (path, name, metadata) = match read() {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(e) if is_gone(&e) => return Ok(None),
        Err(e) => return Err(refused("list", FilePath::new(above), &Path::from(above), e)),
    };
    if metadata.is_dir() {
        return Ok(Some(Entry::Directory(path, format!("{name}/"))));
    }
    let Ok(location) = Path::parse(&name) else {
        return Ok(None);
    };
    Ok(metadata
        .is_file()
        .then(|| Entry::Object(meta(location, &metadata))))
}

fn name(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
