//! Words of the command line that become values.

use std::time::Duration;

use raksha_core::cloud::{Selection, ServerSelector};
use raksha_core::repository::Compression;
use raksha_core::store::{IfHookFails, JobHook};

/// Which servers these selectors select.
pub fn selection(servers: &[ServerSelector]) -> Selection {
    match servers {
        [] => Selection(vec![ServerSelector::All]),
        some => Selection(some.to_vec()),
    }
}

/// A hook, as `--hook` has it: its name, and `:warn` behind it if a run goes on when it fails.
pub fn hook(text: &str) -> Result<JobHook, String> {
    let (name, if_fails) = match text.strip_suffix(":warn") {
        Some(name) => (name, IfHookFails::Warn),
        None => (text, IfHookFails::Refuse),
    };
    if name.is_empty() {
        return Err("name a hook".to_owned());
    }
    let name = name.to_owned();
    Ok(JobHook { name, if_fails })
}

/// A server, as `--server` has it: its id or name, or a kind of them.
pub fn selector(text: &str) -> Result<ServerSelector, String> {
    let selector = match text.split_once(':') {
        _ if text == "all" => ServerSelector::All,
        Some(("id", id)) => ServerSelector::Id(id.to_owned()),
        Some(("name", name)) => ServerSelector::Name(name.to_owned()),
        Some(("tag", tag)) => ServerSelector::Tag(tag.to_owned()),
        Some(("metadata", pair)) => {
            let (key, value) = self::pair(pair)?;
            ServerSelector::Metadata { key, value }
        }
        _ if text.is_empty() => return Err("name a server".to_owned()),
        _ => ServerSelector::IdOrName(text.to_owned()),
    };
    Ok(selector)
}

/// Two words with a `=` between them.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err("write it with a = between two words".to_owned()),
    }
}

/// A time, such as `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

/// A number of bytes, such as `64M`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err("units are K, M and G".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a whole number".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "it is too large".to_owned())
}

/// How chunks are compressed: a level, `0` for not at all, `auto` for by itself.
pub fn compression(text: &str) -> Result<Compression, String> {
    let parsed = match text {
        "auto" => Some(Compression::default()),
        "0" => Some(Compression::None),
        level => level.parse().ok().map(|level| Compression::Zstd { level }),
    };
    let allowed = "write auto, 0 for none, or a zstd level from -7 to -1 or from 1 to 19";
    parsed
        .filter(|compression| compression.check().is_ok())
        .ok_or_else(|| allowed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_values() {
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4096));
        assert!(bytes("20000000000000G").is_err() && bytes("M").is_err() && bytes("1X").is_err());
        assert_eq!(selector("all"), Ok(ServerSelector::All));
        assert_eq!(selector("tag:x"), Ok(ServerSelector::Tag("x".to_owned())));
        assert_eq!(
            selector("a:b"),
            Ok(ServerSelector::IdOrName("a:b".to_owned()))
        );
        assert!(selector("").is_err() && selector("metadata:x").is_err());
    }

    #[test]
    fn a_way_of_compressing_is_a_level_or_a_word() {
        assert_eq!(compression("auto"), Ok(Compression::default()));
        assert_eq!(compression("0"), Ok(Compression::None));
        for level in [-7, -1, 1, 19] {
            let text = level.to_string();
            assert_eq!(compression(&text), Ok(Compression::Zstd { level }));
        }
        for wrong in ["", "-8", "20", "1.5", "zstd", "Auto"] {
            let error = compression(wrong).unwrap_err();
            assert!(error.contains("auto") && error.contains("-7 to -1"));
        }
    }
}
