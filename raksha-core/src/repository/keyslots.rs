//! Adding and removing keys: no data is touched, since every slot wraps the same master key.

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

use super::entry::Action;
use super::handle::Repository;
use super::keys::{MasterKey, PassphraseCost, Secret, new_slot, open_slot};
use super::names::KEYS;
use super::target::Target;
use super::verify::{get, list};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::RepositoryId;

impl Repository {
    /// The names of the key slots.
    pub async fn key_slots(&self) -> Result<Vec<String>> {
        let locations = list(&*self.shared.target.objects, KEYS).await?;
        let names = locations
            .iter()
            .filter_map(|l| l.filename().map(str::to_owned));
        Ok(names.collect())
    }

    /// Adds a slot that `secret` opens. `current` is a secret that opens the repository: the master key is not kept in memory.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] if there is a slot of that name, [`Kind::Invalid`] for a name that is no plain word, [`Kind::WrongKey`] if `current` opens nothing.
    pub async fn add_key(
        &self,
        slot: &str,
        secret: &Secret,
        current: &Secret,
        who: &str,
    ) -> Result<()> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if slot.is_empty() || slot.len() > 64 || !slot.chars().all(word) || slot.starts_with('.') {
            return Err(Error::new(
                Kind::Invalid,
                "add key",
                "a slot's name has 1 to 64 letters, digits, '-', '_' and '.', and does not begin with '.'",
            )
            .with("slot", slot));
        }
        let shared = &self.shared;
        let master = open(&shared.target, current, &shared.id, &shared.env).await?;
        let bytes = make(
            &master,
            secret,
            &shared.id,
            slot,
            &shared.env,
            shared.passphrase_cost,
        )
        .await?;
        let place = location(slot);
        let create = PutOptions::from(PutMode::Create);
        let put = shared
            .target
            .objects
            .put_opts(&place, bytes.into(), create)
            .await;
        put.map_err(|e| Error::object("add key", &place, e))?;
        self.note_keys(slot, true, who).await
    }

    /// Removes a slot. Whoever copied it before and knows its secret can still open the copy: a repository whose key is known to the wrong people
    /// has to be made anew.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such slot, [`Kind::Denied`] if it is the last one that can be opened with `current`.
    pub async fn remove_key(&self, slot: &str, current: &Secret, who: &str) -> Result<()> {
        let shared = &self.shared;
        let removed = location(slot);
        let slots = list(&*shared.target.objects, KEYS).await?;
        if !slots.contains(&removed) {
            return Err(
                Error::new(Kind::NotFound, "remove key", "there is no such slot")
                    .with("slot", slot),
            );
        }
        let mut opens_another = false;
        for other in slots.iter().filter(|l| **l != removed) {
            match try_slot(&shared.target, other, current, &shared.id, &shared.env).await {
                Ok(opened) => opens_another |= opened.is_some(),
                // Damaged, or removed by somebody else in this moment: of no use.
                Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        if !opens_another {
            return Err(Error::new(
                Kind::Denied,
                "remove key",
                "the key given opens no other slot: add one that it opens first, or nobody could open the repository again",
            )
            .with("slot", slot));
        }
        let deleted = shared.target.objects.delete(&removed).await;
        deleted.map_err(|e| Error::object("remove key", &removed, e))?;
        self.note_keys(slot, false, who).await
    }

    async fn note_keys(&self, slot: &str, added: bool, who: &str) -> Result<()> {
        let by = self.shared.seal_text(who)?;
        self.append(|| Action::KeysChanged {
            slot: slot.to_owned(),
            added,
            by: by.clone(),
        })
        .await
    }
}

/// Where a slot is.
pub(super) fn location(slot: &str) -> Path {
    Path::from(format!("{KEYS}/{slot}"))
}

/// The bytes of a new slot. A passphrase takes its time, so this is done off the threads that drive input and output.
pub(super) async fn make(
    master: &MasterKey,
    secret: &Secret,
    repository: &RepositoryId,
    slot: &str,
    env: &Env,
    cost: PassphraseCost,
) -> Result<Vec<u8>> {
    let (master, secret, repository) = (master.clone(), secret.clone(), *repository);
    let (slot, world) = (slot.to_owned(), env.clone());
    env.compute(move || new_slot(&master, &secret, &repository, &slot, &world, cost))
        .await?
}

/// The master key, from the first slot that `secret` opens.
pub(super) async fn open(
    target: &Target,
    secret: &Secret,
    repository: &RepositoryId,
    env: &Env,
) -> Result<MasterKey> {
    let slots = list(&*target.objects, KEYS).await?;
    let mut damaged = None;
    for slot in &slots {
        match try_slot(target, slot, secret, repository, env).await {
            Ok(Some(master)) => return Ok(master),
            Ok(None) => {}
            // Removed since it was listed.
            Err(e) if e.kind() == Kind::NotFound => {}
            // Another slot may open.
            Err(e) => damaged = Some(e),
        }
    }
    Err(damaged.unwrap_or_else(|| {
        Error::new(
            Kind::WrongKey,
            "open repository",
            "this passphrase or key file opens none of the repository's key slots",
        )
        .with("slots tried", slots.len())
    }))
}

async fn try_slot(
    target: &Target,
    slot: &Path,
    secret: &Secret,
    repository: &RepositoryId,
    env: &Env,
) -> Result<Option<MasterKey>> {
    let bytes = get(&*target.objects, slot).await?;
    let (secret, repository) = (secret.clone(), *repository);
    let name = slot.filename().unwrap_or_default().to_owned();
    env.compute(move || open_slot(&bytes, &secret, &repository, &name))
        .await?
}
