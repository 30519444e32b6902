//! Microversions.

use super::call::Call;
use super::reply::Refusal;

/// The minor version that a call asks for, of a service whose major version and least and greatest minor ones are given.
pub(super) fn minor(
    call: &Call,
    service: &str,
    old_header: Option<&str>,
    major: u32,
    range: (u32, u32),
) -> Result<u32, Refusal> {
    let asked = call.header("openstack-api-version").and_then(|text| {
        // One header may speak to several services.
        let mut parts = text.split(',').map(str::trim);
        parts.find_map(|part| part.strip_prefix(service)?.strip_prefix(' ').map(str::trim))
    });
    let asked = asked.or_else(|| call.header(old_header?));
    let Some(text) = asked else {
        return Ok(range.0);
    };
    if text == "latest" {
        return Ok(range.1);
    }
    let parsed = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    let Some((asked_major, asked_minor)) = parsed else {
        return Err(Refusal::bad(format!(
            "API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        )));
    };
    if asked_major != major || !(range.0..=range.1).contains(&asked_minor) {
        return Err(Refusal::new(
            406,
            format!(
                "Version {text} is not supported by the API. Minimum is {major}.{} and maximum is {major}.{}.",
                range.0, range.1
            ),
        ));
    }
    Ok(asked_minor)
}
