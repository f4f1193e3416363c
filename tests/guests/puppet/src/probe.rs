//! What a guest can reach without a grant. Each probe reports what it got or how it was refused.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};

pub fn probe() -> Value {
    json!({
        "env": std::env::vars().collect::<Vec<_>>(),
        "args": std::env::args().collect::<Vec<_>>(),
        "fs": {
            "read /etc/passwd": said(std::fs::read_to_string("/etc/passwd")),
            "list /": said(std::fs::read_dir("/").map(Iterator::count)),
            "list .": said(std::fs::read_dir(".").map(Iterator::count)),
            "write /tmp/wharf-probe": said(std::fs::write("/tmp/wharf-probe", "was here")),
        },
        "net": {
            "tcp connect": said(connect()),
            "tcp listen": said(TcpListener::bind("127.0.0.1:0").map(drop)),
            "udp bind": said(UdpSocket::bind("127.0.0.1:0").map(drop)),
            "resolve localhost": said("localhost:80".to_socket_addrs().map(Iterator::count)),
        },
    })
}

/// To the discard port: what matters is who refuses it.
fn connect() -> std::io::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).map(drop)
}

/// `{"ok": what was seen}` or `{"denied": the error}`.
fn said<T: serde::Serialize>(seen: std::io::Result<T>) -> Value {
    match seen {
        Ok(seen) => json!({ "ok": seen }),
        Err(error) => json!({ "denied": error.to_string() }),
    }
}
