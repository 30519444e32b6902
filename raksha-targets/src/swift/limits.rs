//! What a Swift allows: its `/info`.

use object_store::path::Path;
use serde_json::Value;

use super::client::Connection;

/// The limits of an installation; where it does not say, those that every Swift has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// The largest object that one request may store.
    pub(super) largest_put: u64,
    /// Names in one page of a listing.
    pub(super) page: u64,
    /// Segments of a large object; nothing if there are no static large objects.
    pub(super) segments: Option<usize>,
    /// Objects that one request may delete; nothing if there is no such request.
    pub(super) deletes: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            largest_put: 5 << 30,
            page: 10_000,
            segments: None,
            deletes: None,
        }
    }
}

/// What the RADOS Gateway deletes at once if it does not say (`rgw_delete_multi_obj_max_num`).
const DELETES: u64 = 1000;

impl Limits {
    /// Asks the installation whose account is at `endpoint`. One that does not tell gets the least that there is.
    pub(super) async fn ask(connection: &Connection, endpoint: &str) -> Self {
        let base = endpoint.split("/v1").next().unwrap_or(endpoint);
        let url = format!("{base}/info");
        let answer = match connection.get_public(&url).await {
            Ok(response) if response.status().is_success() => response.bytes().await.ok(),
            _ => None,
        };
        match answer.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(info) => Self::read(&info),
            None => {
                tracing::debug!(url, "this Swift does not tell its limits");
                Self::default()
            }
        }
    }

    fn read(info: &Value) -> Self {
        let number = |path: &str| info.pointer(path).and_then(Value::as_u64);
        let count = |path: &str, otherwise: u64| {
            let n = number(path).unwrap_or(otherwise);
            usize::try_from(n).unwrap_or(usize::MAX).max(1)
        };
        let common = Self::default();
        Self {
            largest_put: number("/swift/max_file_size")
                .unwrap_or(common.largest_put)
                .max(1),
            page: number("/swift/container_listing_limit")
                .unwrap_or(common.page)
                .max(1),
            // The RADOS Gateway has large objects too, but lists them with the size of their manifest, so that sizes would be wrong. It
            // tells no smallest segment; Swift always does.
            segments: number("/slo/min_segment_size")
                .map(|_| count("/slo/max_manifest_segments", 1000)),
            deletes: (info.get("bulk_delete"))
                .map(|_| count("/bulk_delete/max_deletes_per_request", DELETES)),
        }
    }
}

/// The name of a container, for messages.
pub(super) fn about(container: &str) -> Path {
    Path::from(container)
}

#[cfg(test)]
mod tests {
    use raksha_core::testkit::Fuzz;
    use raksha_core::{Error, Kind};

    use super::*;

    #[test]
    fn limits_are_read_and_missing_ones_are_the_common_ones() {
        let info = serde_json::json!({
            "swift": {"max_file_size": 1000, "container_listing_limit": 7},
            "slo": {"max_manifest_segments": 3, "min_segment_size": 1},
            "bulk_delete": {},
        });
        let limits = Limits::read(&info);
        assert_eq!((limits.largest_put, limits.page), (1000, 7));
        assert_eq!((limits.segments, limits.deletes), (Some(3), Some(1000)));
        let gateway = serde_json::json!({"slo": {"max_manifest_segments": 1000}});
        assert_eq!(Limits::read(&gateway).segments, None);
        assert_eq!(Limits::read(&serde_json::json!([])), Limits::default());
    }

    #[test]
    fn limits_that_were_changed() {
        let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
        let swift = r#"{"swift": {"max_file_size": 5368709122, "container_listing_limit": 10000},
            "slo": {"max_manifest_segments": 1000, "min_segment_size": 1}, "bulk_delete": {"max_deletes_per_request": 10000}}"#;
        let gateway = r#"{"bulk_delete": {}, "slo": {"max_manifest_segments": 1000}, "swift": {"max_file_size": 5368709120}}"#;
        let fuzz = Fuzz::new("swift-limits", corpora);
        fuzz.good(swift).good(gateway).feed(|body| {
            let refuse = |e: serde_json::Error| Error::new(Kind::Corrupt, "info", e.to_string());
            let limits = Limits::read(&serde_json::from_slice(body).map_err(refuse)?);
            assert!(limits.page > 0 && limits.largest_put > 0);
            assert!(limits.segments != Some(0) && limits.deletes != Some(0));
            let large = limits.segments.is_some();
            Ok(format!("{large} {}", limits.deletes.is_some()))
        });
    }
}
