//! What a seed draws before anything runs.

use std::time::Duration;

use fastrand::Rng;
use wharf::config::Order;

/// Faults happen until then; afterwards everything answers, so that every run can come to its end.
pub const FAULTS_END: Duration = Duration::from_secs(40);

/// How one life of the host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is dropped, mid-way.
    Crash(Duration),
    /// It is asked to stop, and has this long.
    Drain(Duration, Duration),
    /// It runs until nothing is left, then drains.
    Finish,
}

/// Something does not answer between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// `east`, `home`, or `settle`.
    pub of: &'static str,
    pub from: Duration,
    pub to: Duration,
}

/// The play of one seed.
#[derive(Debug, Clone)]
pub struct Setup {
    pub messages: usize,
    pub keys: u8,
    pub order: Order,
    pub window: usize,
    pub prefetch: usize,
    pub workers: usize,
    pub breaker: bool,
    pub max_retries: u32,
    /// Deliveries without a settlement after which a message is not run.
    pub max_deliveries: u32,
    /// The broker delays by itself; ordered lines wait in the host all the same.
    pub delays: bool,
    /// Outputs to `home` and the settlement are one transaction.
    pub atomic: bool,
    /// Nothing fails but handlers.
    pub calm: bool,
    /// Chance that one call fails, of 256.
    pub errors: u8,
    /// Carried out, but reported as failed.
    pub ambiguous: bool,
    /// Another owner takes a message away.
    pub fences: bool,
    /// Answers take their time; some take a minute.
    pub slow: bool,
    pub hangs: bool,
    pub outages: Vec<Outage>,
    /// A dependency of every handler is down until then.
    pub unavailable_until: Duration,
    pub lives: Vec<End>,
    /// How long the broker waits for a settlement before it delivers again.
    pub patience: Option<Duration>,
}

fn ms(rng: &mut Rng, to: u64) -> Duration {
    Duration::from_millis(rng.u64(0..to))
}

impl Setup {
    pub fn draw(rng: &mut Rng) -> Self {
        let calm = rng.u8(0..4) == 0;
        let rough = |rng: &mut Rng, of: u8| !calm && rng.u8(0..of) == 0;
        let order = [Order::None, Order::Key, Order::Source][rng.usize(0..3)];
        let ordered = order != Order::None;
        let mut outages = Vec::new();
        if !calm {
            for _ in 0..rng.usize(0..4) {
                let from = ms(rng, 15_000);
                let of = ["east", "home", "settle"][rng.usize(0..3)];
                let to = (from + ms(rng, 20_000)).min(FAULTS_END);
                outages.push(Outage { of, from, to });
            }
        }
        let mut lives = Vec::new();
        for _ in 0..rng.usize(0..3) {
            let at = ms(rng, 12_000) / rng.u32(1..20);
            lives.push(match rng.bool() {
                true => End::Crash(at),
                false => End::Drain(at, Duration::from_secs(rng.u64(1..6) * 5)),
            });
        }
        lives.push(End::Finish);
        // Drawn beside the others, so that it changes nothing of them.
        let mut beside = rng.clone();
        let setup = Self {
            messages: rng.usize(1..40),
            keys: rng.u8(1..6),
            order,
            window: rng.usize(1..12),
            prefetch: rng.usize(1..12),
            workers: rng.usize(1..4),
            breaker: rng.u8(0..3) == 0,
            max_retries: rng.u32(0..4),
            max_deliveries: if rng.bool() { rng.u32(1..4) } else { 20 },
            delays: rng.u8(0..4) != 0,
            atomic: rng.bool(),
            calm,
            errors: if rough(rng, 2) { rng.u8(1..60) } else { 0 },
            ambiguous: rough(rng, 3),
            fences: !ordered && rough(rng, 4),
            slow: rough(rng, 2),
            hangs: rough(rng, 8),
            unavailable_until: if rng.u8(0..6) == 0 {
                ms(rng, 30_000)
            } else {
                Duration::ZERO
            },
            outages,
            lives,
            patience: None,
        };
        // An answer that takes a minute is in nobody's hands, and a handler that never ends neither.
        let bounded = !setup.slow && !setup.hangs && beside.bool();
        Self {
            patience: bounded.then(|| Duration::from_secs(beside.u64(2..14))),
            ..setup
        }
    }

    pub fn ordered(&self) -> bool {
        self.order != Order::None
    }

    /// Whether `of` answers at `now`.
    pub fn up(&self, of: &str, now: Duration) -> bool {
        let down = |o: &&Outage| o.of == of && o.from <= now && now < o.to;
        !self.outages.iter().any(|o| down(&o))
    }
}
