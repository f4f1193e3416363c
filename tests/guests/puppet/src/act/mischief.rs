//! What a handler should not do.

// A guest has its own clock, and leaving is the point.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::hint::black_box;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::order::{Order, Stream};

/// What `grow` keeps for the life of the instance.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Orders without an output. The others are carried out elsewhere.
pub fn commit(order: Order) {
    match order {
        Order::Panic { text } => panic!("{text}"),
        Order::Trap => trap(),
        Order::Overflow => {
            black_box(overflow(black_box(1)));
        }
        Order::Spin => spin(),
        Order::Burn { ms } => burn(Duration::from_millis(ms)),
        Order::Sleep { ms } => std::thread::sleep(Duration::from_millis(ms)),
        Order::Leak => leak(),
        Order::Grow { bytes } => keep(vec![1; bytes]),
        Order::Log {
            lines,
            bytes,
            to,
            text,
        } => {
            let line = text.unwrap_or_else(|| ".".repeat(bytes));
            (0..lines).for_each(|_| log(to, &line));
        }
        Order::Exit { code } => std::process::exit(code),
        _ => {}
    }
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}

#[inline(never)]
#[allow(unconditional_recursion)] // On purpose: the stack has to end.
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    black_box(overflow(depth + 1)) + black_box(frame)[0]
}

#[inline(never)] // The tests look for its frame.
fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn burn(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        black_box((0..1_000u64).sum::<u64>());
    }
}

#[inline(never)] // The tests look for its frame.
fn leak() -> ! {
    loop {
        keep(vec![1; 1 << 20]);
    }
}

fn keep(bytes: Vec<u8>) {
    KEPT.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(black_box(bytes));
}

/// A full or closed log is the host's business, never the handler's.
fn log(to: Stream, line: &str) {
    let _written = match to {
        Stream::Stdout => writeln!(std::io::stdout(), "{line}"),
        Stream::Stderr => writeln!(std::io::stderr(), "{line}"),
    };
}
