//! Errors as the API tells them: one shape, whatever failed.

use raksha_core::{Error, Kind};
use serde_json::{Map, Value, json};

/// The HTTP status of a kind of error.
pub fn status(kind: Kind) -> u16 {
    match kind {
        Kind::Invalid => 400,
        Kind::Unauthenticated => 401,
        Kind::Denied => 403,
        Kind::NotFound => 404,
        Kind::AlreadyExists | Kind::Conflict | Kind::Fenced | Kind::Cancelled => 409,
        Kind::Full => 413,
        Kind::Unsupported => 422,
        Kind::Unavailable => 503,
        Kind::Timeout => 504,
        // What these say is for the operator.
        _ => 500,
    }
}

/// A kind by its name.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "invalid",
        Kind::Unauthenticated => "unauthenticated",
        Kind::Denied => "denied",
        Kind::NotFound => "not_found",
        Kind::AlreadyExists => "already_exists",
        Kind::Conflict => "conflict",
        Kind::Fenced => "fenced",
        Kind::Cancelled => "cancelled",
        Kind::Full => "full",
        Kind::Unsupported => "unsupported",
        Kind::Unavailable => "unavailable",
        Kind::Timeout => "timeout",
        Kind::WrongKey => "wrong_key",
        Kind::Corrupt => "corrupt",
        _ => "internal",
    }
}

/// The body of the answer. What caused an error that is the operator's is in the log only, under the request's id: it may name places that are no tenant's
/// business.
pub fn body(error: &Error, request_id: &str) -> Value {
    let status = status(error.kind());
    let context: Map<String, Value> = error
        .context()
        .map(|(name, value)| (name.replace(' ', "_"), value.into()))
        .collect();
    let mut told = json!({
        "code": status,
        "kind": name(error.kind()),
        "operation": error.operation(),
        "reason": error.reason(),
        "context": if status < 500 { context } else { Map::new() },
        "retryable": error.is_retryable(),
        "request_id": request_id,
    });
    if status < 500
        && let Some(cause) = std::error::Error::source(error)
    {
        told["cause"] = cause.to_string().into();
    }
    json!({ "error": told })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_operators_is_not_told_to_tenants() {
        let error = |kind| {
            Error::new(kind, "open", "it failed")
                .with("directory", "/secret/place")
                .caused_by("in /secret/place")
        };
        let told = body(&error(Kind::Corrupt), "req-1").to_string();
        assert!(!told.contains("secret") && told.contains("req-1"), "{told}");
        let told = body(&error(Kind::Conflict), "req-1").to_string();
        assert!(told.contains("secret"), "{told}");
    }
}
