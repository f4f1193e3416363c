//! What NATS/1.0 headers cannot hold, in words they can.
//!
//! A name is printable ASCII without a colon, a value ends with its line. Clients take white space off both ends of a
//! value, and the one we use breaks the connection where a header is not UTF-8. What does not fit is written as
//! `name=value` under a name of ours, with `%` and two hexadecimal digits for each byte that is not plain.

/// Whether clients read a header of this name as it was written.
pub(super) fn name_fits(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// The value as it can be written; `None` where it has to be escaped.
pub(super) fn value_fits(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let plain = !text.chars().any(char::is_control) && text.trim() == text;
    plain.then_some(text)
}

/// `name=value`.
pub(super) fn pair(name: &[u8], value: &[u8]) -> String {
    let mut text = String::with_capacity(name.len() + value.len() + 1);
    put(&mut text, name, |b| b != b'=');
    text.push('=');
    put(&mut text, value, |_| true);
    text
}

/// What [`pair`] was made of; `None` of any other text.
pub(super) fn unpair(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, value) = text.split_once('=')?;
    Some((take(name)?, take(value)?))
}

fn put(text: &mut String, bytes: &[u8], plain: impl Fn(u8) -> bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' && plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// Without `%`.
pub(super) fn take(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}
