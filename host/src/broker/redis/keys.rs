//! Names of what this adapter keeps at the server beside the streams themselves.
//!
//! Every key carries the hash tag of its stream, so that a script touching a stream, its group and these keys stays
//! within one slot of a cluster. Group and consumer are percent-escaped (`%`, `:`), so that no two pairs share a key.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `wharf:hosts:{S}:S:<group>` | hash | consumer → `live`, `fenced` or `closed` |
//! | `wharf:lease:{S}:S:<group>:<consumer>` | string, with a time to live | exists while that host is alive |
//! | `wharf:attempts:{S}:S:<group>` | hash | entry id → `<attempts>@<first failure, ms> <due, server time in ms>` |

use std::fmt::Write as _;

/// Consumers of ours begin so; all others are foreign and left alone.
pub(super) const CONSUMER_PREFIX: &str = "wharf:";

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, or all of it.
pub(super) fn tag(stream: &str) -> &str {
    let inner = stream
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(inner, _)| inner);
    match inner {
        Some(inner) if !inner.is_empty() => inner,
        _ => stream,
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A")
}

/// Who is alive, per group.
pub(super) fn hosts(stream: &str, group: &str) -> String {
    format!("wharf:hosts:{{{}}}:{stream}:{}", tag(stream), escape(group))
}

/// One host's lease.
pub(super) fn lease(stream: &str, group: &str, consumer: &str) -> String {
    format!(
        "wharf:lease:{{{}}}:{stream}:{}:{}",
        tag(stream),
        escape(group),
        escape(consumer)
    )
}

/// Attempts and due times of released entries.
pub(super) fn attempts(stream: &str, group: &str) -> String {
    format!(
        "wharf:attempts:{{{}}}:{stream}:{}",
        tag(stream),
        escape(group)
    )
}

/// The stream in which dead letters of a subscription are put to be handled again, in a cluster: it is read together with
/// `stream`, so it is in its slot.
pub(super) fn retry(stream: &str, subscription: &str, plugin: &str) -> String {
    format!("retry.{subscription}.{plugin}.{{{}}}", tag(stream))
}

/// Whether all of these are in the slot of `stream`: not where a brace in it is no part of a hash tag.
pub(super) fn in_one_slot(stream: &str) -> bool {
    tag(&hosts(stream, "")) == tag(stream)
}

/// A consumer name no other process has: host name, process id and 64 random bits.
pub(super) fn consumer(host: &str) -> String {
    let mut name = format!("{CONSUMER_PREFIX}{host}:{}:", std::process::id());
    // Writing to a String does not fail.
    let _ok = write!(name, "{:016x}", fastrand::u64(..)).is_ok();
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_stream_share_its_slot() {
        assert_eq!(tag("orders"), "orders");
        assert_eq!(tag("{shop}.orders"), "shop");
        assert_eq!(tag("a{}b"), "a{}b");
        assert_eq!(
            hosts("{shop}.orders", "g"),
            "wharf:hosts:{shop}:{shop}.orders:g"
        );
        assert_eq!(tag(&hosts("orders", "g")), "orders");
        assert_eq!(tag(&attempts("orders", "g")), "orders");
        assert_eq!(tag(&lease("orders", "g", "c")), "orders");
        assert_eq!(tag(&retry("{shop}.orders", "in", "audit")), "shop");
        assert!(in_one_slot("orders") && in_one_slot("{shop}.orders"));
        assert!(!in_one_slot("or}ders") && !in_one_slot("a{}b"));
    }

    #[test]
    fn no_two_groups_share_a_key() {
        assert_ne!(lease("{t}s", "a:b", "c"), lease("{t}s", "a", "b:c"));
        assert_ne!(hosts("s", "a%3Ab"), hosts("s", "a:b"));
    }

    #[test]
    fn two_processes_never_share_a_consumer() {
        assert_ne!(consumer("h"), consumer("h"));
    }
}
