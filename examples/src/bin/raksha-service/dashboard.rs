//! The dashboard: one page, with nothing from elsewhere.

use raksha_core::Result;

use crate::call::{Call, Reply};

pub async fn page(_: Call) -> Result<Reply> {
    let page = include_str!("dashboard/index.html");
    Ok(Reply::text("text/html; charset=utf-8", page))
}

pub async fn icon(_: Call) -> Result<Reply> {
    let icon = include_str!("dashboard/dashboard.svg");
    Ok(Reply::text("image/svg+xml", icon))
}

pub async fn style(_: Call) -> Result<Reply> {
    let style = include_str!("dashboard/dashboard.css");
    Ok(Reply::text("text/css; charset=utf-8", style))
}

pub async fn script(_: Call) -> Result<Reply> {
    let script = include_str!("dashboard/dashboard.js");
    Ok(Reply::text("text/javascript; charset=utf-8", script))
}
