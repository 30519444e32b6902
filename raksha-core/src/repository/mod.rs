//! The repository: what lies in a target, and why nothing gets lost.
//!
//! One format for every target, specified in `docs/FORMAT.md`. A *repository* is one deduplication domain with one key. Its state is a fold over a totally
//! ordered, append-only commit log; chunks lie in immutable packs that are named by the hash of their bytes. No lock, no clock and no time of modification takes
//! part in deciding what may be deleted: that follows from the order of the log alone (see the rules in the source of `fold`).
//!
//! | who | opens | may |
//! | --- | --- | --- |
//! | [`Repository::read`] | a [`PointReader`] | get the chunks of the points that it pins |
//! | [`Repository::write`] | a [`Writer`] | store chunks, commit points |
//! | [`Repository::collect`] | a session of its own | retire and delete what no point needs |
//! | [`verify_keyless`] | nothing | read every object, without any key |

mod checkpoint;
mod closure;
mod collect;
mod compress;
mod entry;
mod fetch;
mod fold;
mod frame;
mod handle;
mod index;
mod keys;
mod keyslots;
mod known;
mod locate;
mod log;
mod lookup;
mod memory;
mod merging;
#[cfg(test)]
mod model;
#[cfg(test)]
mod mutations;
mod names;
mod open;
mod pack;
mod packer;
mod parameters;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod pretend;
mod reach;
mod reader;
mod rebuild;
mod record;
mod repair;
mod rewrite;
mod seal;
#[cfg(test)]
mod seeded;
mod session;
mod shared;
mod sign;
mod target;
mod verify;
mod verify_deep;
mod verify_trees;
mod writer;

pub use closure::{Closures, PointSize};
pub use collect::{CollectOptions, Collected};
pub use compress::Compression;
pub use entry::{Action, Entry, LogHome, Purpose};
pub use handle::{Happened, OpenSession, Repository, Stats};
pub use keys::{PassphraseCost, Secret};
pub use known::KnownEntries;
pub use names::StoredName;
pub use open::EngineOptions;
pub use parameters::{FORMAT, Parameters};
pub use reader::PointReader;
pub use rebuild::{RebuildOptions, Rebuilt, rebuild};
pub use repair::Salvaged;
pub use seal::Cipher;
pub use target::Target;
pub use verify::{Damage, Hurt, Sampled, Verified, verify_keyless, verify_object};
pub use verify_deep::VerifyOptions;
pub use writer::Writer;
