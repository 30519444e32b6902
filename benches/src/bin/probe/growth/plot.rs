//! Growth curves: both axes grow by powers of ten, so what grows in proportion is a straight line that climbs as the grid does.

use std::fmt::Result as Drawn;
use std::path::PathBuf;

use raksha_benches::svg::{COLOURS, document, dot, line, text};

use super::figure::{Figure, Figures};
use crate::Result;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 230.0;
/// The field of a panel in which lines are drawn.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 520.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 190.0;

/// What to draw
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What `--save` kept
    figures: PathBuf,
    /// Draw by chunks
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// Draw by recovery points
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let Figures { figures } = Figures::load(&arguments.figures)?;
    let (of_index, of_catalog): (Vec<_>, Vec<_>) =
        figures.into_iter().partition(|figure| figure.chunks > 0);
    if let Some(file) = &arguments.index {
        let by = |figure: &Figure| figure.chunks as f64;
        let once = |figure: &Figure| figure.took.times <= 1;
        let panels = [
            panel("CPU seconds, by chunks", &of_index, by, |f| {
                once(f).then_some(f.took.cpu)
            }),
            panel("peak memory in MiB, by chunks", &of_index, by, |f| {
                once(f).then_some(f.took.peak as f64)
            }),
            panel("look-ups in a CPU second, by chunks", &of_index, by, |f| {
                f.what
                    .starts_with("chunk")
                    .then(|| f.took.times as f64 / f.took.cpu)
            }),
        ];
        std::fs::write(file, draw(&panels))?;
    }
    if let Some(file) = &arguments.catalog {
        let by = |figure: &Figure| figure.points as f64;
        let panels = [
            panel(
                "CPU seconds each, by recovery points",
                &of_catalog,
                by,
                |f| Some(f.took.cpu / f.took.times as f64),
            ),
            panel(
                "peak memory in MiB, by recovery points",
                &of_catalog,
                by,
                |f| Some(f.took.peak as f64),
            ),
        ];
        std::fs::write(file, draw(&panels))?;
    }
    Ok(())
}

struct Panel {
    title: &'static str,
    curves: Vec<Curve>,
}

struct Curve {
    name: String,
    places: Vec<(f64, f64)>,
}

/// The figures that have a value, a curve for each thing that was done.
fn panel(
    title: &'static str,
    figures: &[Figure],
    by: impl Fn(&Figure) -> f64,
    value: impl Fn(&Figure) -> Option<f64>,
) -> Panel {
    let mut curves: Vec<Curve> = Vec::new();
    for figure in figures {
        // What took no tick of the clock cannot be drawn.
        let Some(value) = value(figure).filter(|v| v.is_finite() && *v > 0.0) else {
            continue;
        };
        let place = (by(figure), value);
        match curves.iter_mut().find(|curve| curve.name == figure.what) {
            Some(curve) => curve.places.push(place),
            None => curves.push(Curve {
                name: figure.what.clone(),
                places: vec![place],
            }),
        }
    }
    for curve in &mut curves {
        curve.places.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Panel { title, curves }
}

fn draw(panels: &[Panel]) -> String {
    document(WIDTH, PANEL * panels.len() as f64, |out| {
        let tops = (0..).map(|n| f64::from(n) * PANEL);
        tops.zip(panels)
            .try_for_each(|(top, panel)| draw_panel(out, panel, top))
    })
}

fn draw_panel(out: &mut String, panel: &Panel, top: f64) -> Drawn {
    text(
        out,
        10.0,
        top + 20.0,
        "font-size=\"14\" font-weight=\"bold\"",
        panel.title,
    )?;
    let places = || panel.curves.iter().flat_map(|curve| &curve.places);
    let (x, y) = (
        Axis::of(places().map(|p| p.0)),
        Axis::of(places().map(|p| p.1)),
    );
    let across = |value: f64| LEFT + x.share(value) * (RIGHT - LEFT);
    let up = |value: f64| top + BOTTOM - y.share(value) * (BOTTOM - TOP);
    let grid = "stroke=\"#dddddd\"";
    for value in x.powers() {
        let at = across(value);
        line(out, &[(at, top + TOP), (at, top + BOTTOM)], grid)?;
        text(
            out,
            at,
            top + BOTTOM + 14.0,
            "text-anchor=\"middle\" fill=\"#444\"",
            &short(value),
        )?;
    }
    for value in y.powers() {
        let at = up(value);
        line(out, &[(LEFT, at), (RIGHT, at)], grid)?;
        text(
            out,
            LEFT - 6.0,
            at + 4.0,
            "text-anchor=\"end\" fill=\"#444\"",
            &short(value),
        )?;
    }
    for ((n, curve), colour) in (0..).zip(&panel.curves).zip(COLOURS.iter().cycle()) {
        let drawn: Vec<_> = curve
            .places
            .iter()
            .map(|p| (across(p.0), up(p.1)))
            .collect();
        // Of more curves than colours, those that come later are dashed.
        let dash = if n < COLOURS.len() {
            ""
        } else {
            "stroke-dasharray=\"5 3\""
        };
        let style = format!("stroke=\"{colour}\" stroke-width=\"2\" {dash}");
        line(out, &drawn, &style)?;
        for (at, (x, y)) in drawn.iter().zip(&curve.places) {
            dot(
                out,
                *at,
                colour,
                &format!("{}: {y:.3} at {}", curve.name, short(*x)),
            )?;
        }
        let key = top + TOP + 6.0 + n as f64 * 16.0;
        line(out, &[(RIGHT + 14.0, key), (RIGHT + 34.0, key)], &style)?;
        text(out, RIGHT + 40.0, key + 4.0, "", &curve.name)?;
    }
    Ok(())
}

/// An axis from one power of ten to another.
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    /// The shortest one that has room for all of these.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let low = low.min(high).log10().floor() as i32;
        Self {
            low,
            high: (high.log10().ceil() as i32).max(low + 1),
        }
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| 10f64.powi(power))
    }

    /// How far along the axis a value lies.
    fn share(&self, value: f64) -> f64 {
        (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low)
    }
}

/// A number in a few letters.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", v / 1e6),
        v if v >= 1e3 => format!("{} k", v / 1e3),
        v if v >= 1.0 => format!("{v}"),
        v => format!("{v:.6}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_room_for_all_values_at_their_places() {
        let axis = Axis::of([3.0, 250.0].into_iter());
        assert_eq!((axis.low, axis.high), (0, 3));
        assert!((axis.share(10.0) - 1.0 / 3.0).abs() < 1e-9);
        let one = Axis::of(std::iter::once(1.0));
        assert_eq!((one.low, one.high), (0, 1));
        assert_eq!(short(2e6), "2 M");
        assert_eq!(short(0.01), "0.01");
    }
}
