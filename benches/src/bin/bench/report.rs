//! What was measured, and the table of it.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::measure::Usage;
use crate::tools::Tool;

/// Everything measured by one call of this program.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub environment: Environment,
    /// The tools in the order of columns; Raksha is the first.
    pub tools: Vec<String>,
    /// What was done, in the order it was done.
    pub rows: Vec<Row>,
    /// What each repository occupies after all backups.
    pub stored: Vec<Stored>,
}

/// One thing to do, done by every tool that it makes sense for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub title: String,
    pub cells: Vec<Cell>,
}

/// What one tool took for one thing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    pub tool: String,
    /// One for each run.
    pub samples: Vec<Usage>,
    /// CPU seconds over the samples.
    pub cpu: Spread,
    /// Wall seconds over the samples.
    pub wall: Spread,
    /// The highest peak of memory over the samples, in bytes.
    pub peak: u64,
}

/// The bytes one tool occupies.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored {
    pub tool: String,
    /// One for each run.
    pub samples: Vec<u64>,
}

/// The middle and the extremes of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Self {
            median,
            low: *low,
            high: *high,
        }
    }
}

impl Report {
    pub fn new(environment: Environment, tools: &[Box<dyn Tool>]) -> Self {
        let tools = tools.iter().map(|tool| tool.name().to_owned()).collect();
        Self {
            environment,
            tools,
            rows: Vec::new(),
            stored: Vec::new(),
        }
    }

    /// The row of this title; a new one at the end if there is none.
    pub fn row(&mut self, title: &str) -> &mut Row {
        let at = self
            .rows
            .iter()
            .position(|row| row.title == title)
            .unwrap_or_else(|| {
                self.rows.push(Row {
                    title: title.to_owned(),
                    cells: Vec::new(),
                });
                self.rows.len() - 1
            });
        &mut self.rows[at]
    }

    pub fn add_stored(&mut self, tool: &str, bytes: u64) {
        match self.stored.iter_mut().find(|stored| stored.tool == tool) {
            Some(stored) => stored.samples.push(bytes),
            None => self.stored.push(Stored {
                tool: tool.to_owned(),
                samples: vec![bytes],
            }),
        }
    }

    /// CPU seconds, memory and bytes stored, as a table in Markdown; in brackets how many times what Raksha takes.
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.print(&mut text)
            .expect("a string takes whatever is written");
        text
    }

    fn print(&self, out: &mut String) -> std::fmt::Result {
        let Environment { machine, versions } = &self.environment;
        writeln!(
            out,
            "{}, {} cores, {} MiB, Linux {}, load {} before",
            machine.cpu,
            machine.cores,
            machine.memory >> 20,
            machine.kernel,
            machine.load
        )?;
        writeln!(out, "{}\n", versions.join("; "))?;
        self.section(out, "CPU seconds", |cell| cell.cpu, 1)?;
        self.section(out, "wall seconds", |cell| cell.wall, 1)?;
        let mebibytes = |bytes: u64| (bytes >> 20) as f64;
        let peak = |cell: &Cell| Spread::of(std::iter::once(mebibytes(cell.peak)));
        self.section(out, "peak memory, MiB", peak, 0)?;
        self.heading(out, "occupied on disk")?;
        let stored = self.tools.iter().map(|tool| {
            let stored = self.stored.iter().find(|stored| stored.tool == *tool)?;
            Some(Spread::of(
                stored.samples.iter().map(|bytes| mebibytes(*bytes)),
            ))
        });
        line(out, "MiB after all backups", &stored.collect::<Vec<_>>(), 0)?;
        Ok(())
    }

    fn section(
        &self,
        out: &mut String,
        title: &str,
        value: impl Fn(&Cell) -> Spread,
        digits: usize,
    ) -> std::fmt::Result {
        self.heading(out, title)?;
        for row in &self.rows {
            let values = self.tools.iter().map(|tool| row.cell(tool).map(&value));
            line(out, &row.title, &values.collect::<Vec<_>>(), digits)?;
        }
        writeln!(out)
    }

    fn heading(&self, out: &mut String, title: &str) -> std::fmt::Result {
        writeln!(out, "| {title} | {} |", self.tools.join(" | "))?;
        writeln!(out, "| --- |{}", " --: |".repeat(self.tools.len()))
    }
}

impl Row {
    pub fn cell(&self, tool: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.tool == tool)
    }

    pub fn add(&mut self, tool: &str, usage: Usage) {
        let at = self.cells.iter().position(|cell| cell.tool == tool);
        let mut samples = at
            .map(|at| self.cells.remove(at).samples)
            .unwrap_or_default();
        samples.push(usage);
        let cell = Cell {
            tool: tool.to_owned(),
            cpu: Spread::of(samples.iter().map(Usage::cpu)),
            wall: Spread::of(samples.iter().map(|usage| usage.wall)),
            peak: samples
                .iter()
                .map(|usage| usage.peak)
                .max()
                .unwrap_or_default(),
            samples,
        };
        self.cells.insert(at.unwrap_or(self.cells.len()), cell);
    }
}

/// A row of a table: medians, with how far samples lie apart, and the ratio to the first.
fn line(
    out: &mut String,
    title: &str,
    cells: &[Option<Spread>],
    digits: usize,
) -> std::fmt::Result {
    write!(out, "| {title} |")?;
    let first = cells.first().copied().flatten().map(|spread| spread.median);
    for (column, cell) in cells.iter().enumerate() {
        let Some(Spread { median, low, high }) = cell else {
            write!(out, " |")?;
            continue;
        };
        write!(out, " {median:.digits$}")?;
        if low < high {
            write!(out, " [{low:.digits$}..{high:.digits$}]")?;
        }
        if let Some(first) = first.filter(|first| column > 0 && *first > 0.0) {
            write!(out, " ({:.1}x)", median / first)?;
        }
        write!(out, " |")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(
            spread(&[9.0, 1.0, 2.0]),
            Spread {
                median: 2.0,
                low: 1.0,
                high: 9.0
            }
        );
        assert_eq!(spread(&[4.0, 1.0]).median, 2.5);
        assert_eq!(spread(&[]), Spread::default());
    }

    #[test]
    fn ratios_are_to_the_first_column() {
        let of = |value: f64| Some(Spread::of(std::iter::once(value)));
        let mut out = String::new();
        line(&mut out, "full", &[of(2.0), None, of(9.0)], 1).unwrap();
        assert_eq!(out, "| full | 2.0 | | 9.0 (4.5x) |\n");
    }
}
