//! Durations as people write them: `250ms`, `1s`, `5m`, `1h30m`.
//!
//! A number without a unit is refused: whether `30` means seconds or milliseconds is the one thing about a timeout that
//! must not be guessed.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// The units, longest first, in nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// What a duration looks like, for the schema.
pub(super) const PATTERN: &str = r"^([0-9]+(\.[0-9]+)? *(us|ms|s|m|h|d) *)+$";

/// Reads a duration such as `250ms`, `1.5s` or `1h30m`.
///
/// # Errors
///
/// A sentence that says what is wrong with the text and what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a duration is missing here; write it as `250ms`, `5s` or `1h30m`".to_owned());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total = total
            .checked_add(part(text, number, unit)?)
            .ok_or_else(|| format!("`{text}` is too long"))?;
        rest = tail.trim_start();
    }
    Ok(total)
}

/// One number with its unit.
fn part(text: &str, number: &str, unit: &str) -> Result<Duration, String> {
    let value: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a duration; write it as `250ms`, `5s` or `1h30m`"))?;
    if unit.is_empty() {
        return Err(format!(
            "`{text}` has no unit; write `{text}s` for seconds or `{text}ms` for milliseconds"
        ));
    }
    let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!(
            "`{unit}` is not a unit of time; use ms, s, m, h or d"
        ));
    };
    if let Ok(whole) = number.parse::<u64>() {
        let nanos = whole
            .checked_mul(*nanos)
            .ok_or_else(|| format!("`{text}` is too long"))?;
        return Ok(Duration::from_nanos(nanos));
    }
    Duration::try_from_secs_f64(value * Duration::from_nanos(*nanos).as_secs_f64())
        .map_err(|_| format!("`{text}` is too long"))
}

/// Writes a duration so that [`parse`] reads the same one, in the largest units that are exact.
pub(super) fn render(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    let mut text = String::new();
    for (unit, size) in UNITS {
        let count = nanos / u128::from(size);
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            nanos %= u128::from(size);
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// What a duration is in the schema: `#[schemars(with = "duration::Text")]`.
pub(super) struct Text;

impl schemars::JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "duration-with-unit", "pattern": PATTERN })
    }
}

pub(super) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&render(*duration))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// The same for a duration that may be absent: `#[serde(with = "duration::option")]`.
pub(super) mod option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(in crate::config) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, millis) in [
            ("250ms", 250),
            ("1s", 1000),
            ("1.5s", 1500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_number_alone_says_that_the_unit_is_missing() {
        assert_eq!(
            parse("30").unwrap_err(),
            "`30` has no unit; write `30s` for seconds or `30ms` for milliseconds"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "s",
            "1 fortnight",
            "1s2",
            "-1s",
            "1..5s",
            "99999999999999d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
