//! The messages: 256 bytes of JSON with five headers, each with a number of its own.

use anyhow::{Context, bail};

/// Bytes of every payload.
pub(crate) const SIZE: usize = 256;

/// The headers of every message.
pub(crate) const HEADERS: [(&str, &str); 5] = [
    ("source", "web-shop"),
    ("tenant", "acme-europe"),
    ("schema", "order.created/3"),
    ("region", "eu-central-1"),
    ("request-id", "01977f6a-8d2e-7c55-b7a1-4f0a8f1f9a01"),
];

/// The payload of message `seq`, published at `at` (any clock of the publisher's).
pub(crate) fn payload(seq: u64, at: u64) -> Vec<u8> {
    let mut text = format!(
        r#"{{"seq":{seq},"at":{at},"type":"order.created","customer":{{"id":"c-{}","name":"Noor de Vries","country":"NL"}},"amount":129.95,"currency":"EUR","express":true,"note":""#,
        seq % 977
    );
    while text.len() + 2 < SIZE {
        text.push('x');
    }
    text.push_str("\"}");
    text.into_bytes()
}

/// The `seq` and `at` of an output.
pub(crate) fn read(payload: &[u8]) -> anyhow::Result<(u64, u64)> {
    let document: serde_json::Value =
        serde_json::from_slice(payload).context("an output is no JSON")?;
    let number = |name: &str| {
        document[name]
            .as_u64()
            .with_context(|| format!("an output has no {name}"))
    };
    Ok((number("seq")?, number("at")?))
}

/// Which of the messages `0..n` have been seen.
pub(crate) struct Seen {
    places: Vec<bool>,
    distinct: u64,
    repeated: u64,
}

impl Seen {
    pub(crate) fn new(n: u64) -> Self {
        Self {
            places: vec![false; n as usize],
            distinct: 0,
            repeated: 0,
        }
    }

    pub(crate) fn note(&mut self, seq: u64) -> anyhow::Result<()> {
        match self.places.get_mut(seq as usize) {
            None => bail!("output {seq} answers no message that was sent"),
            Some(place) if *place => self.repeated += 1,
            Some(place) => {
                *place = true;
                self.distinct += 1;
            }
        }
        Ok(())
    }

    /// How many have not been seen.
    pub(crate) fn missing(&self) -> u64 {
        self.places.len() as u64 - self.distinct
    }

    /// How many times one was seen again.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Fails where one is missing. Answers how many were there more than once.
    pub(crate) fn complete(&self) -> anyhow::Result<u64> {
        let missing = self.missing();
        if missing > 0 {
            bail!("{missing} of {} messages have no output", self.places.len());
        }
        Ok(self.repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_its_size_and_can_be_read() {
        for seq in [0, 1_234_567] {
            let bytes = payload(seq, 1 << 50);
            assert_eq!(bytes.len(), SIZE);
            assert_eq!(read(&bytes).unwrap(), (seq, 1 << 50));
        }
    }

    #[test]
    fn counts_what_is_missing_and_what_is_there_twice() {
        let mut seen = Seen::new(2);
        seen.note(1).unwrap();
        assert!(seen.complete().is_err());
        assert_eq!(seen.missing(), 1);
        seen.note(0).unwrap();
        seen.note(0).unwrap();
        assert_eq!(seen.complete().unwrap(), 1);
        assert!(seen.note(2).is_err());
    }
}
