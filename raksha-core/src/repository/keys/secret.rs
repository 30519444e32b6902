//! What opens a repository.

use std::fmt;

use zeroize::Zeroizing;

/// What opens a repository: kept by a person or a service, never stored with the data. Wipes itself.
#[derive(Clone)]
pub struct Secret(pub(super) Kept);

#[derive(Clone)]
pub(super) enum Kept {
    Passphrase(Zeroizing<String>),
    KeyFile(Zeroizing<Vec<u8>>),
}

impl Secret {
    /// Words that a person remembers. Guessing is made slow with Argon2id; the rest is the choice of words.
    pub fn passphrase(text: impl Into<String>) -> Self {
        Self(Kept::Passphrase(Zeroizing::new(text.into())))
    }

    /// The bytes of a key file, whatever they are: at least 32, and hard to guess, such as `head -c 32 /dev/urandom` gives.
    /// A shorter one is refused where it is used.
    pub fn key_file(bytes: &[u8]) -> Self {
        Self(Kept::KeyFile(Zeroizing::new(bytes.to_vec())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kept::Passphrase(_) => "Secret(passphrase)",
            Kept::KeyFile(_) => "Secret(key file)",
        })
    }
}
