//! A chart of CPU seconds: a group of bars for each thing done, a bar for each tool.

use std::fmt::Write;

use crate::report::Report;

const WIDTH: f64 = 760.0;
/// Where bars begin; titles stand before it.
const LEFT: f64 = 190.0;
/// Left free at the end of the longest bar, for its number.
const RIGHT: f64 = 60.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
const TOP: f64 = 62.0;

/// Colours that people who see fewer colours tell apart as well (Okabe and Ito 2008); Raksha's comes first.
const COLOURS: [&str; 6] = [
    "#d55e00", "#0072b2", "#009e73", "#56b4e9", "#999999", "#cccccc",
];

/// The chart as an SVG document, readable on light and on dark pages.
pub fn svg(report: &Report) -> String {
    let bars: usize = report.rows.iter().map(|row| row.cells.len()).sum();
    let height = TOP + bars as f64 * BAR + report.rows.len() as f64 * GAP;
    let cells = report.rows.iter().flat_map(|row| &row.cells);
    let longest = cells
        .map(|cell| cell.cpu.median)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let mut out = String::new();
    draw(&mut out, report, height, scale).expect("a string takes whatever is written");
    out
}

fn draw(out: &mut String, report: &Report, height: f64, scale: f64) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">"
    )?;
    writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
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
    writeln!(out, "</svg>")
}

fn rect(
    out: &mut String,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    colour: &str,
    title: &str,
) -> std::fmt::Result {
    write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\">"
    )?;
    if !title.is_empty() {
        write!(out, "<title>{}</title>", escape(title))?;
    }
    writeln!(out, "</rect>")
}

fn text(out: &mut String, x: f64, y: f64, style: &str, words: &str) -> std::fmt::Result {
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{}</text>",
        escape(words)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
