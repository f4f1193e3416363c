//! Columns for people.

use owo_colors::OwoColorize as _;

use super::failure::Result;
use super::output::Out;

/// Rows under a heading, each column as wide as its widest text; the last is not padded.
pub(super) struct Table<const N: usize> {
    heading: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(heading: [&'static str; N]) -> Self {
        Self {
            heading,
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    pub(super) fn print(&self, out: &mut Out) -> Result<()> {
        let width = |column: usize| {
            let rows = self.rows.iter().map(|row| row[column].chars().count());
            rows.max().unwrap_or(0).max(self.heading[column].len())
        };
        let widths: Vec<usize> = (0..N).map(width).collect();
        out.line(line(&self.heading, &widths).bold())?;
        for row in &self.rows {
            out.line(line(row, &widths))?;
        }
        Ok(())
    }
}

fn line<T: AsRef<str>>(cells: &[T], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(&format!("{:<width$}  ", cell.as_ref()));
    }
    text.trim_end().to_owned()
}
