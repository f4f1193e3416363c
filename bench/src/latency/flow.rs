//! Publishing and observing, and the time between them.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::join;
use tokio::time::{Instant, sleep_until, timeout};

use super::wire::{Observer, Publish};
use crate::payload::{payload, read};
use crate::stats::Samples;

/// Messages that are not measured, at 100 a second.
const WARM_UP: u64 = 100;
/// Longest time for the first output, and then for all of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes and observes. Answers the milliseconds of each message.
pub(super) async fn flow(
    publish: Publish,
    mut observer: impl Observer,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<Samples> {
    let origin = Instant::now();
    let total = 1 + WARM_UP + u64::from(rate * seconds);
    // Who is still starting is waited for: that is in no figure.
    publish(0, payload(0, 0)).await?;
    let answered = async {
        while observer.next().await?.is_empty() {}
        anyhow::Ok(())
    };
    let answered = timeout(PATIENCE, answered).await;
    answered.context("no output comes")??;
    let publishing = async {
        let mut due = Instant::now();
        for seq in 1..total {
            sleep_until(due).await;
            let at = u64::try_from(origin.elapsed().as_nanos())?;
            tokio::spawn(publish(seq, payload(seq, at)));
            let each = if seq <= WARM_UP { 100 } else { rate };
            due += Duration::from_secs(1) / each;
        }
        anyhow::Ok(())
    };
    let observing = async {
        let mut samples = Samples::default();
        let mut seen = 1;
        while seen < total {
            for output in observer.next().await? {
                let (seq, at) = read(&output)?;
                let took = origin.elapsed().saturating_sub(Duration::from_nanos(at));
                seen += 1;
                if seq > WARM_UP {
                    samples.push(took.as_secs_f64() * 1e3);
                }
            }
        }
        anyhow::Ok(samples)
    };
    let both = timeout(PATIENCE, join(publishing, observing)).await;
    let (published, samples) = both.context("not all outputs came")?;
    published?;
    samples
}
