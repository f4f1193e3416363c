//! What is wrong with a configuration, and how a person reads it.
//!
//! Inside this room a finding is a [`Problem`]: a span and words. It becomes a [`Diagnostic`] only at the end, when all
//! files are read and it is known which parts of their lines are secrets.

mod snippet;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::sources::Sources;
use super::tree::{Node, Path, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used, but probably not meant so.
    Warning,
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named by the caller.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The way to the value: `plugins.audit.retry`; empty where there is none.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The other place, where two are at odds.
    pub related: Vec<Related>,
    /// The lines of the file to show, secrets already taken out.
    #[serde(skip)]
    snippet: Option<snippet::Snippet>,
}

/// Another place that a [`Diagnostic`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The file, as it was named by the caller.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is there.
    pub message: String,
    #[serde(skip)]
    snippet: Option<snippet::Snippet>,
}

/// Everything that is wrong with a configuration, errors first, each file from top to bottom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// At least one of them is an error.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are than are listed.
    pub omitted: usize,
}

impl Report {
    /// All of it as text for people, in colour or not, ending in a count.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut text: String = self
            .diagnostics
            .iter()
            .map(|one| one.render(colour) + "\n")
            .collect();
        let errors = self
            .diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .count()
            + self.omitted;
        let plural = if errors == 1 { "" } else { "s" };
        let shown = if self.omitted > 0 {
            format!(", of which {} are shown", errors - self.omitted)
        } else {
            String::new()
        };
        text.push_str(&format!(
            "{errors} error{plural} in the configuration{shown}\n"
        ));
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Report {}

impl Diagnostic {
    /// This one as text for people, in colour or not.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        snippet::Shown { one: self, colour }.to_string()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

/// A finding while the files are still being read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    severity: Severity,
    span: Span,
    path: Path,
    message: String,
    help: Option<String>,
    related: Vec<(Span, String)>,
    /// What must not be seen if lines of it are shown.
    hidden: Vec<Span>,
    shows: Shows,
}

/// How much of the line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// The line without its secrets.
    Line,
    /// Keys only: the file could not be parsed, so nobody knows which values are secrets.
    Keys,
    /// Nothing: the finding is about the file itself.
    Nothing,
}

impl Problem {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            path: Path::default(),
            message: message.into(),
            help: None,
            related: Vec::new(),
            hidden: Vec::new(),
            shows: Shows::Line,
        }
    }

    /// A file that is not YAML.
    pub(super) fn syntax(span: Span, message: impl Into<String>) -> Self {
        Self {
            shows: Shows::Keys,
            ..Self::new(span, message)
        }
    }

    pub(super) fn keys_only(self) -> Self {
        Self {
            shows: Shows::Keys,
            ..self
        }
    }

    /// Of the line, no value is to be shown.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only there a secret can stand elsewhere")
    )]
    pub(super) fn show_keys(&mut self) {
        self.shows = Shows::Keys;
    }

    /// A file as a whole.
    pub(super) fn file(file: usize, message: impl Into<String>) -> Self {
        let span = Span {
            file,
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1,
        };
        Self {
            shows: Shows::Nothing,
            ..Self::new(span, message)
        }
    }

    pub(super) fn at(mut self, path: &Path) -> Self {
        self.path = path.clone();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    pub(super) fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push((span, message.into()));
        self
    }

    pub(super) fn hiding<'a>(mut self, nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        self.hidden
            .extend(nodes.into_iter().flat_map(Node::scalar_spans));
        self
    }

    pub(super) fn hiding_spans(mut self, spans: impl IntoIterator<Item = Span>) -> Self {
        self.hidden.extend(spans);
        self
    }

    pub(super) fn set_help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn set_help_if(&mut self, help: Option<String>) -> &mut Self {
        self.help = help;
        self
    }

    pub(super) fn add_related(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.related.push((span, message.into()));
        self
    }

    pub(super) fn set_warning(&mut self) -> &mut Self {
        self.severity = Severity::Warning;
        self
    }

    pub(super) fn severity(&self) -> Severity {
        self.severity
    }

    pub(super) fn hidden(&self) -> &[Span] {
        &self.hidden
    }

    /// Orders findings for reading, and tells copies of one finding (a value of `defaults` seen through two plugins).
    pub(super) fn rank(&self) -> (Severity, Span, &str) {
        (self.severity, self.span, &self.message)
    }

    pub(super) fn finish(self, sources: &Sources) -> Diagnostic {
        let snippet = snippet::Snippet::cut(sources, self.span, self.shows);
        let related = self.related.into_iter().map(|(span, message)| Related {
            file: sources.name(span.file),
            line: span.line,
            column: span.column,
            message,
            snippet: snippet::Snippet::cut(sources, span, self.shows),
        });
        Diagnostic {
            severity: self.severity,
            file: sources.name(self.span.file),
            line: self.span.line,
            column: self.span.column,
            path: self.path.to_string(),
            message: self.message,
            help: self.help,
            related: related.collect(),
            snippet,
        }
    }
}
