//! Payloads for people.

use data_encoding::HEXLOWER;

/// How payloads are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Show {
    /// JSON indented, other text as it is, anything else as hex
    #[default]
    Auto,
    /// As text, with a mark for what is none
    Text,
    /// Indented where it is JSON
    Json,
    /// Bytes in hexadecimal
    Hex,
}

/// The payload in lines of text without control characters. At most `limit` bytes of it.
pub(super) fn show(payload: &[u8], how: Show, limit: usize) -> String {
    if payload.is_empty() {
        return "(empty)".to_owned();
    }
    let shown = &payload[..payload.len().min(limit)];
    let text = match how {
        Show::Auto => json(payload, limit)
            .or_else(|| std::str::from_utf8(payload).ok().map(|_| lossy(shown)))
            .unwrap_or_else(|| HEXLOWER.encode(shown)),
        Show::Text => lossy(shown),
        Show::Json => json(payload, limit).unwrap_or_else(|| lossy(shown)),
        Show::Hex => HEXLOWER.encode(shown),
    };
    if shown.len() < payload.len() {
        format!("{text} … ({} bytes)", payload.len())
    } else {
        text
    }
}

/// Indented, where it is JSON that is shown whole.
fn json(payload: &[u8], limit: usize) -> Option<String> {
    if payload.len() > limit {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

fn lossy(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

/// Text that cannot play with the terminal: control characters but for the line's end become escapes.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Text on one line.
pub(super) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_is_there() {
        assert_eq!(show(b"", Show::Auto, 100), "(empty)");
        assert_eq!(show(b"{\"a\":1}", Show::Auto, 100), "{\n  \"a\": 1\n}");
        assert_eq!(show(b"{\"a\":", Show::Auto, 100), "{\"a\":");
        assert_eq!(show(&[0xff, 0], Show::Auto, 100), "ff00");
        assert_eq!(show(b"AB", Show::Hex, 100), "4142");
        assert_eq!(show(b"abcdef", Show::Text, 3), "abc … (6 bytes)");
    }

    #[test]
    fn a_payload_cannot_speak_to_the_terminal() {
        assert_eq!(show(b"\x1b[2Jx", Show::Text, 100), "\\u{1b}[2Jx");
        assert_eq!(one_line("a\nb"), "a\\nb");
    }
}
