//! Values that must not show up in logs and must not stay in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A password, an application credential's secret or a token: wiped when dropped, never printed.
///
/// What other code copies out of [`Secret::expose`] is that code's to wipe.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` over; there is no second copy afterwards.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
