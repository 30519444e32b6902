//! Charts as SVG documents, readable on light and on dark pages.

use std::fmt::{Result, Write};

/// Colours that people who see fewer colours tell apart as well (Okabe and Ito 2008).
pub const COLOURS: [&str; 9] = [
    "#d55e00", "#e69f00", "#0072b2", "#56b4e9", "#009e73", "#666666", "#999999", "#bbbbbb",
    "#dddddd",
];

/// A document of this size, on which `draw` draws.
pub fn document(width: f64, height: f64, draw: impl FnOnce(&mut String) -> Result) -> String {
    let mut out = String::new();
    begin(&mut out, width, height)
        .and_then(|()| draw(&mut out))
        .and_then(|()| writeln!(out, "</svg>"))
        .expect("a string takes whatever is written");
    out
}

fn begin(out: &mut String, width: f64, height: f64) -> Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">"
    )?;
    writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")
}

/// A bar; with a title, that is shown by programs that show titles.
pub fn rect(
    out: &mut String,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    colour: &str,
    title: &str,
) -> Result {
    write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\">"
    )?;
    if !title.is_empty() {
        write!(out, "<title>{}</title>", escape(title))?;
    }
    writeln!(out, "</rect>")
}

/// A line from place to place.
pub fn line(out: &mut String, places: &[(f64, f64)], style: &str) -> Result {
    let places: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let places = places.join(" ");
    writeln!(out, "<polyline points=\"{places}\" fill=\"none\" {style}/>")
}

/// A dot; with a title, as [`rect`] has it.
pub fn dot(out: &mut String, (x, y): (f64, f64), colour: &str, title: &str) -> Result {
    writeln!(
        out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>{}</title></circle>",
        escape(title)
    )
}

/// Words that begin at this place, unless the style says otherwise.
pub fn text(out: &mut String, x: f64, y: f64, style: &str, words: &str) -> Result {
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
