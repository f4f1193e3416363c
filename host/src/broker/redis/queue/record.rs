//! What is kept of an item beside its value.

use std::fmt;

use crate::broker::redis::wire::Kept;

/// `<attempts> <first failure, ms, or -> <deaths> <score or ->`. Scripts raise the third word when a host died with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    pub(super) attempts: u32,
    pub(super) first_failed_ms: Option<u64>,
    /// Hosts that died having it in hand.
    pub(super) deaths: u32,
    /// As the server writes it; of a member of a sorted set.
    pub(super) score: Option<String>,
}

impl Record {
    /// What cannot be read counts as nothing: it never makes a message unreadable.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut next = || words.next().filter(|word| *word != "-");
        Self {
            attempts: next().and_then(|word| word.parse().ok()).unwrap_or(0),
            first_failed_ms: next().and_then(|word| word.parse().ok()),
            deaths: next().and_then(|word| word.parse().ok()).unwrap_or(0),
            score: next().map(str::to_owned),
        }
    }

    pub(super) fn kept(&self) -> Kept {
        Kept {
            attempts: self.attempts,
            first_failed_ms: self.first_failed_ms,
            deliveries: self.deaths.saturating_add(1),
        }
    }

    /// The priority of a plain member: the whole part of its score, where that is one.
    pub(super) fn priority(&self) -> Option<u8> {
        let score: f64 = self.score.as_ref()?.parse().ok()?;
        let whole = score.floor();
        (0.0..256.0).contains(&whole).then_some(whole as u8)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.attempts)?;
        match self.first_failed_ms {
            Some(first) => write!(f, "{first}")?,
            None => f.write_str("-")?,
        }
        let score = self.score.as_deref().unwrap_or("-");
        write!(f, " {} {score}", self.deaths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        for score in [None, Some("5.5".to_owned())] {
            for first_failed_ms in [None, Some(1_700_000_000_000)] {
                let record = Record {
                    attempts: 3,
                    first_failed_ms,
                    deaths: 2,
                    score: score.clone(),
                };
                assert_eq!(Record::parse(&record.to_string()), record);
            }
        }
        assert_eq!(Record::parse(""), Record::default());
        assert_eq!(
            Record::parse("a b c"),
            Record {
                score: None,
                ..Record::default()
            }
        );
    }

    #[test]
    fn a_score_that_is_no_priority_gives_none() {
        let of = |score: &str| Record {
            score: Some(score.to_owned()),
            ..Record::default()
        };
        assert_eq!(of("7.9").priority(), Some(7));
        assert_eq!(of("255").priority(), Some(255));
        for none in ["256", "-1", "-0.5", "inf", "nan", "1e300"] {
            assert_eq!(of(none).priority(), None, "{none}");
        }
        assert_eq!(Record::default().priority(), None);
    }
}
