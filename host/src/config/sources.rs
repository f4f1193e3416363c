//! The files that were read, and which parts of them must not be shown.

use std::path::{Path, PathBuf};

use super::tree::Span;

/// One file.
pub(super) struct Source {
    /// As the caller named it, for messages.
    pub(super) name: PathBuf,
    /// The absolute folder it is in: paths in the file are relative to it.
    pub(super) folder: PathBuf,
    pub(super) text: String,
}

/// All files, by the number that spans carry.
#[derive(Default)]
pub(super) struct Sources {
    files: Vec<Source>,
    hidden: Vec<Span>,
}

impl Sources {
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.files.push(source);
        self.files.len() - 1
    }

    pub(super) fn text(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |source| &source.text)
    }

    pub(super) fn name(&self, file: usize) -> PathBuf {
        self.files
            .get(file)
            .map(|source| source.name.clone())
            .unwrap_or_default()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|source| source.name.as_path())
    }

    pub(super) fn folder(&self, file: usize) -> &Path {
        self.files
            .get(file)
            .map_or(Path::new(""), |source| &source.folder)
    }

    pub(super) fn line(&self, file: usize, line: usize) -> Option<&str> {
        self.files.get(file)?.text.lines().nth(line.checked_sub(1)?)
    }

    pub(super) fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    /// A span without the space that the parser counts to a quoted scalar.
    pub(super) fn trim(&self, mut span: Span) -> Span {
        if span.line == span.end_line
            && let Some(line) = self.line(span.file, span.line)
        {
            let text: Vec<char> = line
                .chars()
                .take(span.end_column - 1)
                .skip(span.column - 1)
                .collect();
            let blank = text.iter().rev().take_while(|c| c.is_whitespace()).count();
            if blank < text.len() {
                span.end_column -= blank;
            }
        }
        span
    }

    /// The parts of a line that must not be shown, in characters from 0, without overlaps.
    pub(super) fn hidden_in(&self, file: usize, line: usize) -> Vec<(usize, usize)> {
        let mut parts: Vec<(usize, usize)> = self
            .hidden
            .iter()
            .filter(|span| span.file == file && span.line <= line && line <= span.end_line)
            .map(|span| self.trim(*span))
            .map(|span| {
                let start = if span.line == line {
                    span.column - 1
                } else {
                    0
                };
                let end = if span.end_line == line {
                    span.end_column - 1
                } else {
                    usize::MAX
                };
                (start, end)
            })
            .filter(|(start, end)| start < end)
            .collect();
        parts.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (start, end) in parts {
            match merged.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }
}
