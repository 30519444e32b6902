//! Lists in pages.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::call::Call;
use super::reply::Refusal;
use super::state::Record;

/// One page of a list, and the id of its last entry if there are more.
pub(super) fn cut<'a>(
    call: &Call,
    mut all: Vec<&'a Record>,
    most: usize,
) -> Result<(Vec<&'a Record>, Option<String>), Refusal> {
    if let Some(marker) = call.query("marker") {
        let at = all.iter().position(|record| record.id == marker);
        let at = at.ok_or_else(|| Refusal::bad(format!("marker [{marker}] not found")))?;
        all.drain(..=at);
    }
    let limit = match call.query("limit").filter(|limit| !limit.is_empty()) {
        None => most,
        Some(text) => {
            let limit = text.parse::<usize>();
            limit
                .map_err(|_| Refusal::bad("limit param must be an integer"))?
                .min(most)
        }
    };
    // All services take a full page for a sign that there are more.
    let full = all.len() >= limit;
    all.truncate(limit);
    let next = all.last().filter(|_| full).map(|record| record.id.clone());
    Ok((all, next))
}

/// The path and query of the page after `marker`, or of the first one.
pub(super) fn place(call: &Call, marker: Option<&str>) -> String {
    let path = call.uri.split('?').next().unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let kept = call.query.iter().filter(|(key, _)| key != "marker");
    query.extend_pairs(kept);
    if let Some(marker) = marker {
        query.append_pair("marker", marker);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// The `..._links` of Nova, Cinder and Neutron.
pub(super) fn links(base: &str, call: &Call, marker: &str) -> Value {
    json!([{"rel": "next", "href": format!("{base}{}", place(call, Some(marker)))}])
}
