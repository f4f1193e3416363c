//! Medians and spreads.

/// Some measurements of one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value below which a share of `q` (0 to 1) lies; not a number where there is none.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = (q.clamp(0.0, 1.0) * last as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The middle one, or the mean of the two.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        match (
            sorted.len() % 2,
            half.checked_sub(1).and_then(|i| sorted.get(i)),
        ) {
            (0, Some(below)) => (below + sorted[half]) / 2.0,
            (0, None) => f64::NAN,
            _ => sorted[half],
        }
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// What each is of the other that was taken in the same round.
    pub(crate) fn of(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(one, other)| one / other).collect()
    }

    /// `median (least-most)`, with so many decimals.
    pub(crate) fn text(&self, decimals: usize) -> String {
        let median = self.median();
        if self.0.len() < 2 {
            return format!("{median:.decimals$}");
        }
        format!(
            "{median:.decimals$} ({:.decimals$}-{:.decimals$})",
            self.min(),
            self.max()
        )
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_edges() {
        let odd: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!((odd.median(), odd.min(), odd.max()), (2.0, 1.0, 3.0));
        let even: Samples = [4.0, 1.0, 2.0, 3.0].into_iter().collect();
        assert_eq!(even.median(), 2.5);
        assert_eq!(even.text(1), "2.5 (1.0-4.0)");
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let one: Samples = [1.0, 6.0].into_iter().collect();
        let other: Samples = [2.0, 3.0].into_iter().collect();
        assert_eq!(one.of(&other).text(1), "1.2 (0.5-2.0)");
    }

    #[test]
    fn quantiles_are_measurements() {
        let hundred: Samples = (0..=100).map(f64::from).collect();
        assert_eq!(hundred.quantile(0.5), 50.0);
        assert_eq!(hundred.quantile(0.99), 99.0);
        assert_eq!(hundred.quantile(1.0), 100.0);
    }
}
