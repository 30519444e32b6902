//! Making the index of names anew, from the objects themselves.

use std::sync::Arc;

use object_store::path::Path;
use raksha_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Place;
use super::index::{Entry, Index};
use super::listing::Names;
use super::store::Inner;
use crate::address::Address;
use crate::open::OpenOptions;

const OPERATION: &str = "make index anew";

/// What came of making an index anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reindexed {
    /// Objects that are there.
    pub objects: u64,
    /// Those of them that were not in the index.
    pub added: u64,
    /// Names in the index without an object.
    pub removed: u64,
}

/// Makes the index of names of a target in RADOS agree with the objects of its namespace: for when objects of the index were lost, or writers died while
/// others deleted the same names. It lists the whole pool. Others may use the target meanwhile.
///
/// # Errors
/// [`Kind::Invalid`] for an address that is not one of RADOS.
pub async fn reindex(address: &str, options: &OpenOptions) -> Result<Reindexed> {
    let address = Address::parse(address)?;
    if address.scheme != "rados" {
        let message = "only targets in RADOS (rados://…) have an index of names";
        return Err(Error::new(Kind::Invalid, OPERATION, message).with("scheme", address.scheme));
    }
    let inner = Place::read(address)?.open_off_thread(true, &options.env);
    let inner = Arc::new(inner.await?);
    let failed = |e| Error::object(OPERATION, &Path::from("index"), e);
    let index = Path::from("index");
    let mended = inner.blocking(&index, |inner| inner.index.mend());
    mended.await.map_err(failed)?;
    let mut done = Reindexed {
        added: add(&inner).await.map_err(failed)?,
        ..Reindexed::default()
    };
    let mut names = Names::new(Arc::clone(&inner), String::new(), String::new());
    while let Some((name, text)) = names.next().await.map_err(failed)? {
        let about = Path::from(name.as_str());
        let ask = move |inner: &Inner| inner.ask(&name, &text, true);
        match inner.blocking(&about, ask).await.map_err(failed)? {
            Some(_) => done.objects += 1,
            None => done.removed += 1,
        }
    }
    Ok(done)
}

/// Gives every object without an entry an open one; says how many those were.
async fn add(inner: &Arc<Inner>) -> object_store::Result<u64> {
    // A pool is listed on a thread of its own, a little ahead.
    let (send, mut names) = mpsc::channel(1000);
    let about = Path::from("index");
    let list = inner.blocking(&about, move |inner| {
        inner
            .data
            .names(|name| Index::is_part(name) || send.blocking_send(name.to_owned()).is_ok())
    });
    let enter = async {
        let mut added = 0;
        while let Some(name) = names.recv().await {
            let about = Path::from(name.as_str());
            let enter = move |inner: &Inner| {
                inner
                    .index
                    .replace(&name, "", Some(&Entry::open(&inner.env)?))
            };
            added += u64::from(inner.blocking(&about, enter).await?);
        }
        Ok(added)
    };
    let (listed, added) = tokio::join!(list, enter);
    listed?;
    added
}
