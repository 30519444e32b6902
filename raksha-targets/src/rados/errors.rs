//! librados' error numbers, said so that everybody understands them.

use std::io;

use object_store::Error;

/// `EMSGSIZE` and `ESHUTDOWN` of Linux, which Rust's standard library has no names for.
const MESSAGE_TOO_LONG: i32 = 90;
const SHUT_DOWN: i32 = 108;

/// What an error about the object `name` means.
pub(super) fn failed(error: io::Error, name: &str) -> Error {
    let path = name.to_owned();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => Error::NotFound {
            path,
            source: error.into(),
        },
        (io::ErrorKind::AlreadyExists, _) => Error::AlreadyExists {
            path,
            source: error.into(),
        },
        (io::ErrorKind::PermissionDenied, _) => Error::PermissionDenied {
            path,
            source: error.into(),
        },
        (_, Some(MESSAGE_TOO_LONG)) => generic(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than the OSDs take at once (osd_max_write_size)",
        )),
        (_, Some(SHUT_DOWN)) => generic(io::Error::new(
            io::ErrorKind::InvalidData,
            "the cluster has fenced off this client (see `ceph osd blocklist ls`)",
        )),
        (io::ErrorKind::Unsupported, _) => generic(io::Error::new(
            io::ErrorKind::Unsupported,
            "an erasure coded pool cannot hold the index of names: name a replicated pool by the option index_pool",
        )),
        _ => generic(error),
    }
}

pub(super) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: "RADOS",
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use raksha_core::Kind;

    use super::*;
    use crate::rados::ffi::error;

    #[test]
    fn numbers_become_kinds() {
        for (number, kind, retryable) in [
            (-2, Kind::NotFound, false),
            (-17, Kind::AlreadyExists, false),
            (-1, Kind::Denied, false),
            (-13, Kind::Denied, false),
            (-28, Kind::Full, false),
            (-122, Kind::Full, false),
            (-110, Kind::Timeout, true),
        ] {
            let error = failed(error(number), "packs/a");
            let error = raksha_core::Error::object("store", &"packs/a".into(), error);
            assert_eq!(error.kind(), kind, "{number}: {error}");
            assert_eq!(error.is_retryable(), retryable, "{number}: {error}");
        }
        let large = failed(error(-90), "packs/a").to_string();
        assert!(large.contains("osd_max_write_size"), "{large}");
    }
}
