//! Lines of a file with a mark under what is wrong, and without the secrets that stand in them.

use std::fmt::{self, Write};

use owo_colors::{OwoColorize, Style};

use super::{Diagnostic, Severity, Shows};
use crate::config::sources::Sources;
use crate::config::tree::{Span, looks_like_key};

/// What stands where a secret was.
const HIDDEN: &str = "[redacted]";

/// The most characters of a line that are shown; a longer line is cut around the mark.
const WIDTH: usize = 120;

/// One line and what is marked in it, in characters from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    text: String,
    mark: usize,
    width: usize,
}

impl Snippet {
    pub(super) fn cut(sources: &Sources, span: Span, shows: Shows) -> Option<Self> {
        let span = sources.trim(span);
        let line = sources.line(span.file, span.line)?;
        let end = if span.end_line == span.line {
            span.end_column
        } else {
            line.chars().count() + 1
        };
        let mut snippet = Self {
            text: line.to_owned(),
            mark: span.column.saturating_sub(1),
            width: end.saturating_sub(span.column).max(1),
        };
        match shows {
            Shows::Nothing => return None,
            Shows::Keys => snippet.keep_key(),
            Shows::Line => {
                let mut hidden = sources.hidden_in(span.file, span.line);
                // From the right, so that the places of those still to come stay true.
                hidden.sort_unstable_by(|a, b| b.cmp(a));
                for (start, end) in hidden {
                    snippet.hide(start, end);
                }
                snippet.drop_comment();
            }
        }
        snippet.shorten();
        Some(snippet)
    }

    /// Replaces the characters from `start` to `end`.
    fn hide(&mut self, start: usize, end: usize) {
        let chars: Vec<char> = self.text.chars().collect();
        let end = end.min(chars.len());
        if start >= end {
            return;
        }
        self.text = chars[..start].iter().collect::<String>()
            + HIDDEN
            + &chars[end..].iter().collect::<String>();
        let mark_end = self.mark + self.width;
        if self.mark >= end {
            self.mark = self.mark - end + start + HIDDEN.len();
        } else if mark_end > start {
            let from = self.mark.min(start);
            let tail = mark_end.saturating_sub(end);
            self.width = start - from + HIDDEN.len() + tail;
            self.mark = from;
        }
    }

    /// Cuts off a comment: what is commented out may be a secret. A ` #` within quotes is taken for one as well, which
    /// costs no more than the rest of the line.
    fn drop_comment(&mut self) {
        let chars: Vec<char> = self.text.chars().collect();
        let from = (self.mark + self.width).min(chars.len());
        if let Some(at) = chars[from..]
            .windows(2)
            .position(|pair| pair[0].is_whitespace() && pair[1] == '#')
        {
            self.text = chars[..from + at].iter().collect();
        }
    }

    /// Keeps indentation and key, for a line whose values might be anything.
    fn keep_key(&mut self) {
        let indent = self.text.len() - self.text.trim_start().len();
        let (space, rest) = self.text.split_at(indent);
        let (dash, rest) = rest
            .strip_prefix("- ")
            .map_or(("", rest), |rest| ("- ", rest));
        let key = rest
            .split_once(':')
            .map(|(key, _)| key)
            .filter(|key| looks_like_key(key));
        self.text = match key {
            Some(key) if rest.trim_end().len() == key.len() + 1 => format!("{space}{dash}{key}:"),
            Some(key) => format!("{space}{dash}{key}: …"),
            None => format!("{space}{dash}…"),
        };
        let length = self.text.chars().count();
        self.mark = self.mark.min(length.saturating_sub(1));
        self.width = 1;
    }

    fn shorten(&mut self) {
        let chars: Vec<char> = self.text.chars().collect();
        if chars.len() <= WIDTH {
            return;
        }
        let start = self.mark.saturating_sub(WIDTH / 2);
        let end = (start + WIDTH).min(chars.len());
        let lead = if start > 0 { "…" } else { "" };
        let tail = if end < chars.len() { "…" } else { "" };
        self.text = format!(
            "{lead}{}{tail}",
            chars[start..end].iter().collect::<String>()
        );
        self.mark = self.mark - start + lead.chars().count();
        self.width = self.width.min(end - start);
    }

    fn write(
        &self,
        out: &mut impl Write,
        line: usize,
        gutter: usize,
        mark: Style,
        rule: Style,
    ) -> fmt::Result {
        let text = self.text.trim_end().replace('\t', " ");
        writeln!(out, "{:gutter$} {}", "", "|".style(rule))?;
        writeln!(
            out,
            "{} {} {text}",
            format!("{line:>gutter$}").style(rule),
            "|".style(rule)
        )?;
        let room = text.chars().count().saturating_sub(self.mark).max(1);
        let carets = "^".repeat(self.width.min(room));
        writeln!(
            out,
            "{:gutter$} {} {:at$}{}",
            "",
            "|".style(rule),
            "",
            carets.style(mark),
            at = self.mark
        )
    }
}

/// A finding the way compilers print theirs.
pub(super) struct Shown<'a> {
    pub(super) one: &'a Diagnostic,
    pub(super) colour: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw(self.one, self.colour, f)
    }
}

fn draw(one: &Diagnostic, colour: bool, out: &mut impl Write) -> fmt::Result {
    let plain = Style::new();
    let (word, accent) = match one.severity {
        Severity::Error => ("error", Style::new().red().bold()),
        Severity::Warning => ("warning", Style::new().yellow().bold()),
    };
    let (accent, rule, bold) = if colour {
        (accent, Style::new().blue().bold(), Style::new().bold())
    } else {
        (plain, plain, plain)
    };
    let lines = one.related.iter().map(|related| related.line);
    let widest = lines.fold(one.line, usize::max);
    let gutter = widest.to_string().len();

    writeln!(
        out,
        "{}{}",
        word.style(accent),
        format!(": {}", one.message).style(bold)
    )?;
    let place = match &one.snippet {
        Some(_) => format!("{}:{}:{}", one.file.display(), one.line, one.column),
        None => one.file.display().to_string(),
    };
    writeln!(out, "{:gutter$}{} {place}", "", "-->".style(rule))?;
    if let Some(snippet) = &one.snippet {
        snippet.write(out, one.line, gutter, accent, rule)?;
    }
    for related in &one.related {
        let place = format!(
            "{}:{}:{}",
            related.file.display(),
            related.line,
            related.column
        );
        writeln!(
            out,
            "{:gutter$}{} {place}: {}",
            "",
            ":::".style(rule),
            related.message
        )?;
        if let Some(snippet) = &related.snippet {
            snippet.write(out, related.line, gutter, rule, rule)?;
        }
    }
    if !one.path.is_empty() {
        writeln!(out, "{:gutter$} {} at: {}", "", "=".style(rule), one.path)?;
    }
    if let Some(help) = &one.help {
        writeln!(
            out,
            "{:gutter$} {} {}",
            "",
            "=".style(rule),
            format!("help: {help}").style(bold)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(text: &str, mark: usize, width: usize) -> Snippet {
        Snippet {
            text: text.to_owned(),
            mark,
            width,
        }
    }

    #[test]
    fn a_mark_behind_a_secret_stays_on_its_word() {
        let mut one = snippet("{ token: hunter2, listen: x }", 18, 6);
        one.hide(9, 16);
        assert_eq!(one, snippet("{ token: [redacted], listen: x }", 21, 6));
    }

    #[test]
    fn a_mark_on_a_secret_covers_what_stands_for_it() {
        let mut one = snippet("token: hunter2", 7, 7);
        one.hide(7, 14);
        assert_eq!(one, snippet("token: [redacted]", 7, 10));
    }

    #[test]
    fn a_line_of_a_broken_file_shows_its_key_only() {
        let mut one = snippet("  token: \"hunter2", 9, 1);
        one.keep_key();
        assert_eq!(one.text, "  token: …");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let mut one = snippet(&"x".repeat(1000), 500, 3);
        one.shorten();
        assert!(one.text.chars().count() <= WIDTH + 2);
        assert_eq!(one.mark, 61);
    }
}
