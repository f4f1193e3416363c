//! A handler around a plugin's that notes when each message was handled.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use wharf::handler::{AttemptInfo, Handled, Handler};
use wharf::message::Message;
use wharf::plugin::PluginHandle;

pub(super) struct Stamping {
    plugin: Arc<PluginHandle>,
    /// When each message was handled, since the last look. Locked for a push, and once a window.
    stamps: Mutex<Vec<Instant>>,
}

impl Stamping {
    pub(super) fn new(plugin: &Arc<PluginHandle>) -> Arc<Self> {
        Arc::new(Self {
            plugin: Arc::clone(plugin),
            stamps: Mutex::default(),
        })
    }

    /// The longest time between two messages handled from `begin` to `end`, in milliseconds; forgets all stamps.
    pub(super) fn longest_gap(&self, begin: Instant, end: Instant) -> Option<f64> {
        let stamps =
            std::mem::take(&mut *self.stamps.lock().unwrap_or_else(PoisonError::into_inner));
        longest(stamps, begin, end)
    }
}

fn longest(mut stamps: Vec<Instant>, begin: Instant, end: Instant) -> Option<f64> {
    stamps.retain(|stamp| (begin..=end).contains(stamp));
    stamps.sort_unstable();
    let gaps = stamps.windows(2).map(|two| two[1] - two[0]);
    gaps.max().map(|gap| gap.as_secs_f64() * 1e3)
}

impl Handler for Stamping {
    fn handle<'a>(&'a self, message: &'a Message, attempt: AttemptInfo) -> BoxFuture<'a, Handled> {
        Box::pin(async move {
            let handled = self.plugin.handle(message, attempt).await;
            let now = Instant::now();
            self.stamps
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(now);
            handled
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn finds_the_longest_gap_within_the_window() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let stamps = vec![at(1), at(9), at(3), at(50)];
        assert_eq!(longest(stamps.clone(), begin, at(10)), Some(6.0));
        assert_eq!(longest(stamps, begin, at(2)), None);
    }
}
