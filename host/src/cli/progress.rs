//! Progress of long work, on standard error: a bar on a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::output::thousands;

/// Between two plain lines.
const EVERY: Duration = Duration::from_secs(5);

/// One piece of long work.
pub(super) struct Progress {
    /// What is being done: `published`, `redriven`.
    done: &'static str,
    total: Option<u64>,
    count: u64,
    started: Instant,
    /// When the last plain line was written. Not used with a bar.
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins. `total` is how much there is to do, where that is known.
    pub(super) fn new(done: &'static str, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(done, total));
        let now = Instant::now();
        Self {
            done,
            total,
            count: 0,
            started: now,
            told: now,
            bar,
        }
    }

    /// So many more are done.
    pub(super) fn advance(&mut self, more: u64) {
        self.count += more;
        if let Some(bar) = &self.bar {
            bar.set_position(self.count);
        } else if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            anstream::eprintln!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let of = self.total.map(|total| format!(" of {}", thousands(total)));
        format!(
            "{} {}{} ({}/s)",
            self.done,
            thousands(self.count),
            of.unwrap_or_default(),
            thousands(self.rate())
        )
    }

    /// Per second, since the beginning.
    pub(super) fn rate(&self) -> u64 {
        let seconds = self.started.elapsed().as_secs_f64();
        if seconds < 0.001 {
            return self.count;
        }
        (self.count as f64 / seconds) as u64
    }

    /// Takes the bar away, before something else is printed.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// How long it took.
    pub(super) fn took(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(done: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {bar:32.cyan/dim} {human_pos}/{human_len} {per_sec} eta {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{msg} {spinner} {human_pos} {per_sec}",
        ),
    };
    // A template that does not parse would be a bug of ours, seen at once; the default bar does in the meantime.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(done);
    bar
}
