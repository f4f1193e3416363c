//! How headers lie in their column: `(name length, name, value length, value)*`, lengths as LEB128.
//!
//! Order, repeats, empty names and any byte are kept. No headers at all is `NULL`, so that a plain message pays one
//! byte for having none. Decoding shares one buffer between all headers.

use bytes::{BufMut, Bytes};

use crate::message::Header;

/// Encodes pairs of name and value; `None` when there are none.
pub(super) fn encode<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        put(&mut out, name);
        put(&mut out, value);
    }
    (!out.is_empty()).then_some(out)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes.len();
    while rest >= 0x80 {
        // The mask keeps it within a byte.
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
    out.put_slice(bytes);
}

/// Decodes pairs; `None` when the bytes are not what [`encode`] writes.
pub(super) fn decode(buffer: &Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let mut pairs = Vec::new();
    let mut at = 0;
    while at < buffer.len() {
        let name = take(buffer, &mut at)?;
        let value = take(buffer, &mut at)?;
        pairs.push((name, value));
    }
    Some(pairs)
}

fn take(buffer: &Bytes, at: &mut usize) -> Option<Bytes> {
    let mut len = 0_usize;
    let mut shift = 0_u32;
    loop {
        let byte = *buffer.get(*at)?;
        *at += 1;
        len |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    let end = at.checked_add(len)?;
    if end > buffer.len() {
        return None;
    }
    let bytes = buffer.slice(*at..end);
    *at = end;
    Some(bytes)
}

/// Headers whose names are text, and those whose names are not, each in order.
pub(super) fn split(pairs: Vec<(Bytes, Bytes)>) -> (Vec<Header>, Vec<(Bytes, Bytes)>) {
    let mut headers = Vec::with_capacity(pairs.len());
    let mut raw = Vec::new();
    for (name, value) in pairs {
        match name.clone().try_into() {
            Ok(name) => headers.push(Header { name, value }),
            Err(_) => raw.push((name, value)),
        }
    }
    (headers, raw)
}
