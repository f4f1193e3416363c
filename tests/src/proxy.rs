//! A TCP proxy that can do what networks do: cut connections, swallow everything, be slow, and heal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What happens to bytes, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Held back, connections stay open: nobody hears anything. What was held flows when healed.
    BlackHole,
    /// Every piece is this late.
    Delay(Duration),
    /// New connections are closed at once.
    Refuse,
    /// The next connection to say this is closed instead.
    CutAt(&'static str),
}

/// One proxy to one port. Ends when dropped.
pub struct Proxy {
    port: u16,
    to: Arc<AtomicU16>,
    mode: Arc<watch::Sender<Mode>>,
    /// Cancelled to cut what is open; then replaced.
    open: Arc<watch::Sender<CancellationToken>>,
    _end: DropGuard,
}

impl Proxy {
    /// Forwards from a free port to `to`, both at 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        Self::start_at(0, to).await
    }

    /// The same from a port that somebody was told already; 0 is any that is free.
    pub async fn start_at(port: u16, to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let end = CancellationToken::new();
        let mode = Arc::new(watch::Sender::new(Mode::Forward));
        let open = Arc::new(watch::Sender::new(end.child_token()));
        let to = Arc::new(AtomicU16::new(to));
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(
            listener,
            Arc::clone(&to),
            Arc::clone(&mode),
            Arc::clone(&open),
        )));
        Self {
            port,
            to,
            mode,
            open,
            _end: end.drop_guard(),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections go there from now on; those that are open stay where they are.
    pub fn lead(&self, to: u16) {
        self.to.store(to, Ordering::Relaxed);
    }

    /// Closes every open connection; new ones are forwarded.
    pub fn cut(&self) {
        self.open.send_replace(CancellationToken::new()).cancel();
    }

    /// Closes every open connection and, until healed, every new one.
    pub fn refuse(&self) {
        // Before the mode changes, so that nothing that was held back gets through; and after, for who came between.
        self.cut();
        self.mode.send_replace(Mode::Refuse);
        self.cut();
    }

    /// Closes the next connection that says this, before it is heard. New ones are forwarded.
    pub fn cut_at(&self, word: &'static str) {
        self.mode.send_replace(Mode::CutAt(word));
    }

    /// Whether a connection said so.
    pub fn has_cut(&self) -> bool {
        !matches!(*self.mode.borrow(), Mode::CutAt(_))
    }

    /// Lets nothing through and closes nothing.
    pub fn black_hole(&self) {
        self.mode.send_replace(Mode::BlackHole);
    }

    /// Makes every piece of data late by `by`.
    pub fn delay(&self, by: Duration) {
        self.mode.send_replace(Mode::Delay(by));
    }

    /// Forwards again.
    pub fn heal(&self) {
        self.mode.send_replace(Mode::Forward);
    }
}

async fn accept(
    listener: TcpListener,
    to: Arc<AtomicU16>,
    mode: Arc<watch::Sender<Mode>>,
    open: Arc<watch::Sender<CancellationToken>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *mode.borrow() == Mode::Refuse {
            continue;
        }
        let token = open.borrow().clone();
        let to = to.load(Ordering::Relaxed);
        let mode = Arc::clone(&mode);
        tokio::spawn(async move {
            // The cut first: what was held back must not slip through with it.
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = join(client, to, mode) => {}
            }
        });
    }
}

async fn join(client: TcpStream, to: u16, mode: Arc<watch::Sender<Mode>>) {
    heard(&mode).await;
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &mode) => {}
        () = pump(from_server, to_client, &mode) => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mode: &watch::Sender<Mode>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut piece).await {
        if n == 0 {
            return;
        }
        match heard(mode).await {
            Mode::Delay(by) => tokio::time::sleep(by).await,
            Mode::CutAt(word) if says(&piece[..n], word) => {
                mode.send_replace(Mode::Forward);
                return;
            }
            _ => {}
        }
        if to.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}

/// Waits until something may be heard; what happens then.
async fn heard(mode: &watch::Sender<Mode>) -> Mode {
    let mut mode = mode.subscribe();
    let now = mode.wait_for(|m| *m != Mode::BlackHole).await;
    *now.expect("its sender is ours")
}

fn says(piece: &[u8], word: &str) -> bool {
    piece.windows(word.len()).any(|w| w == word.as_bytes())
}
