//! Creating and opening repositories.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::sync::Mutex;

use super::checkpoint;
use super::entry::{Action, Entry, LogHome};
use super::fetch::Fetcher;
use super::fold::{State, other_parameters};
use super::handle::Repository;
use super::keys::{MasterKey, PassphraseCost, Purpose, Secret};
use super::keyslots;
use super::log::{Log, hex};
use super::lookup::Lookup;
use super::memory::{Shares, default_memory};
use super::names::PARAMETERS;
use super::parameters::{Described, FORMAT, HASH, Parameters};
use super::record::Records;
use super::seal::Sealing;
use super::shared::{Loaded, Shared};
use super::sign::Signer;
use super::target::Target;
use super::verify::get;
use crate::env::{Env, processors};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectHash, RepositoryId};
use crate::store::Appended;

/// The slot that a new repository's key is kept in.
const FIRST_SLOT: &str = "first";

/// How an open repository works, as opposed to what lies in it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// The outside world.
    pub env: Env,
    /// The memory that work under way may use, in bytes: by default 256 MiB, and 64 MiB more for each processor beyond four, up to 1 GiB.
    pub memory: u64,
    /// Where index objects are kept for the next time; none for a private directory that goes when the repository is closed.
    pub cache: Option<PathBuf>,
    /// Whether every new chunk is opened again and compared before its pack leaves: compressors have had bugs that lost data.
    pub check_new_chunks: bool,
    /// What a new key slot costs to open.
    pub passphrase_cost: PassphraseCost,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            env: Env::system(),
            memory: default_memory(processors()),
            cache: None,
            check_new_chunks: true,
            passphrase_cost: PassphraseCost::default(),
        }
    }
}

impl Repository {
    /// Makes a repository in `target`, with one key slot that `secret` opens.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] if the target holds one, [`Kind::Invalid`] for impossible parameters.
    pub async fn create(
        target: Target,
        parameters: Parameters,
        secret: &Secret,
        options: EngineOptions,
    ) -> Result<Self> {
        let id = RepositoryId::from_bytes(options.env.random()?);
        Self::create_as(id, target, parameters, secret, options).await
    }

    /// As [`create`](Self::create), with an id that the caller drew at random: catalogs that hold the logs of many repositories want to know it before.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_as(
        id: RepositoryId,
        target: Target,
        parameters: Parameters,
        secret: &Secret,
        options: EngineOptions,
    ) -> Result<Self> {
        parameters.check()?;
        let exists = || {
            Error::new(
                Kind::AlreadyExists,
                "create repository",
                "the target holds a repository already, or what is left of one: open it, or choose another prefix",
            )
        };
        if target.objects.head(&Path::from(PARAMETERS)).await.is_ok()
            || !target.catalog.read(0, 1).await?.is_empty()
        {
            return Err(exists());
        }
        let env = &options.env;
        let master = MasterKey::random(env)?;
        let signer = Signer::from_seed(&master.derive(Purpose::Log, &id))?;
        let slot = keyslots::make(
            &master,
            secret,
            &id,
            FIRST_SLOT,
            env,
            options.passphrase_cost,
        )
        .await?;
        let described = Described {
            format: FORMAT,
            repository: id,
            hash: HASH.into(),
            verifier: signer.verifier(),
            parameters,
        };
        let bytes = described.encode()?;
        let parameters_hash = ObjectHash::from_bytes(*blake3::hash(&bytes).as_bytes());
        let first = Entry {
            number: 0,
            previous: ObjectHash::from_bytes([0; 32]),
            time: env.now(),
            session: None,
            nonce: hex(&env.random::<16>()?),
            action: Action::Created {
                repository: id,
                parameters: parameters_hash,
                log: target.home(),
            },
        };
        // The key first: a repository without one could never be opened. raksha.json comes second and says that there is a repository.
        put_once(&target, &keyslots::location(FIRST_SLOT), slot).await?;
        put_once(&target, &Path::from(PARAMETERS), bytes).await?;
        match target.catalog.append(0, first.encode(&signer)?).await? {
            Appended::Done => {
                Self::open_with(target, described, parameters_hash, &master, options).await
            }
            Appended::Taken => Err(exists()),
        }
    }

    /// Opens the repository in `target`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::WrongKey`] if `secret` opens none of its key slots, [`Kind::Unsupported`] if a newer version made it,
    /// [`Kind::Corrupt`] if what is needed to open it is damaged.
    pub async fn open(target: Target, secret: &Secret, options: EngineOptions) -> Result<Self> {
        let (described, hash) = described(&*target.objects).await?;
        let master = keyslots::open(&target, secret, &described.repository, &options.env).await?;
        Self::open_with(target, described, hash, &master, options).await
    }

    /// The id of the repository that `objects` hold, as `raksha.json` says; no key is needed.
    ///
    /// # Errors
    /// As [`open`](Self::open) about `raksha.json`.
    pub async fn identify(objects: &dyn ObjectStore) -> Result<RepositoryId> {
        Ok(described(objects).await?.0.repository)
    }

    async fn open_with(
        target: Target,
        described: Described,
        parameters_hash: ObjectHash,
        master: &MasterKey,
        options: EngineOptions,
    ) -> Result<Self> {
        let id = described.repository;
        let signer = signer(master, &described)?;
        let state = first_state(&target, &described, parameters_hash).await?;
        if state.repository != described.repository {
            return Err(Error::new(
                Kind::Corrupt,
                "open repository",
                "the log belongs to another repository than raksha.json",
            ));
        }
        let EngineOptions {
            env,
            memory,
            cache,
            check_new_chunks,
            passphrase_cost,
        } = options;
        let parameters = described.parameters;
        let records = Arc::new(records(master, id, &parameters));
        let shares = Shares::of(memory);
        let lookup = Arc::new(Lookup::new(shares.lookup(), cache)?);
        let fetcher = Fetcher::new(
            Arc::clone(&target.objects),
            Arc::clone(&lookup),
            Arc::clone(&records),
            env.clone(),
            shares.fetching(),
        );
        let log = Log::new(
            &target,
            described.verifier,
            env.clone(),
            Some(target.home()),
            state,
        );
        let shared = Arc::new(Shared {
            id,
            parameters,
            records,
            signer,
            env,
            shares,
            check_new_chunks,
            passphrase_cost,
            log,
            lookup,
            fetcher,
            loaded: Mutex::new(Loaded::default()),
            target,
        });
        shared.refresh().await?;
        Ok(Self::from_shared(shared))
    }
}

/// What `raksha.json` says, and its hash.
pub(super) async fn described(objects: &dyn ObjectStore) -> Result<(Described, ObjectHash)> {
    let bytes = match get(objects, &Path::from(PARAMETERS)).await {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == Kind::NotFound => {
            return Err(Error::new(
                Kind::NotFound,
                "open repository",
                "the target holds no repository: it has no raksha.json; create one there, or look for the right prefix",
            )
            .with("target", objects));
        }
        Err(e) => return Err(e),
    };
    let hash = ObjectHash::from_bytes(*blake3::hash(&bytes).as_bytes());
    Ok((Described::decode(&bytes)?, hash))
}

/// The repository's own signing key, which `raksha.json` must name.
pub(super) fn signer(master: &MasterKey, described: &Described) -> Result<Signer> {
    let signer = Signer::from_seed(&master.derive(Purpose::Log, &described.repository))?;
    match signer.verifier() == described.verifier {
        true => Ok(signer),
        false => Err(Error::new(
            Kind::Corrupt,
            "open repository",
            "raksha.json names another signing key than the repository's: it was changed",
        )),
    }
}

/// Seals and opens records with the keys of the repository.
pub(super) fn records(master: &MasterKey, id: RepositoryId, parameters: &Parameters) -> Records {
    let sealing = Sealing::new(parameters.cipher, master.derive(Purpose::Chunks, &id));
    Records::new(sealing, parameters.compression, master.namer(&id))
}

/// The state from the newest checkpoint, or after the first entry.
async fn first_state(
    target: &Target,
    described: &Described,
    parameters: ObjectHash,
) -> Result<State> {
    if let Some(state) = checkpoint::newest(&*target.objects, &described.verifier).await? {
        if state.parameters != parameters {
            return Err(other_parameters());
        }
        if target.home() == LogHome::Catalog {
            reaches(target, &state).await?;
        }
        return Ok(state);
    }
    let first = target.catalog.read(0, 1).await?;
    let Some(bytes) = first.first() else {
        return Err(Error::new(
            Kind::Corrupt,
            "open repository",
            "there is raksha.json but no log: the repository was never finished, or its log is missing; if nothing was stored, remove raksha.json and keys/ and create it again",
        ));
    };
    let first = target.known().decode(0, bytes)?;
    State::begin(&first, &described.verifier, parameters)
}

/// A log elsewhere may be another than the one that the checkpoint in the target was made of, or older.
async fn reaches(target: &Target, state: &State) -> Result<()> {
    let last = state.next.saturating_sub(1);
    let entries = target.catalog.read(last, 1).await?;
    let is_head = |entry: &Bytes| blake3::hash(entry).as_bytes() == state.head.as_bytes();
    match entries.first().is_some_and(is_head) {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Corrupt,
            "open repository",
            "the catalog has not the log that the checkpoints in the target were made of: it was restored from an old backup, or is another one; `raksha rebuild` tells more",
        )
        .with("entry", last)),
    }
}

/// Creates an object that must not exist.
async fn put_once(target: &Target, location: &Path, bytes: Vec<u8>) -> Result<()> {
    let create = PutOptions::from(PutMode::Create);
    match target
        .objects
        .put_opts(location, bytes.into(), create)
        .await
    {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::object("create repository", location, e)),
    }
}
