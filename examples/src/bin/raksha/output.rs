//! Printing: tables for people, JSON for machines.

use indicatif::HumanBytes;
use raksha_core::{Error, Kind, Result};
use serde::Serialize;

/// One JSON value on a line of its own.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| {
        Error::new(Kind::Internal, "print JSON", "it cannot be written").caused_by(e)
    })?;
    println!("{text}");
    Ok(())
}

/// A number of bytes for people.
pub fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Rows under a heading, each column as wide as its widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: [&str; N]| {
        let line: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    };
    print(heading);
    for row in rows {
        print(row.each_ref().map(String::as_str));
    }
}
