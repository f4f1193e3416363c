//! From an engine's error to a [`Fault`] an author can use.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::limits::Denied;
use crate::handler::{Fault, FaultKind};

/// Frames shown.
const FRAMES: usize = 32;
/// Bytes of one frame's name.
const NAME: usize = 200;

/// What an error of a call means. `stderr` holds the guest's last lines.
pub(super) fn from_error(error: &wasmtime::Error, deadline_ms: u128, stderr: Vec<String>) -> Fault {
    let (kind, message) = classify(error, deadline_ms, &stderr);
    Fault {
        kind,
        message,
        stderr,
        backtrace: error
            .downcast_ref::<WasmBacktrace>()
            .map(frames)
            .unwrap_or_default(),
    }
}

fn classify(error: &wasmtime::Error, deadline_ms: u128, stderr: &[String]) -> (FaultKind, String) {
    if let Some(denied) = error.downcast_ref::<Denied>() {
        let kind = match denied {
            Denied::Limit { .. } => FaultKind::Memory,
            Denied::Budget { .. } => FaultKind::NotRun,
        };
        return (kind, denied.to_string());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (
            FaultKind::Trap,
            format!(
                "the handler ended its process with exit({}); it must return instead",
                exit.0
            ),
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => (FaultKind::Deadline, deadline_passed(deadline_ms)),
        Some(trap) => (FaultKind::Trap, trapped(*trap, stderr)),
        // Raised by the host on behalf of the guest, inside the guest.
        None if error.downcast_ref::<WasmBacktrace>().is_some() => {
            (FaultKind::Trap, error.root_cause().to_string())
        }
        // The guest had returned: what it returned could not be taken over.
        None => (
            FaultKind::BadOutput,
            unreadable(&error.root_cause().to_string()),
        ),
    }
}

/// Why an answer was not taken over. The bound on what is read of it stands a little above `limits.output`, and the
/// engine has no typed error for it.
fn unreadable(cause: &str) -> String {
    if cause.contains("fuel allocated for hostcalls") {
        "the handler's answer cannot be read: it is far larger than `limits.output` allows"
            .to_owned()
    } else {
        format!("the handler's answer cannot be read: {cause}")
    }
}

/// What a passed deadline is called.
pub(super) fn deadline_passed(deadline_ms: u128) -> String {
    format!("the handler ran longer than its deadline of {deadline_ms} ms")
}

/// A trap in the words of the guest where it left some, in those of the engine otherwise.
fn trapped(trap: Trap, stderr: &[String]) -> String {
    let engine = trap.to_string();
    let engine = engine.strip_prefix("wasm trap: ").unwrap_or(&engine);
    match panic_text(stderr) {
        Some(panic) => format!("{panic} ({engine})"),
        None => format!("the handler trapped: {engine}"),
    }
}

/// The text of a panic or of an uncaught error: Rust puts place and text on two lines, other languages on one.
fn panic_text(stderr: &[String]) -> Option<String> {
    let at = stderr
        .iter()
        .rposition(|line| line.contains("panicked at "))?;
    let line = &stderr[at];
    let place = line[line.find("panicked at ")?..].trim_end_matches(':');
    match stderr.get(at + 1) {
        Some(text) if line.ends_with(':') => Some(format!("{place}: {text}")),
        _ => Some(place.to_owned()),
    }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    backtrace
        .frames()
        .iter()
        .take(FRAMES)
        .map(|frame| {
            let mut name = match frame.func_name() {
                // Without the hash at the end.
                Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
                None => format!("<function {}>", frame.func_index()),
            };
            if let Some((at, _)) = name.char_indices().nth(NAME) {
                name.truncate(at);
            }
            match frame.module().name() {
                Some(module) => format!("{module}!{name}"),
                None => name,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_rust_panic_is_one_line() {
        let stderr = lines(
            "\nhello\nthread '<unnamed>' (1) panicked at src/lib.rs:20:24:\nboom\nnote: run with RUST_BACKTRACE",
        );
        assert_eq!(
            trapped(Trap::UnreachableCodeReached, &stderr),
            "panicked at src/lib.rs:20:24: boom (wasm `unreachable` instruction executed)"
        );
        assert_eq!(
            trapped(Trap::StackOverflow, &[]),
            "the handler trapped: call stack exhausted"
        );
        assert_eq!(
            panic_text(&lines("panicked at src/x.rs:1:1:")).as_deref(),
            Some("panicked at src/x.rs:1:1")
        );
    }
}
