//! What tests of an adapter do with a source. Nothing waits for ever.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use wharf::delivery::Delivery;
use wharf::ports::{Room, Source};

/// Longest a test waits for messages that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// For so many messages, and more bytes than any test has.
#[must_use]
pub fn room(messages: usize) -> Room {
    Room {
        messages,
        bytes: 64 << 20,
    }
}

/// Fetches until `count` messages are in hand.
///
/// # Panics
///
/// When they do not come, or reading ends with an error.
pub async fn take(source: &mut dyn Source, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while taken.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left, source.fetch(room(count - taken.len()))).await {
            Ok(got) => taken.extend(got.expect("fetched")),
            Err(_) => panic!("{} of {count} messages came", taken.len()),
        }
    }
    taken
}

/// What comes within `within`; nothing is an answer too.
///
/// # Panics
///
/// When reading ends with an error.
pub async fn take_within(source: &mut dyn Source, within: Duration) -> Vec<Delivery> {
    match timeout(within, source.fetch(room(100))).await {
        Ok(got) => got.expect("fetched"),
        Err(_) => Vec::new(),
    }
}
