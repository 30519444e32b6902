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
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|record| record.id.clone());
    Ok((all, next))
}

/// The path and query of the page after `marker`.
pub(super) fn next(call: &Call, marker: &str) -> String {
    let path = call.uri.split('?').next().unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let kept = call.query.iter().filter(|(key, _)| key != "marker");
    query.extend_pairs(kept);
    query.append_pair("marker", marker);
    format!("{path}?{}", query.finish())
}

/// The `..._links` of Nova, Cinder and Neutron.
pub(super) fn links(base: &str, call: &Call, marker: &str) -> Value {
    json!([{"rel": "next", "href": format!("{base}{}", next(call, marker))}])
}
