//! From what went wrong to an error that says so.

use std::error::Error as StdError;
use std::time::Duration;

use raksha_core::{Error, Kind};
use reqwest::StatusCode;
use serde_json::Value;

use super::transport::Call;

/// Longer messages are cut. In characters: not all languages have them in one byte.
const LONGEST: usize = 600;

/// The cloud's own words in the body of an error, on one line; empty if there are none.
///
/// Nova and Cinder wrap them in an object named after the fault, Keystone in `error`, Neutron in `NeutronError` with a type, Glance answers HTML or an
/// object with `message`.
pub(super) fn words(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            let inner = value
                .as_object()
                .and_then(|object| object.values().find(|value| value.is_object()));
            [inner, Some(&value)]
                .into_iter()
                .flatten()
                .find_map(said)
                .unwrap_or_default()
        }
        Err(_) => without_tags(&String::from_utf8_lossy(body)),
    };
    one_line(&text)
}

fn said(object: &Value) -> Option<String> {
    let text = ["message", "faultstring", "detail", "title"]
        .iter()
        .filter_map(|key| object.get(*key)?.as_str())
        .find(|text| !text.is_empty())?;
    // Neutron's types say more than its sentences.
    Some(match object.get("type").and_then(Value::as_str) {
        Some(fault) => format!("{fault}: {}", without_tags(text)),
        None => without_tags(text),
    })
}

fn without_tags(text: &str) -> String {
    let text = match text.find("<body") {
        Some(start) => text.get(start..).unwrap_or_default(),
        None => text,
    };
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                plain.push(' ');
            }
            _ if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}

fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

/// Whether the cloud's words are about a quota or limit that is used up.
pub(super) fn is_quota(status: StatusCode, words: &str) -> bool {
    let candidates = [
        StatusCode::FORBIDDEN,
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    let lower = words.to_lowercase();
    candidates.contains(&status) && (lower.contains("quota") || lower.contains("limitexceeded"))
}

/// The error for an answer that is no success.
pub(super) fn refused(
    call: &Call,
    status: StatusCode,
    words: &str,
    request_id: Option<&str>,
) -> Error {
    let (kind, message) = match status {
        _ if is_quota(status, words) => (
            Kind::Full,
            "a quota is used up: free something, or have the quota raised",
        ),
        StatusCode::UNAUTHORIZED => (
            Kind::Unauthenticated,
            "the cloud does not accept the credentials or the token: check them, and whether they have expired",
        ),
        StatusCode::FORBIDDEN => (
            Kind::Denied,
            "the cloud's policy denies this to the user: another role is needed",
        ),
        StatusCode::NOT_FOUND | StatusCode::GONE => (
            Kind::NotFound,
            "there is no such thing, or not for this user",
        ),
        StatusCode::CONFLICT => (
            Kind::Conflict,
            "the thing is not in a state that allows this, or something is in the way",
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
            (Kind::Unavailable, "the service did not finish in time")
        }
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => {
            (Kind::Unavailable, "the service asks for fewer requests")
        }
        StatusCode::NOT_ACCEPTABLE | StatusCode::NOT_IMPLEMENTED => {
            (Kind::Unsupported, "the service does not know this")
        }
        _ if status.is_redirection() => (
            Kind::Invalid,
            "the endpoint leads elsewhere, and is not followed, for the token's sake: correct it in the catalog, or name another by an endpoint override",
        ),
        _ if status.is_client_error() => (Kind::Invalid, "the service refuses the request"),
        _ => (Kind::Unavailable, "the service failed"),
    };
    let error = describe(Error::new(kind, call.operation, message), call)
        .with("status", status.as_u16())
        .with("request id", request_id.unwrap_or(&call.id))
        .retryable(kind == Kind::Unavailable);
    if words.is_empty() {
        error
    } else {
        error.with("the cloud says", words)
    }
}

/// The error for an attempt that got no answer in time.
pub(super) fn late(call: &Call, after: Duration) -> Error {
    let message = "the service did not answer in time";
    describe(Error::new(Kind::Timeout, call.operation, message), call)
        .with("after", format!("{after:?}"))
        .with("request id", &call.id)
}

/// The error for an attempt that got no answer, or not all of it.
pub(super) fn broken(call: &Call, source: reqwest::Error) -> Error {
    let source = source.without_url();
    let (kind, message) = if is_tls(&source) {
        (
            Kind::Invalid,
            "the server did not prove who it is, or refused the client's certificate: check cacert, cert and key of the cloud, and the URL",
        )
    } else if source.is_connect() {
        (
            Kind::Unavailable,
            "no connection to the service: check the URL and whether it runs",
        )
    } else if source.is_timeout() {
        (Kind::Timeout, "the service did not answer in time")
    } else if source.is_builder() {
        (Kind::Invalid, "the request cannot be sent")
    } else {
        (Kind::Unavailable, "the connection to the service broke off")
    };
    let reason = chain(&source);
    describe(Error::new(kind, call.operation, message), call)
        .with("request id", &call.id)
        .caused_by(reason)
}

/// An answer that came, and is not what it must be.
pub(super) fn corrupt(call: &Call, request_id: Option<&str>, message: &str) -> Error {
    describe(Error::new(Kind::Corrupt, call.operation, message), call)
        .with("request id", request_id.unwrap_or(&call.id))
}

fn describe(error: Error, call: &Call) -> Error {
    error
        .with("service", call.service)
        .with("request", format!("{} {}", call.method, call.shown))
}

/// Whether what failed is TLS and not the network: rustls reports that as invalid data. An I/O error that wraps another one is no source of it, but holds it.
pub(super) fn is_tls(error: &reqwest::Error) -> bool {
    let mut at: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = at {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        let held = io.and_then(std::io::Error::get_ref);
        at = held.map(|held| held as _).or_else(|| error.source());
    }
    false
}

/// All causes on one line, each once: reqwest's own words stop at the first.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = Some(error);
    while let Some(error) = at {
        let text = error.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        at = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use raksha_core::testkit::Fuzz;

    use super::*;

    #[test]
    fn errors_that_were_changed() {
        let neutron = r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for <b>port</b>", "detail": ""}}"#;
        let glance =
            "<html><head><title>x</title></head><body>403 Forbidden<br/>\u{e9}</body></html>";
        let fuzz = Fuzz::new("problem", crate::CORPORA);
        fuzz.good(neutron).good(glance).feed(|body| {
            let words = words(body);
            assert!(
                words.chars().count() <= LONGEST + 4 && !words.contains('\n'),
                "{words}"
            );
            match words.as_str() {
                "" => Err(Error::new(Kind::Corrupt, "read problem", "it says nothing")),
                words => Ok(words.contains(": ").to_string()),
            }
        });
    }
}
