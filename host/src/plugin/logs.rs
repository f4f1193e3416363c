//! What guests write to stdout and stderr, as log lines that name plugin, version and message.
//!
//! Bounded three ways: bytes shown per message, lines shown per plugin and second, and the length of a line. What is
//! beyond a bound is counted, not shown. The last lines of stderr are kept for the fault whatever the bounds say,
//! because a panic's text comes last.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::telemetry::PluginMetrics;

/// Lines of stderr kept for a fault.
const TAIL_LINES: usize = 20;
/// Bytes of one line, shown or kept; longer ones are cut into several.
const LINE: usize = 2048;
/// What a guest may write at once.
const PERMIT: usize = 64 << 10;

/// Lines shown per second, shared by all instances of one plugin.
#[derive(Debug)]
pub(super) struct Rate {
    /// The current second and the lines shown in it.
    window: Mutex<(Instant, u32)>,
    lines_per_second: u32,
}

impl Rate {
    pub(super) fn new(lines_per_second: u32) -> Arc<Self> {
        Arc::new(Self {
            window: Mutex::new((Instant::now(), 0)),
            lines_per_second,
        })
    }

    fn allow(&self, now: Instant) -> bool {
        let mut window = self.window.lock();
        if now.duration_since(window.0).as_secs() >= 1 {
            *window = (now, 0);
        }
        let allowed = window.1 < self.lines_per_second;
        window.1 += u32::from(allowed);
        allowed
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The two streams of one instance.
///
/// The lock is held by the guest while it writes and by the host before and after a call; an instance runs one call
/// at a time, so nobody waits for it.
#[derive(Clone)]
pub(super) struct Logs(Arc<Mutex<State>>);

struct State {
    plugin: Arc<str>,
    version: Arc<str>,
    rate: Arc<Rate>,
    metrics: Arc<PluginMetrics>,
    /// Bytes shown for one message, and what is left of them.
    bytes_per_message: u32,
    left: u32,
    message_id: ByteString,
    /// The unfinished line of either stream, at most [`LINE`] bytes.
    partial: [Vec<u8>; 2],
    /// The last lines of stderr, at most [`TAIL_LINES`].
    tail: VecDeque<String>,
}

impl Logs {
    pub(super) fn new(
        plugin: Arc<str>,
        version: Arc<str>,
        bytes_per_message: u32,
        rate: Arc<Rate>,
        metrics: Arc<PluginMetrics>,
    ) -> Self {
        Self(Arc::new(Mutex::new(State {
            plugin,
            version,
            rate,
            metrics,
            bytes_per_message,
            left: bytes_per_message,
            message_id: ByteString::new(),
            partial: [Vec::new(), Vec::new()],
            tail: VecDeque::new(),
        })))
    }

    /// A message begins.
    pub(super) fn begin(&self, message_id: &ByteString) {
        let mut state = self.0.lock();
        state.left = state.bytes_per_message;
        state.message_id = message_id.clone();
        state.tail.clear();
    }

    /// A message is over: unfinished lines are shown.
    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        for stream in [Stream::Stdout, Stream::Stderr] {
            state.finish(stream);
        }
    }

    /// The last lines of stderr, oldest first.
    pub(super) fn tail(&self) -> Vec<String> {
        self.0.lock().tail.iter().cloned().collect()
    }

    pub(super) fn pipe(&self, stream: Stream) -> Pipe {
        Pipe {
            logs: self.clone(),
            stream,
        }
    }
}

impl State {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            for chunk in text.chunks(LINE) {
                if self.partial[stream as usize].len() + chunk.len() > LINE {
                    self.finish(stream);
                }
                self.partial[stream as usize].extend_from_slice(chunk);
            }
            if ended {
                self.finish(stream);
            }
        }
    }

    fn finish(&mut self, stream: Stream) {
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        if !partial.is_empty() {
            self.line(stream, &partial);
        }
        partial.clear();
        self.partial[stream as usize] = partial;
    }

    fn line(&mut self, stream: Stream, bytes: &[u8]) {
        let cost = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let shown = self.left >= cost && self.rate.allow(Instant::now());
        let kept = stream == Stream::Stderr;
        if !shown {
            self.metrics.log_dropped.inc();
        }
        if !shown && !kept {
            return;
        }
        let text = printable(bytes);
        if shown {
            self.left -= cost;
            tracing::info!(
                target: "guest",
                plugin = &*self.plugin,
                version = &*self.version,
                message_id = &*self.message_id,
                stream = stream.as_str(),
                "{text}"
            );
        }
        if kept {
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(text);
        }
    }
}

/// Text that cannot move a terminal's cursor: control characters are escaped, what is not UTF-8 is replaced.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end_matches('\r').chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// One stream as the guest sees it: never full, never failing.
pub(super) struct Pipe {
    logs: Logs,
    stream: Stream,
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.logs.pipe(self.stream))
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.logs.pipe(self.stream))
    }
}

impl Pollable for Pipe {
    // What the `async_trait` macro of the trait expands to.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.logs.0.lock().write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.logs.0.lock().write(self.stream, bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn logs(bytes: u32, lines: u32) -> (Logs, Arc<PluginMetrics>) {
        let metrics = Metrics::new().plugin("p");
        let logs = Logs::new(
            "p".into(),
            "v".into(),
            bytes,
            Rate::new(lines),
            Arc::clone(&metrics),
        );
        (logs, metrics)
    }

    fn write(logs: &Logs, text: &str) {
        logs.0.lock().write(Stream::Stderr, text.as_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_shows_so_many_lines_a_second() {
        let (logs, metrics) = logs(1000, 2);
        write(&logs, "a\nb\nc\nd\n");
        assert_eq!(metrics.log_dropped.get(), 2);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        write(&logs, "e\n");
        assert_eq!(metrics.log_dropped.get(), 2);
    }

    #[tokio::test]
    async fn a_message_shows_so_many_bytes_and_keeps_its_last_lines() {
        let (logs, metrics) = logs(10, 1000);
        logs.begin(&"1".into());
        for n in 0..30 {
            write(&logs, &format!("line {n}\n"));
        }
        assert_eq!(metrics.log_dropped.get(), 29);
        let tail = logs.tail();
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().map(String::as_str), Some("line 29"));
        logs.begin(&"2".into());
        assert_eq!(logs.tail(), Vec::<String>::new());
        write(&logs, "again\n");
        assert_eq!(
            metrics.log_dropped.get(),
            29,
            "each message has its own bytes"
        );
    }

    #[tokio::test]
    async fn lines_are_put_together_cut_and_made_printable() {
        let (logs, _metrics) = logs(u32::MAX, u32::MAX);
        write(&logs, "one ");
        write(&logs, "line\n\ntwo\x1b[31m\r\n");
        logs.0.lock().write(Stream::Stderr, b"\xff\xfe");
        logs.end();
        assert_eq!(
            logs.tail(),
            ["one line", "two\\u{1b}[31m", "\u{fffd}\u{fffd}"]
        );
        logs.begin(&"2".into());
        write(&logs, &"x".repeat(LINE * 2 + 1));
        logs.end();
        let lengths: Vec<_> = logs.tail().iter().map(String::len).collect();
        assert_eq!(lengths, [LINE, LINE, 1]);
    }
}
