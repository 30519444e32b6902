//! What happened: the commit log, holds on points, sessions that are ended by others.

use raksha_core::Result;
use raksha_core::id::SessionId;
use raksha_core::repository::Happened;
use serde_json::json;

use crate::context::Context;
use crate::output::table;
use crate::repository::who;

/// Entries fetched at a time.
const BATCH: usize = 512;

/// Shows who did what when.
pub async fn log(context: &Context, from: u64) -> Result<()> {
    let repository = context.open().await?;
    let mut entries: Vec<Happened> = Vec::new();
    loop {
        let next = from + entries.len() as u64;
        let some = repository.history(next, BATCH).await?;
        if some.is_empty() {
            break;
        }
        entries.extend(some);
    }
    context.output.show(&entries, || {
        let rows = entries.iter().map(|entry| {
            let action = serde_json::to_value(&entry.action).unwrap_or_default();
            let kind = action.get("kind").and_then(|kind| kind.as_str());
            [
                entry.number.to_string(),
                entry.time.to_string(),
                kind.unwrap_or("?").to_owned(),
                entry.session.map(|s| s.to_string()).unwrap_or_default(),
                entry.by.clone().unwrap_or_default(),
            ]
        });
        table(["ENTRY", "TIME", "WHAT", "SESSION", "BY"], rows)
    })
}

/// Sets or lifts a hold.
pub async fn hold(context: &Context, point: &str, held: bool) -> Result<()> {
    let repository = context.open().await?;
    let point = context.point(&repository, point).await?;
    repository.hold(point, held, &who()).await?;
    context
        .output
        .show(&json!({ "point": point, "held": held }), String::new)
}

/// Ends somebody else's session.
pub async fn fence(context: &Context, session: u64) -> Result<()> {
    let repository = context.open().await?;
    repository.fence(SessionId(session), &who()).await?;
    context
        .output
        .show(&json!({ "fenced": session }), String::new)
}
