//! Ports at 127.0.0.1 for servers that are told theirs.
//!
//! A server is told its port before it listens there, and started again there after it was killed. A port that the system
//! calls free is nobody's until then: meanwhile it may give it to another test's server, or to a connection that goes out, and
//! the first of these would answer in the place of the one that is down. So ports come from below those that the system
//! gives out by itself, in blocks. A process has a block while it listens at its first port; within it none is given out twice.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// A node of a Redis Cluster listens 10,000 above its port as well: below 32,768, too, where Linux begins unless told otherwise.
const FIRST: u16 = 10_000;
/// How many ports a block has.
const BLOCK: u16 = 100;
/// How many blocks there are.
const BLOCKS: u16 = 100;

/// A port that nobody listens at, and that no other test is given, of this process or another.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports::new());
    PORTS
        .lock()
        .expect("no panic while a port is looked for")
        .next()
}

/// The blocks of a process.
struct Ports {
    /// Listen at the first port of each.
    blocks: Vec<TcpListener>,
    /// What is left of the last.
    left: Range<u16>,
}

impl Ports {
    const fn new() -> Self {
        Self {
            blocks: Vec::new(),
            left: 0..0,
        }
    }

    fn next(&mut self) -> u16 {
        loop {
            // One that somebody else has chosen is left out.
            if let Some(port) = self.left.find(|port| listen(*port).is_some()) {
                return port;
            }
            let (block, first) = block().expect("a block of ports that no other process has");
            self.blocks.push(block);
            self.left = first + 1..first + BLOCK;
        }
    }
}

/// A block that was nobody's. Processes begin in different places, so that what one of them left behind is not taken for
/// the next one's.
fn block() -> Option<(TcpListener, u16)> {
    let start = std::process::id() % u32::from(BLOCKS);
    let start = u16::try_from(start).unwrap_or_default();
    let mut firsts = (0..BLOCKS).map(|n| FIRST + (start + n) % BLOCKS * BLOCK);
    firsts.find_map(|first| Some((listen(first)?, first)))
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_are_given_the_same_port() {
        // As two processes have them.
        let (mut one, mut other) = (Ports::new(), Ports::new());
        let mut seen = HashSet::new();
        for _ in 0..2 * BLOCK {
            for port in [one.next(), other.next()] {
                // Whoever has it is down just now.
                assert!(seen.insert(port), "{port} twice");
                assert!((FIRST..FIRST + BLOCKS * BLOCK).contains(&port), "{port}");
            }
        }
    }

    #[test]
    fn a_port_somebody_listens_at_is_left_out() {
        let mut ports = Ports::new();
        let next = ports.next() + 1;
        let Some(_somebody) = listen(next) else {
            // Somebody else does.
            return;
        };
        assert_ne!(ports.next(), next);
    }
}
