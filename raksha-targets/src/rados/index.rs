//! The names of a namespace, so that listing them by prefix does not list the pool.
//!
//! Names are the keys of a few objects' maps, the *shards*: each name lies in the shard that its hash chooses, and each map is sorted. A
//! listing asks every shard for a page and merges them.
//!
//! Object and name cannot change in one step. So a name's entry is **open** while its object may be changing, and says nothing then: who
//! lists asks the object itself. An entry is **closed** when it tells size, time and tag of the object as it is.
//!
//! | | storing | deleting |
//! | --- | --- | --- |
//! | 1 | open the entry, under a mark of one's own | read the entry |
//! | 2 | store the object | remove the object |
//! | 3 | close the entry, if it still has that mark; else open it again | remove the entry, if it still is the one read; else begin again |
//!
//! Whoever dies between two steps leaves an open entry, which costs one question per listing until a listing, an hour later, closes or
//! removes it. An object that is there is listed, with one exception: its writer died in step 2 while another process deleted the same
//! name. Then it takes up space that nobody knows of, until [`reindex`](crate::reindex).

use std::io;

use raksha_core::env::Env;

use super::ffi::Pool;

/// Describes the index. Names of objects never begin with a slash, those of the index always do.
const HEADER: &str = "/index";

/// Shards of a new index, unless it is told otherwise.
pub(super) const SHARDS: usize = 16;

/// More would make listings of little slow.
const MOST_SHARDS: usize = 1024;

/// Entries that stay open for longer than this many seconds are looked into by whoever lists them.
const OPEN_FOR_LONG: i64 = 3600;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing, since `since` (in seconds): ask the object. The mark tells whose doing that is.
    Open { since: i64, mark: String },
    /// The object as it is.
    Closed(Known),
}

/// An object, as its entry tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) size: u64,
    /// In seconds.
    pub(super) modified: i64,
    pub(super) tag: String,
}

impl Entry {
    /// One that is open from now on.
    pub(super) fn open(env: &Env) -> io::Result<Self> {
        Ok(Self::Open {
            since: seconds(env),
            mark: random(env)?,
        })
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let entry = match kind {
            "open" => Self::Open {
                since: words.next()?.parse().ok()?,
                mark: words.next()?.to_owned(),
            },
            "is" => Self::Closed(Known {
                size: words.next()?.parse().ok()?,
                modified: words.next()?.parse().ok()?,
                tag: words.next()?.to_owned(),
            }),
            _ => return None,
        };
        words.next().is_none().then_some(entry)
    }

    pub(super) fn write(&self) -> String {
        match self {
            Self::Open { since, mark } => format!("open {since} {mark}"),
            Self::Closed(known) => {
                let Known {
                    size,
                    modified,
                    tag,
                } = known;
                format!("is {size} {modified} {tag}")
            }
        }
    }

    /// Whether it is open for so long that whoever left it so will not come back.
    pub(super) fn is_abandoned(&self, env: &Env) -> bool {
        match self {
            Self::Open { since, .. } => seconds(env).saturating_sub(*since) > OPEN_FOR_LONG,
            Self::Closed(_) => false,
        }
    }
}

/// The time in seconds.
pub(super) fn seconds(env: &Env) -> i64 {
    i64::try_from(env.now().as_millis() / 1000).unwrap_or(i64::MAX)
}

/// A word that nobody else has.
pub(super) fn random(env: &Env) -> io::Result<String> {
    let number = env.random::<16>().map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(number)))
}

/// The index of a namespace. All of its functions block.
pub(super) struct Index {
    pool: Pool,
    shards: usize,
}

impl Index {
    /// The index that is there.
    pub(super) fn find(pool: Pool) -> Result<Self, (Pool, io::Error)> {
        let shards = pool.read(HEADER, 0, 64).and_then(|read| {
            let text = String::from_utf8_lossy(&read.bytes).into_owned();
            let number = text.strip_prefix("raksha index 1, shards ");
            let number = number.and_then(|n| n.trim().parse().ok());
            number
                .filter(|n| (1..=MOST_SHARDS).contains(n))
                .ok_or_else(|| {
                    let message = "the object /index is of another version, or not ours";
                    io::Error::new(io::ErrorKind::InvalidData, message)
                })
        });
        match shards {
            Ok(shards) => Ok(Self { pool, shards }),
            Err(e) => Err((pool, e)),
        }
    }

    /// The index that is there, or a new one.
    pub(super) fn make(pool: Pool, shards: usize, env: &Env) -> Result<Self, (Pool, io::Error)> {
        let shards = shards.clamp(1, MOST_SHARDS);
        // The header last: where it is, all shards are.
        let made = (0..shards).try_for_each(|n| pool.touch(&shard(n)));
        let made = made.and_then(|()| {
            let header = format!("raksha index 1, shards {shards}");
            pool.write(HEADER, header.as_bytes(), &random(env)?, 0, true)
        });
        match made {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err((pool, e)),
            // Whoever was faster may have chosen another number of shards.
            _ => Self::find(pool),
        }
    }

    /// Whether an object is part of an index.
    pub(super) fn is_part(object: &str) -> bool {
        object.starts_with('/')
    }

    pub(super) fn shards(&self) -> usize {
        self.shards
    }

    /// Makes the shards that are not there.
    pub(super) fn mend(&self) -> io::Result<()> {
        (0..self.shards).try_for_each(|n| self.pool.touch(&shard(n)))
    }

    /// The entry of a name.
    pub(super) fn entry(&self, name: &str) -> io::Result<Option<String>> {
        self.pool.value(&self.shard_of(name), name).map_err(lost)
    }

    /// Sets a name's entry, whatever it is.
    pub(super) fn set(&self, name: &str, entry: &Entry) -> io::Result<()> {
        let value = entry.write();
        self.pool
            .exchange(&self.shard_of(name), name, None, Some(value.as_bytes()))
            .map_err(lost)
    }

    /// Replaces a name's entry (or removes it) if it is the expected one; says whether it was. Nothing is expected as an empty text.
    pub(super) fn replace(
        &self,
        name: &str,
        expected: &str,
        entry: Option<&Entry>,
    ) -> io::Result<bool> {
        let value = entry.map(Entry::write);
        let value = value.as_deref().map(str::as_bytes);
        let shard = self.shard_of(name);
        match self
            .pool
            .exchange(&shard, name, Some(expected.as_bytes()), value)
        {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(CANCELLED) => Ok(false),
            Err(e) => Err(lost(e)),
        }
    }

    /// A page of a shard: names that begin with `prefix` and come after `after`, with their entries; and whether there are more.
    pub(super) fn page(
        &self,
        number: usize,
        prefix: &str,
        after: &str,
    ) -> io::Result<(Vec<(String, String)>, bool)> {
        // What an OSD gives at once at most, unless configured otherwise (osd_max_omap_entries_per_request).
        const PAGE: u64 = 1024;
        let page = self.pool.values(&shard(number), prefix, after, PAGE);
        page.map_err(lost)
    }

    fn shard_of(&self, name: &str) -> String {
        let number = hash(name) % self.shards as u64;
        // Less than `shards`, so it fits.
        shard(usize::try_from(number).unwrap_or_default())
    }
}

/// `ECANCELED` of Linux, the only system that librados is built for.
const CANCELLED: i32 = 125;

/// A shard that is not there is no answer to a question about a name.
fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            io::ErrorKind::InvalidData,
            "an object of the index of names is lost: make it anew with `raksha target reindex`",
        ),
        _ => error,
    }
}

fn shard(number: usize) -> String {
    format!("{HEADER}/{number:04}")
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo): short, and the same for ever.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        let env = Env::system();
        let known = Known {
            size: u64::MAX,
            modified: 1_700_000_000,
            tag: random(&env).unwrap(),
        };
        for entry in [Entry::Closed(known), Entry::open(&env).unwrap()] {
            assert_eq!(Entry::read(&entry.write()), Some(entry));
        }
        for text in ["", "is 1 2", "is 1 2 3 4", "shut 1 2", "open x y"] {
            assert_eq!(Entry::read(text), None, "{text}");
        }
    }

    /// Where a name lies must never change: FNV's published values.
    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
