//! The dispatch core on a faulty in-memory broker, under paused time, by seed.
//!
//! Each seed draws a setup (order, window, workers, faults, outages, how often the host dies or drains), a script for
//! every message, and then runs the real [`wharf::dispatch::Dispatcher`] through all of it on one thread. The broker
//! is the oracle: it checks every start, every publication and every settlement at the moment it happens, and counts
//! what is left at the end. Nothing here waits for real time, so thousands of seeds take seconds.
//!
//! `WHARF_SIM_SEED=n` runs one seed again, `WHARF_SIM_SEEDS=n` so many from 0 on. `make mutants` shows that each
//! invariant is held by something (see `docs/simulation.md`).

mod broker;
mod life;
mod oracle;
mod ports;
mod script;
mod setup;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seeds of a run where nothing else is asked for.
const SEEDS: u64 = 2500;
/// A seed that takes longer than this in real time spins: under paused time nothing else can take that long.
const SPINS: Duration = Duration::from_secs(20);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// Ends the process when one seed takes for ever: a task that never yields cannot be stopped in any other way.
// The watchdog looks from outside at simulated time that stands still: it needs the real clock, and the process to end.
#[allow(clippy::disallowed_types, clippy::disallowed_methods)]
fn watch(current: &'static AtomicU64) {
    std::thread::spawn(move || {
        let mut last = (u64::MAX, std::time::Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let seed = current.load(Ordering::Relaxed);
            if seed != last.0 {
                last = (seed, std::time::Instant::now());
            } else if last.1.elapsed() > SPINS {
                eprintln!(
                    "seed {seed}: spins: {SPINS:?} passed and simulated time does not advance (WHARF_SIM_SEED={seed})"
                );
                std::process::exit(1);
            }
        }
    });
}

/// Scripted panics are part of the play; anything else is printed as usual.
fn hush_scripted_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let scripted = info
            .payload()
            .downcast_ref::<&str>()
            .is_some_and(|text| *text == script::PANIC);
        if !scripted {
            usual(info);
        }
    }));
}

#[test]
fn every_seed_keeps_every_promise() {
    static CURRENT: AtomicU64 = AtomicU64::new(0);
    hush_scripted_panics();
    let (from, to) = match number("WHARF_SIM_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, number("WHARF_SIM_SEEDS").unwrap_or(SEEDS)),
    };
    CURRENT.store(from, Ordering::Relaxed);
    watch(&CURRENT);
    let mut seen = oracle::Seen::default();
    for seed in from..to {
        CURRENT.store(seed, Ordering::Relaxed);
        let ended = life::play(seed);
        if !ended.wrong.is_empty() {
            let all = ended.wrong.join("\n  ");
            // The end of the story is where the eye goes first.
            for line in ended.story.iter().rev().take(40).rev() {
                println!("{line}");
            }
            panic!(
                "seed {seed} (WHARF_SIM_SEED={seed}), {:?}:\n  {all}",
                ended.setup
            );
        }
        seen.add(&ended.seen);
    }
    println!("{} seeds: {seen:?}", to - from);
    if to - from >= 500 {
        seen.assert_all_was_met();
    }
}

#[test]
fn a_seed_plays_the_same_way_twice() {
    hush_scripted_panics();
    for seed in 0..50 {
        let (one, two) = (life::play(seed), life::play(seed));
        assert_eq!(one.story, two.story, "seed {seed} is not deterministic");
    }
}
