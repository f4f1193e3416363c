//! How metadata lies among headers, on brokers that have nothing but headers for it.
//!
//! The names and how they are read are the same wherever they are used, so a message that is carried from one broker to
//! another keeps its metadata whatever carries it. What surprises: a *header* that bears such a name is written with
//! [`ESCAPE`] before it, and read back without. What any other client writes is read by the same rules.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Header, Message, Outgoing, Unrepresentable};

/// Stands before the name of a header that would be taken for something else.
pub(crate) const ESCAPE: &str = "wharf-header:";

pub(crate) const ID: &str = "wharf-id";
pub(crate) const KEY: &str = "wharf-key";
pub(crate) const TOMBSTONE: &str = "wharf-tombstone";
pub(crate) const PRIORITY: &str = "wharf-priority";
/// When it ends, milliseconds since 1970-01-01 UTC.
pub(crate) const EXPIRES: &str = "wharf-expires";
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const CORRELATION_ID: &str = "correlation-id";
pub(crate) const REPLY_TO: &str = "reply-to";

/// Name and value of a header on its way out.
pub(crate) type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The names that one broker keeps among its headers: those it has no place of its own for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names(pub(crate) &'static [&'static str]);

/// Which names were met already: the first of a name counts.
#[derive(Debug, Default)]
pub(crate) struct Seen(u8);

impl Names {
    /// Puts a value into its place in the message, if it is metadata and the first of its name. One that cannot be read
    /// as what it should be is a header like others.
    pub(crate) fn take(
        self,
        name: &[u8],
        value: &Bytes,
        seen: &mut Seen,
        message: &mut Message,
    ) -> bool {
        let Some(at) = self.0.iter().position(|m| m.as_bytes() == name) else {
            return false;
        };
        let bit = 1 << at;
        let taken = seen.0 & bit == 0 && set(self.0[at], value, message);
        if taken {
            seen.0 |= bit;
        }
        taken
    }

    /// The metadata of an output. `now_ms` turns a time to live into the time it ends.
    pub(crate) fn write(self, out: &Outgoing, now_ms: u64) -> impl Iterator<Item = Pair<'_>> {
        self.0.iter().filter_map(move |name| {
            let value = get(name, out, now_ms)?;
            Some((Cow::Borrowed(name.as_bytes()), value))
        })
    }

    /// Whether a header of that name would be read as something else.
    pub(crate) fn taken(self, name: &str) -> bool {
        self.0.contains(&name) || name.starts_with(ESCAPE)
    }

    /// Name and value of a header; `taken` where its name means something else there.
    pub(crate) fn header(header: &Header, taken: bool) -> Pair<'_> {
        let name = match taken {
            true => Cow::Owned(format!("{ESCAPE}{}", header.name).into_bytes()),
            false => Cow::Borrowed(&header.name.as_bytes()[..]),
        };
        (name, Cow::Borrowed(&header.value[..]))
    }
}

/// A header as it is handed to the handler: without the escape. The name as it was, where it is not UTF-8.
pub(crate) fn bare(name: Bytes) -> Result<ByteString, Bytes> {
    let bare = match name.strip_prefix(ESCAPE.as_bytes()) {
        Some(_) => name.slice(ESCAPE.len()..),
        None => name.clone(),
    };
    ByteString::try_from(bare).map_err(|_| name)
}

/// What is to be said of headers whose names are not UTF-8; `whose` they are, such as `the record's header names`.
pub(crate) fn strange(whose: &str, headers: Vec<(Bytes, Bytes)>) -> Option<Box<Unrepresentable>> {
    let (name, _) = headers.first()?;
    let reason = format!(
        "{} of {whose} are not UTF-8, the first is {:?}",
        headers.len(),
        String::from_utf8_lossy(name)
    );
    Some(Box::new(Unrepresentable { reason, headers }))
}

fn set(name: &str, value: &Bytes, message: &mut Message) -> bool {
    fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
        let good = value.is_some();
        if good {
            *place = value;
        }
        good
    }
    let text = || ByteString::try_from(value.clone()).ok();
    let digits = || std::str::from_utf8(value).ok();
    match name {
        KEY => put(&mut message.key, Some(value.clone())),
        CONTENT_TYPE => put(&mut message.content_type, text()),
        CORRELATION_ID => put(&mut message.correlation_id, text()),
        REPLY_TO => put(&mut message.reply_to, text()),
        PRIORITY => put(&mut message.priority, digits().and_then(|n| n.parse().ok())),
        EXPIRES => put(
            &mut message.expires_at_ms,
            digits().and_then(|n| n.parse().ok()),
        ),
        TOMBSTONE => {
            message.tombstone |= &value[..] == b"1";
            &value[..] == b"1"
        }
        ID => match text() {
            Some(id) if !id.is_empty() => {
                message.id = id;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn get<'a>(name: &str, out: &'a Outgoing, now_ms: u64) -> Option<Cow<'a, [u8]>> {
    let text = |t: &'a Option<ByteString>| t.as_ref().map(|t| Cow::Borrowed(&t.as_bytes()[..]));
    let number = |n: u64| Cow::Owned(n.to_string().into_bytes());
    match name {
        ID => text(&out.id),
        KEY => out.key.as_ref().map(|key| Cow::Borrowed(&key[..])),
        CONTENT_TYPE => text(&out.content_type),
        CORRELATION_ID => text(&out.correlation_id),
        REPLY_TO => text(&out.reply_to),
        PRIORITY => out.priority.map(|p| number(p.into())),
        EXPIRES => out
            .ttl_ms
            .map(|ttl| number(now_ms.saturating_add(ttl.into()))),
        TOMBSTONE => out.tombstone.then_some(Cow::Borrowed(b"1")),
        _ => None,
    }
}
