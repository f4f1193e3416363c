//! One message to another place, as the message it was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wharf_sdk::{Message, Outgoing};

/// The same message for another destination: as `Message::forward`, and with its id, where that is stable,
/// and its expiry.
///
/// The id is kept because it is the same message: whoever deduplicates behind a bridge sees what whoever
/// stands before it sees. An expiry is passed on as the time that is left. One that is further away than an
/// output can say, some 49 days, is left out rather than shortened.
#[must_use]
pub fn pass_on(mut message: Message, destination: &str) -> Outgoing {
    let id = message.id_stable.then(|| std::mem::take(&mut message.id));
    let expires_at = message.expires_at_ms.map(Duration::from_millis);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Outgoing {
        id,
        ttl_ms: expires_at.and_then(|at| left(at, now)),
        ..message.forward(destination)
    }
}

/// At least a millisecond: the host had not found it expired.
fn left(expires_at: Duration, now: Duration) -> Option<u32> {
    let left = expires_at.saturating_sub(now).as_millis().max(1);
    u32::try_from(left).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_the_time_that_is_left() {
        let at = Duration::from_millis;
        assert_eq!(left(at(5_000), at(3_500)), Some(1_500));
        assert_eq!(left(at(5_000), at(6_000)), Some(1));
        assert_eq!(left(at(u64::MAX), at(0)), None);
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        let message = Message::builder("\0any bytes")
            .id("m-7")
            .key("k")
            .header("a", "1")
            .header("a", "2")
            .content_type("text/x")
            .correlation_id("c")
            .reply_to("r")
            .priority(9)
            .build();
        let out = pass_on(message, "out");
        let expected = Outgoing::new("out", "\0any bytes")
            .id("m-7")
            .key("k")
            .header("a", "1")
            .header("a", "2")
            .content_type("text/x")
            .correlation("c")
            .reply_to("r")
            .priority(9);
        assert_eq!(out, expected);
        assert!(pass_on(Message::builder_tombstone("k").build(), "out").tombstone);
    }

    #[test]
    fn an_expiry_goes_along() {
        let hour = Duration::from_secs(3_600);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + hour;
        let at = u64::try_from(at.as_millis()).unwrap();
        let out = pass_on(Message::builder("").expires_at_ms(at).build(), "out");
        let left = Duration::from_millis(out.ttl_ms.unwrap().into());
        assert!(left <= hour && left > hour / 2, "{left:?}");
        assert_eq!(pass_on(Message::builder("").build(), "out").ttl_ms, None);
    }

    #[test]
    fn an_id_that_changes_is_not_kept() {
        let mut message = Message::builder("").build();
        message.id_stable = false;
        assert_eq!(pass_on(message, "out").id, None);
    }
}
