//! Whether JSON is what an OpenAPI document says: as far as its schemas go, and stricter, since what a schema does not name is a fault.

use serde_json::Value;

/// Finds what is wrong with `value` by `schema`, whose references lead into `document`. Nothing if all is right.
pub fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(document, schema, value, "", &mut found);
    found
}

fn look(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let mut wrong = |what: String| found.push(format!("{at}: {what}"));
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap_or(reference);
        return match document.pointer(pointer) {
            Some(schema) => look(document, schema, value, at, found),
            None => wrong(format!("nothing is at {reference}")),
        };
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let each: Vec<Vec<String>> = any.iter().map(|one| faults(document, one, value)).collect();
        if !each.iter().any(Vec::is_empty) {
            wrong(format!("{value} is none of what it may be: {each:?}"));
        }
        return;
    }
    let kinds: Vec<&str> = match schema.get("type") {
        None => return,
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(other) => return wrong(format!("{other} is no type")),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&is) {
        return wrong(format!(
            "{value} is {is} and should be {}",
            kinds.join(" or ")
        ));
    }
    match value {
        Value::String(text) => {
            let allowed = schema.get("enum").and_then(Value::as_array);
            if allowed.is_some_and(|allowed| !allowed.contains(value)) {
                wrong(format!("{value} is not among {}", schema["enum"]));
            }
            let hex = |text: &str| text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
            let length = match schema.get("pattern").and_then(Value::as_str) {
                None => text.len(),
                Some("^[0-9a-f]{32}$") => 32,
                Some("^[0-9a-f]{64}$") => 64,
                Some(other) => return wrong(format!("the pattern {other} is not known here")),
            };
            if schema.get("pattern").is_some() && (text.len() != length || !hex(text)) {
                wrong(format!("{value} is no id"));
            }
            let time = schema.get("format").and_then(Value::as_str) == Some("date-time");
            if time && text.parse::<raksha_core::Timestamp>().is_err() {
                wrong(format!("{value} is no time"));
            }
        }
        Value::Array(values) => {
            let fixed = schema.get("prefixItems").and_then(Value::as_array);
            for (n, value) in values.iter().enumerate() {
                let schema = fixed
                    .and_then(|fixed| fixed.get(n))
                    .or_else(|| schema.get("items"));
                if let Some(schema) = schema {
                    look(document, schema, value, &format!("{at}/{n}"), found);
                }
            }
        }
        Value::Object(fields) => {
            let empty = serde_json::Map::new();
            let named = schema.get("properties").and_then(Value::as_object);
            let more = schema.get("additionalProperties");
            let required = schema.get("required").and_then(Value::as_array);
            for name in required.into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    found.push(format!("{at}: {name} is missing"));
                }
            }
            for (name, value) in fields {
                let schema = named.unwrap_or(&empty).get(name).or(more);
                match schema {
                    Some(schema) => look(document, schema, value, &format!("{at}/{name}"), found),
                    // An object of which nothing is said may hold anything.
                    None if named.is_none() => {}
                    None => found.push(format!("{at}: {name} is not in the schema")),
                }
            }
        }
        _ => {}
    }
}
