//! A chart of CPU seconds: a group of bars for each thing done, a bar for each tool.

use raksha_benches::svg::{COLOURS, document, rect, text};

use crate::report::Report;

const WIDTH: f64 = 840.0;
/// Where bars begin; titles stand before it.
const LEFT: f64 = 190.0;
/// Left free at the end of the longest bar, for its number.
const RIGHT: f64 = 60.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
const TOP: f64 = 62.0;

/// The chart as an SVG document. Raksha has the first of the colours.
pub fn svg(report: &Report) -> String {
    let bars: usize = report.rows.iter().map(|row| row.cells.len()).sum();
    let height = TOP + bars as f64 * BAR + report.rows.len() as f64 * GAP;
    let cells = report.rows.iter().flat_map(|row| &row.cells);
    let longest = cells
        .map(|cell| cell.cpu.median)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    document(WIDTH, height, |out| draw(out, report, scale))
}

fn draw(out: &mut String, report: &Report, scale: f64) -> std::fmt::Result {
    text(
        out,
        10.0,
        20.0,
        "font-size=\"14\" font-weight=\"bold\"",
        "CPU seconds, user and system; less is better",
    )?;
    let mut x = 10.0;
    for (tool, colour) in report.tools.iter().zip(COLOURS.iter().cycle()) {
        rect(out, (x, 32.0), (10.0, 10.0), colour, "")?;
        text(out, x + 14.0, 41.0, "", tool)?;
        x += 34.0 + 7.0 * tool.len() as f64;
    }
    let mut y = TOP;
    for row in &report.rows {
        text(out, 10.0, y + BAR - 3.0, "", &row.title)?;
        for (tool, colour) in report.tools.iter().zip(COLOURS.iter().cycle()) {
            let Some(cell) = row.cell(tool) else { continue };
            let seconds = cell.cpu.median;
            let width = seconds * scale;
            let title = format!("{}, {tool}: {seconds:.1} s", row.title);
            rect(out, (LEFT, y + 1.0), (width, BAR - 2.0), colour, &title)?;
            text(
                out,
                LEFT + width + 4.0,
                y + BAR - 3.0,
                "fill=\"#444\"",
                &format!("{seconds:.1}"),
            )?;
            y += BAR;
        }
        y += GAP;
    }
    Ok(())
}
