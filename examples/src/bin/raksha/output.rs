//! Results, for people or for programs.

use std::io::{ErrorKind, Write};

use raksha_core::{Error, Kind, Result};
use serde::Serialize;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// One result: as JSON, or as `text` makes it for people.
    pub fn show<T: Serialize + ?Sized>(
        &self,
        result: &T,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string(result).map_err(|e| {
                Error::new(
                    Kind::Internal,
                    "print result",
                    "it cannot be written as JSON",
                )
                .caused_by(e)
            })?,
            false => text(),
        };
        print(&text)
    }
}

/// A line, or several, on stdout. That nobody reads them any more is no error.
fn print(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("print result", e)),
        _ => Ok(()),
    }
}

/// A table: columns as wide as their widest cell.
pub fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&head.map(str::to_owned))];
    lines.extend(rows.iter().map(line));
    lines.join("\n")
}

/// A number of bytes, for people.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// The first digits of an id, which are enough to name it.
pub fn short(id: impl ToString) -> String {
    id.to_string().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned() {
        let rows = [
            ["ü".to_owned(), "1".to_owned()],
            ["long".to_owned(), String::new()],
        ];
        assert_eq!(super::table(["A", "B"], rows), "A     B\nü     1\nlong");
    }
}
