//! What is printed: tables in Markdown, or one JSON document.

use std::io::Write;

use serde_json::{Value, json};

/// Collects tables; prints each as soon as it is there, or all as JSON at the end.
pub(crate) struct Report {
    json: bool,
    tables: Vec<Value>,
}

/// One table.
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// As many cells as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|c| {
                let cells = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(c))
                    .map(|cell| cell.chars().count());
                cells
                    .chain([self.columns[c].chars().count()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let line = |cells: Vec<&str>| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!(" {cell:<width$} "));
            format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
        };
        let mut text = format!("\n## {}\n\n", self.title);
        text += &line(self.columns.clone());
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        text += &line(rules.iter().map(String::as_str).collect());
        for row in &self.rows {
            text += &line(row.iter().map(String::as_str).collect());
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                self.columns
                    .iter()
                    .zip(row)
                    .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
                    .collect()
            })
            .collect();
        json!({ "title": self.title, "rows": rows, "notes": self.notes })
    }
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            tables: Vec::new(),
        }
    }

    pub(crate) fn table(&mut self, table: &Table) -> anyhow::Result<()> {
        if self.json {
            self.tables.push(table.json());
            Ok(())
        } else {
            say(&table.text())
        }
    }

    /// The last line: what it ran on, and what else ran there.
    pub(crate) fn machine(&self, line: &str) -> anyhow::Result<()> {
        if self.json {
            let all = json!({ "machine": line, "tables": self.tables });
            say(&format!("{all:#}\n"))
        } else {
            say(&format!("\n{line}\n"))
        }
    }
}

/// What is under way, for who waits.
pub(crate) fn progress(what: &str) {
    complain(&format!("… {what}"));
}

/// A line for people, which has nowhere else to go when stderr is closed.
pub(crate) fn complain(line: &str) {
    let _written = writeln!(std::io::stderr(), "{line}").is_ok();
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
