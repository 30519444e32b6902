//! Microversions: how Nova and Cinder number the states of their APIs.

use std::fmt;
use std::str::FromStr;

use raksha_core::{Error, Kind};

/// A microversion, such as 2.79.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    major: u32,
    minor: u32,
}

impl Microversion {
    /// The microversion `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Microversion {
    type Err = Error;

    /// Reads `2.79`.
    fn from_str(text: &str) -> Result<Self, Error> {
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self::new(major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| {
                Error::new(Kind::Invalid, "read microversion", "write it as 2.79")
                    .with("microversion", format!("{text:?}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_numbers_and_not_fractions() {
        let parse = |text: &str| text.parse::<Microversion>();
        assert!(parse("2.9").unwrap() < parse("2.79").unwrap());
        assert!(parse("2.100").unwrap() > Microversion::new(2, 99));
        assert_eq!(parse("3.70").unwrap().to_string(), "3.70");
        for text in ["", "2", "2.", ".1", "2.x", "latest", "-1.2"] {
            assert_eq!(parse(text).unwrap_err().kind(), Kind::Invalid, "{text}");
        }
    }
}
