//! What a cloud answered to a scenario, with everything that differs from cloud to cloud masked.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Answer, Extra, Somebody};

/// Fields whose values belong to one cloud: hosts, quotas that others use up, bytes of images.
const FREE: [&str; 23] = [
    "hostId",
    "direct_url",
    "stores",
    "standard_attr_id",
    "audit_ids",
    "adminPass",
    "secret_uuid",
    "hosts",
    "in_use",
    "totalRAMUsed",
    "totalCoresUsed",
    "totalInstancesUsed",
    "totalVolumesUsed",
    "totalGigabytesUsed",
    "totalSnapshotsUsed",
    "updated",
    "updated_at",
    "catalog",
    "revision_number",
    "checksum",
    "os_hash_value",
    "created_at",
    "secret",
];

/// Headers that are compared.
const HEADERS: [&str; 8] = [
    "content-type",
    "openstack-api-version",
    "x-openstack-nova-api-version",
    "location",
    "retry-after",
    "content-md5",
    "content-range",
    "etag",
];

/// Asks, and notes what was answered.
pub(crate) struct Recorder {
    pub(crate) demo: Somebody,
    pub(crate) other: Somebody,
    masks: Vec<(String, String)>,
    pub(crate) notes: Vec<(String, String)>,
}

impl Recorder {
    pub(crate) async fn new(auth_url: &str) -> Self {
        let demo = Somebody::new(auth_url, "demo").await;
        let other = Somebody::new(auth_url, "other").await;
        let mut masks: Vec<_> = demo
            .endpoints
            .iter()
            .map(|(kind, url)| {
                let end = ["/v3", "/v2", "/v1"]
                    .iter()
                    .filter_map(|version| url.rfind(version))
                    .max();
                let kind = if kind == "block-storage" {
                    "volumev3"
                } else {
                    kind
                };
                (
                    url[..end.unwrap_or(url.len())].to_owned(),
                    format!("{{{kind}}}"),
                )
            })
            .collect();
        masks.sort_by_key(|(url, _)| std::cmp::Reverse(url.len()));
        Self {
            demo,
            other,
            masks,
            notes: Vec::new(),
        }
    }

    /// Asks as `demo`.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        extra: impl Into<Extra>,
    ) -> Answer {
        let answer = self.demo.ask(method, path, extra).await;
        self.note(method, path, &answer);
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, Extra::default()).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, body).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Answer {
        self.ask("DELETE", path, Extra::default()).await
    }

    /// Asks as `other`.
    pub(crate) async fn as_other(
        &mut self,
        method: &str,
        path: &str,
        extra: impl Into<Extra>,
    ) -> Answer {
        let answer = self.other.ask(method, path, extra).await;
        self.note(&format!("other: {method}"), path, &answer);
        answer
    }

    pub(crate) fn note(&mut self, what: &str, path: &str, answer: &Answer) {
        let mut headers = BTreeMap::new();
        for name in HEADERS {
            // WebOb and eventlet do not agree among themselves about the type of nothing.
            if answer.bytes.is_empty() && name == "content-type" {
                continue;
            }
            if let Some(value) = answer.headers.get(name) {
                let value = value.split(';').next().unwrap_or_default();
                headers.insert(name, self.mask(value));
            }
        }
        let id = answer.headers.contains_key("x-openstack-request-id")
            || answer.headers.contains_key("x-trans-id");
        let body = match (&answer.body, answer.bytes.len()) {
            (Value::Null, 0) => json!(""),
            (Value::Null, _) if answer.status < 300 => json!("bytes"),
            (Value::Null, _) => json!(self.mask(&text_of(&String::from_utf8_lossy(&answer.bytes)))),
            (body, _) => self.shape("", body),
        };
        let note =
            json!({"status": answer.status, "headers": headers, "request id": id, "body": body});
        let label = format!("{:02} {what} {}", self.notes.len() + 1, self.mask(path));
        self.notes
            .push((label, serde_json::to_string_pretty(&note).unwrap()));
    }

    /// A body with what differs masked, and lists in an order of their own.
    fn shape(&self, key: &str, value: &Value) -> Value {
        if FREE.contains(&key) {
            return json!("*");
        }
        match value {
            Value::String(text) if text.starts_with("[{") => {
                let parsed: Value = serde_json::from_str(text).unwrap();
                json!({"as text": self.shape("", &parsed)})
            }
            // The size of the image that a volume was made of.
            Value::String(_) if key == "size" => json!("*"),
            // Keystone tells a token's roles in an order of its own.
            Value::String(text) if key == "boot_roles" => {
                let mut roles: Vec<&str> = text.split(',').collect();
                roles.sort_unstable();
                json!(roles.join(","))
            }
            Value::String(text) => json!(self.mask(text)),
            Value::Array(items) => {
                let mut items: Vec<_> = items.iter().map(|item| self.shape("", item)).collect();
                items.sort_by_key(Value::to_string);
                Value::Array(items)
            }
            Value::Object(map) => {
                let map: Map<_, _> = map
                    .iter()
                    .map(|(key, value)| (self.mask(key), self.shape(key, value)))
                    .collect();
                Value::Object(map)
            }
            other => other.clone(),
        }
    }

    /// A text without ids, times, addresses and places.
    fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (url, name) in &self.masks {
            text = text.replace(url, name);
        }
        let mut masked = String::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let fresh = !masked.ends_with(|c: char| c.is_ascii_alphanumeric());
            let (length, with) = match fresh.then(|| recognise(rest)).flatten() {
                Some(found) => found,
                None => (first.len_utf8(), &rest[..first.len_utf8()]),
            };
            masked += with;
            rest = &rest[length..];
        }
        masked
    }
}

/// What begins a text and is to be masked: its length, and what stands for it.
fn recognise(text: &str) -> Option<(usize, &'static str)> {
    let run = |good: fn(char) -> bool| text.find(|c| !good(c)).unwrap_or(text.len());
    let hex = run(|c| c.is_ascii_hexdigit() || c == '-');
    if (hex == 36 || hex == 32) && text[..hex].chars().filter(char::is_ascii_hexdigit).count() == 32
    {
        return Some((hex, "ID"));
    }
    let time = run(|c| c.is_ascii_digit() || "-:.TZ".contains(c));
    if time >= 19 && text[..time].contains('T') && text[..time].contains(':') {
        return Some((time, "TIME"));
    }
    let mac = run(|c| c.is_ascii_hexdigit() || c == ':');
    if mac == 17 && text[..mac].matches(':').count() == 5 {
        return Some((mac, "MAC"));
    }
    let address = run(|c| c.is_ascii_digit() || c == '.');
    let allocated = text.starts_with("10.98.0.") || text.starts_with("198.51.100.");
    let known = [
        "10.98.0.0",
        "10.98.0.1",
        "10.98.0.2",
        "10.98.0.254",
        "10.98.0.77",
    ];
    if allocated && !known.contains(&&text[..address]) {
        return Some((address, "ADDRESS"));
    }
    None
}

/// The words of a page.
fn text_of(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.replace("&#x27;", "'")
        .split_whitespace()
        .take(12)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The differences between two clouds' notes, to be read.
pub(crate) fn differences(real: &[(String, String)], dev: &[(String, String)]) -> Vec<String> {
    let mut all = Vec::new();
    for at in 0..real.len().max(dev.len()) {
        let nothing = ("nothing".to_owned(), String::new());
        let (real, dev) = (
            real.get(at).unwrap_or(&nothing),
            dev.get(at).unwrap_or(&nothing),
        );
        if real == dev {
            continue;
        }
        let only = |here: &str, there: &str, sign: &str| {
            let there: Vec<_> = there
                .lines()
                .map(|line| line.trim_end_matches(','))
                .collect();
            let mine = here
                .lines()
                .filter(|line| !there.contains(&line.trim_end_matches(',')));
            mine.map(|line| format!("      {sign} {}\n", line.trim()))
                .collect::<String>()
        };
        all.push(format!(
            "  {}\n{}{}",
            real.0,
            only(&real.1, &dev.1, "real"),
            only(&dev.1, &real.1, "dev ")
        ));
    }
    all
}
