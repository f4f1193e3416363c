//! How long to wait before a retry: exponential, bounded, with jitter.

use std::time::Duration;

/// A retry schedule without bad states. Intervals follow Watermill's and Backoff's naming.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    max_retries: u32,
    initial: Duration,
    multiplier: f64,
    max: Duration,
    randomization: f64,
}

/// Why a schedule cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// The multiplier is below 1 or not a number.
    #[error("multiplier must be 1 or more")]
    Multiplier,
    /// The largest interval is below the first.
    #[error("max_interval must not be below initial_interval")]
    Max,
    /// The factor is outside 0 to 1.
    #[error("randomization_factor must be between 0 and 1")]
    Randomization,
}

impl Schedule {
    /// Checks the bounds once, so that nothing downstream meets a bad schedule.
    ///
    /// # Errors
    /// When `multiplier` < 1, `max` < `initial`, or `randomization` is outside 0..=1.
    pub fn new(
        max_retries: u32,
        initial: Duration,
        multiplier: f64,
        max: Duration,
        randomization: f64,
    ) -> Result<Self, InvalidSchedule> {
        if !(multiplier >= 1.0 && multiplier.is_finite()) {
            return Err(InvalidSchedule::Multiplier);
        }
        if max < initial {
            return Err(InvalidSchedule::Max);
        }
        if !(0.0..=1.0).contains(&randomization) {
            return Err(InvalidSchedule::Randomization);
        }
        Ok(Self {
            max_retries,
            initial,
            multiplier,
            max,
            randomization,
        })
    }

    /// Retries after the first attempt.
    pub fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// The wait before retry number `retry` (1 is the first). `jitter` in 0..1 places it within
    /// `± randomization` of the base; 0.5 is the base itself.
    pub fn delay(&self, retry: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
        let base = (self.initial.as_secs_f64() * self.multiplier.powi(exponent))
            .min(self.max.as_secs_f64());
        let spread = 1.0 + self.randomization * (2.0 * jitter - 1.0);
        Duration::try_from_secs_f64(base * spread).unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(randomization: f64) -> Schedule {
        Schedule::new(
            3,
            Duration::from_secs(1),
            2.0,
            Duration::from_secs(30),
            randomization,
        )
        .unwrap()
    }

    #[test]
    fn doubles_up_to_the_bound() {
        let s = schedule(0.2);
        let secs: Vec<u64> = (1..=8).map(|n| s.delay(n, 0.5).as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn jitter_spreads_around_the_base() {
        let s = schedule(0.2);
        assert_eq!(s.delay(1, 0.0), Duration::from_millis(800));
        assert!(s.delay(1, 0.999) < Duration::from_millis(1200));
        assert_eq!(schedule(0.0).delay(2, 0.9), Duration::from_secs(2));
    }

    #[test]
    fn a_huge_retry_number_neither_panics_nor_exceeds_the_bound() {
        assert_eq!(schedule(0.0).delay(u32::MAX, 0.5), Duration::from_secs(30));
    }

    #[test]
    fn bad_bounds_are_refused() {
        let one = Duration::from_secs(1);
        let new = |m, max, r| Schedule::new(3, one, m, max, r).unwrap_err();
        assert_eq!(new(0.9, one, 0.0), InvalidSchedule::Multiplier);
        assert_eq!(new(f64::NAN, one, 0.0), InvalidSchedule::Multiplier);
        assert_eq!(new(2.0, Duration::ZERO, 0.0), InvalidSchedule::Max);
        assert_eq!(new(2.0, one, 1.1), InvalidSchedule::Randomization);
    }
}
