//! Attempts of messages that are not settled yet, and owners that did not leave in order, kept where Kafka has room for
//! them: the text beside a committed offset.
//!
//! `wharf1 1041:2@1786000000000 +3:1 +1:4@-250` says: the message at 1041 has two charged attempts, the first of which
//! failed at that time, in milliseconds since 1970; the one at 1044 has one; the one at 1045 has four, the first of
//! which failed 250 ms before the time named last. Offsets are absolute at first, so that they stay true when another
//! tool moves the committed offset.
//!
//! `wharf1 ~3 1041:2` says besides that three owners in a row began at the committed offset, and that the last of them did
//! not leave in order, or has not left yet.
//!
//! `wharf1 =1042+480+1+20 1041:2` is left by an owner that left in order while the message at 1041 waited for its retry: behind
//! it 480 are settled, one is not, and 20 are. So the next one does not repeat them ([`runs`]).
//!
//! A broker takes 4096 bytes unless told otherwise (`offset.metadata.max.bytes`). What does not fit is left out from
//! the highest offset down: a count may then be short after a restart, never long (guarantee 3). What other programs
//! wrote there is read as nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

mod runs;

pub(super) use runs::Run;

/// The first word. Another form gets another number.
const FORM: &str = "wharf1";

/// What a broker takes as metadata unless told otherwise.
pub(super) const MOST: usize = 4096;

/// What is kept of a message that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kept {
    /// Charged attempts.
    pub(super) attempts: u32,
    /// When the first of them failed, milliseconds since 1970-01-01 UTC.
    pub(super) first_failed_ms: Option<u64>,
}

/// What stands beside a committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text {
    /// How many owners in a row began there; 0 where the last one left in order.
    pub(super) begun: u32,
    /// Settled behind the committed offset, ascending and apart.
    pub(super) settled: Vec<Run>,
    /// Attempts, by offset.
    pub(super) kept: BTreeMap<i64, Kept>,
}

/// The text for this, in at most `most` bytes; empty where there is nothing to say.
pub(super) fn write<'a>(
    begun: u32,
    settled: &[Run],
    kept: impl IntoIterator<Item = (&'a i64, &'a Kept)>,
    most: usize,
) -> String {
    let mut text = FORM.to_owned();
    if begun > 0 && FORM.len() + format!(" ~{begun}").len() <= most {
        text += &format!(" ~{begun}");
    }
    runs::write(&mut text, settled, most);
    let (mut last, mut last_ms) = (None, 0);
    for (offset, kept) in kept {
        let before = text.len();
        let written = match last {
            None => write!(text, " {offset}"),
            Some(last) => write!(text, " +{}", offset - last),
        }
        .and_then(|()| write!(text, ":{}", kept.attempts))
        .and_then(|()| match kept.first_failed_ms {
            None => Ok(()),
            Some(ms) if last_ms == 0 => write!(text, "@{ms}"),
            Some(ms) => write!(text, "@{:+}", ms.cast_signed().wrapping_sub(last_ms)),
        });
        if written.is_err() || text.len() > most {
            text.truncate(before);
            break;
        }
        last = Some(*offset);
        last_ms = kept.first_failed_ms.map_or(last_ms, u64::cast_signed);
    }
    if text.len() == FORM.len() {
        text.clear();
    }
    text
}

/// What the text says; nothing where it is not ours, or not whole.
pub(super) fn read(text: &str) -> Text {
    parse(text).unwrap_or_default()
}

fn parse(text: &str) -> Option<Text> {
    let rest = text.strip_prefix(FORM)?.strip_prefix(' ')?;
    let mut words = rest.split(' ').peekable();
    let begun = words.next_if(|word| word.starts_with('~'));
    let settled = words.next_if(|word| word.starts_with('='));
    Some(Text {
        begun: match begun {
            None => 0,
            Some(begun) => u32::try_from(number(&begun[1..])?).ok()?,
        },
        settled: settled.map_or_else(|| Some(Vec::new()), |runs| runs::read(&runs[1..]))?,
        kept: entries(words)?,
    })
}

fn entries<'a>(words: impl Iterator<Item = &'a str>) -> Option<BTreeMap<i64, Kept>> {
    let mut all = BTreeMap::new();
    let (mut last, mut last_ms) = (None, 0_i64);
    for word in words {
        let (offset, rest) = word.split_once(':')?;
        let offset = match (last, offset.strip_prefix('+')) {
            (None, None) => number(offset)?,
            (Some(last), Some(step)) => number(step).filter(|s| *s > 0)?.checked_add(last)?,
            _ => return None,
        };
        let (attempts, first) = match rest.split_once('@') {
            None => (rest, None),
            Some((attempts, time)) => {
                last_ms = match time.strip_prefix(['+', '-']) {
                    None => number(time)?,
                    // Parsed with its sign.
                    Some(_) => last_ms.wrapping_add(time.parse().ok()?),
                };
                (attempts, Some(last_ms.cast_unsigned()))
            }
        };
        let kept = Kept {
            attempts: u32::try_from(number(attempts)?).ok()?,
            first_failed_ms: first,
        };
        all.insert(offset, kept);
        last = Some(offset);
    }
    Some(all)
}

/// Digits only: no sign.
fn number(digits: &str) -> Option<i64> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests;
