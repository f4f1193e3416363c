//! How long the guests of one instance ran, told to the plugin's metric now and then.
//!
//! The metric is one number for all instances, and a number that all threads change moves between their caches at
//! every call. So an instance keeps its own and tells it when it is worth telling: after a millisecond, when it is
//! looked at while idle (once a second), and at its end. Nothing is lost, and a rested host shows all of it.

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::PluginMetrics;

/// What is told at once.
const WORTH_TELLING: Duration = Duration::from_millis(1);

/// Time that one instance ran.
pub(super) struct Ran {
    untold: Duration,
    metrics: Arc<PluginMetrics>,
}

impl Ran {
    pub(super) fn new(metrics: &Arc<PluginMetrics>) -> Self {
        Self {
            untold: Duration::ZERO,
            metrics: Arc::clone(metrics),
        }
    }

    /// It ran so long.
    pub(super) fn add(&mut self, took: Duration) {
        self.untold += took;
        if self.untold >= WORTH_TELLING {
            self.tell();
        }
    }

    /// Tells what was not told yet.
    pub(super) fn tell(&mut self) {
        if !self.untold.is_zero() {
            let seconds = std::mem::take(&mut self.untold).as_secs_f64();
            self.metrics.cpu.inc_by(seconds);
        }
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn all_of_it_is_told_in_the_end() {
        let metrics = Metrics::new().plugin("p");
        let mut ran = Ran::new(&metrics);
        ran.add(WORTH_TELLING / 2);
        assert_eq!(metrics.cpu.get(), 0.0);
        ran.add(WORTH_TELLING / 2);
        assert_eq!(metrics.cpu.get(), 0.001);
        ran.add(WORTH_TELLING / 4);
        ran.tell();
        assert_eq!(metrics.cpu.get(), 0.001_25);
        ran.add(WORTH_TELLING / 4);
        drop(ran);
        assert_eq!(metrics.cpu.get(), 0.001_5);
    }
}
