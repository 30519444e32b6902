//! A repository to be harmed, and what is expected of errors.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use raksha_core::id::PointId;
use raksha_core::repository::{Repository, Secret, Target, VerifyOptions, verify_keyless};
use raksha_core::{Error, Kind, Result};

use crate::{Overlay, Random, back_up, objects, options, restore, small};

/// A repository of three points behind an overlay.
#[derive(Debug)]
pub struct Stored {
    /// What it lies in.
    pub overlay: Arc<Overlay>,
    /// What opens it.
    pub secret: Secret,
    /// Its points, and what they must give back.
    pub points: Vec<(PointId, Vec<u8>)>,
}

impl Stored {
    /// A repository of three points, of which the first and second share much.
    pub async fn new(random: &mut Random) -> Self {
        let overlay = Arc::new(Overlay::new(Arc::new(InMemory::new())));
        let secret = Secret::passphrase("secret");
        let mut stored = Self {
            overlay,
            secret,
            points: Vec::new(),
        };
        let repository = Repository::create(stored.target(), small(), &stored.secret, options())
            .await
            .unwrap();
        let mut disk = random.bytes(3 << 20);
        for n in 0..3 {
            disk[(n << 20)..(n << 20) + 5000].copy_from_slice(&random.bytes(5000));
            let id = back_up(&repository, "disk", &disk).await.unwrap();
            stored.points.push((id, disk.clone()));
        }
        stored
    }

    /// The target.
    pub fn target(&self) -> Target {
        Target::new(Arc::clone(&self.overlay) as Arc<dyn ObjectStore>)
    }

    /// Opens it anew.
    pub async fn open(&self) -> Result<Repository> {
        Repository::open(self.target(), &self.secret, options()).await
    }

    /// The names of the objects under a prefix, with their bytes.
    pub async fn of(&self, prefix: &str) -> Vec<(Path, Vec<u8>)> {
        let all = objects(&*self.overlay).await.into_iter();
        all.filter(|(l, _)| l.as_ref().starts_with(prefix))
            .map(|(l, b)| (l, b.to_vec()))
            .collect()
    }

    /// Everything is there and intact, and comes back.
    pub async fn is_whole(&self) {
        let keyless = verify_keyless(&self.target()).await.unwrap();
        assert!(keyless.is_whole(), "{:?}", keyless.damage);
        let repository = self.open().await.unwrap();
        let deep = repository.verify(&VerifyOptions::default()).await.unwrap();
        assert!(deep.is_whole(), "{:?}", deep.damage);
        for (id, bytes) in &self.points {
            let back = restore(&repository, *id).await.unwrap();
            assert!(
                back.as_ref() == Some(bytes),
                "point {id} came back different"
            );
        }
    }
}

/// The error of what must fail with one of `kinds`, in one line that has all `words` in it.
#[track_caller]
pub fn failed<T: std::fmt::Debug>(result: Result<T>, kinds: &[Kind], words: &[&str]) -> Error {
    let error = match result {
        Err(error) => error,
        Ok(done) => panic!("it must fail with {kinds:?}, and gave {done:?}"),
    };
    assert!(
        kinds.contains(&error.kind()),
        "{kinds:?} expected: {error:?}"
    );
    let text = error.to_string();
    assert!(!text.contains('\n'), "an error is one line: {text}");
    for word in words {
        assert!(text.contains(word), "`{word}` must be in: {text}");
    }
    error
}

/// What befalls an object.
#[derive(Debug, Clone, Copy)]
pub enum Harm {
    /// It is gone.
    Missing,
    /// A bit is flipped.
    Flipped,
    /// The last third is gone.
    CutOff,
    /// There is nothing in it.
    Empty,
}

/// All harms.
pub const HARMS: [Harm; 4] = [Harm::Missing, Harm::Flipped, Harm::CutOff, Harm::Empty];

impl Stored {
    /// Does harm to an object, which holds `bytes`.
    pub async fn harm(&self, location: &Path, bytes: &[u8], harm: Harm) {
        let mut changed = bytes.to_vec();
        match harm {
            Harm::Missing => return self.overlay.remove(location),
            Harm::Flipped => changed[bytes.len() / 3] ^= 4,
            Harm::CutOff => changed.truncate(bytes.len() * 2 / 3),
            Harm::Empty => changed.clear(),
        }
        self.overlay.replace(location, changed).await;
    }
}

/// What damage ends in.
pub const DAMAGED: [Kind; 2] = [Kind::Corrupt, Kind::NotFound];
