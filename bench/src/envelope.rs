//! A message as one value, as lists of Redis hold it (`docs/wire/redis.md`): for whoever fills and reads them, and for the
//! twin.

use anyhow::{Context, ensure};

/// What an envelope begins with.
const MAGIC: &[u8] = b"wharf/1 ";
/// The field that holds the message's id.
pub(crate) const ID: &[u8] = b"wharf-id";

/// One that was opened.
pub(crate) struct Envelope<'a> {
    fields: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// The value of a message.
pub(crate) fn write<'a>(
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    payload: &[u8],
) -> Vec<u8> {
    let mut block = Vec::new();
    for part in fields.into_iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(part.len().to_string().as_bytes());
        block.push(b':');
        block.extend_from_slice(part);
        block.push(b',');
    }
    let head = block.len().to_string();
    [MAGIC, head.as_bytes(), b"\n", &block, payload].concat()
}

impl<'a> Envelope<'a> {
    pub(crate) fn open(value: &'a [u8]) -> anyhow::Result<Self> {
        let rest = value.strip_prefix(MAGIC).context("not an envelope")?;
        let (length, rest) = number(rest, b'\n')?;
        let (fields, payload) = rest.split_at_checked(length).context("cut off")?;
        Ok(Self { fields, payload })
    }

    /// Names and values, in their order.
    pub(crate) fn fields(&self) -> anyhow::Result<Vec<(&'a [u8], &'a [u8])>> {
        let mut rest = self.fields;
        let mut fields = Vec::with_capacity(8);
        while !rest.is_empty() {
            fields.push((netstring(&mut rest)?, netstring(&mut rest)?));
        }
        Ok(fields)
    }
}

/// Takes a netstring from the front.
fn netstring<'a>(block: &mut &'a [u8]) -> anyhow::Result<&'a [u8]> {
    let (length, rest) = number(block, b':')?;
    let (content, rest) = rest.split_at_checked(length).context("cut off")?;
    ensure!(rest.first() == Some(&b','), "not a netstring");
    *block = &rest[1..];
    Ok(content)
}

/// A number and what follows the byte that ends it.
fn number(text: &[u8], end: u8) -> anyhow::Result<(usize, &[u8])> {
    let digits = text.iter().position(|b| *b == end).context("no length")?;
    let number = std::str::from_utf8(&text[..digits])?.parse()?;
    Ok((number, &text[digits + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_page_says() {
        let fields: [(&[u8], &[u8]); 1] = [(ID, b"o-7")];
        assert_eq!(write(fields, b"{}"), b"wharf/1 17\n8:wharf-id,3:o-7,{}");
    }

    #[test]
    fn comes_back_as_it_was() {
        let fields: [(&[u8], &[u8]); 2] = [(ID, b"o-7"), (b"", b"4:a,b\n,")];
        let value = write(fields, b"wharf/1 0\n");
        let opened = Envelope::open(&value).unwrap();
        assert_eq!(opened.fields().unwrap(), fields);
        assert_eq!(opened.payload, b"wharf/1 0\n");
        assert!(Envelope::open(b"{}").is_err());
        assert!(Envelope::open(&value[..20]).is_err());
    }
}
