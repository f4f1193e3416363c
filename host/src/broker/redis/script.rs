//! The server-side scripts: one round trip each, atomic, and by hash after the first use.
//!
//! A script decides by the same look at the data that it acts on; that is what fences a stale owner. The source text
//! travels only when the server does not know the hash (after a restart or SCRIPT FLUSH).

use redis::{Cmd, RedisError, Value};

use super::connection::{Link, is_code};
use super::queue;

/// One script and its hash.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// All of them, hashed once per broker.
pub(super) struct Scripts {
    /// Settles a batch, with outputs.
    pub(super) settle: Script,
    /// Registers, renews and closes a host.
    pub(super) lease: Script,
    /// Takes over what a dead host left.
    pub(super) take: Script,
    /// Forgets a dead host that has nothing left.
    pub(super) forget: Script,
    /// Reads entries again, by id.
    pub(super) load: Script,
    /// Moves one entry from a stream to another.
    pub(super) redrive: Script,
    /// Counts what a group has not read.
    pub(super) unread: Script,
    /// Looks into a list or a sorted set.
    pub(super) look: Script,
    /// Moves an item out of one.
    pub(super) moves: Script,
    /// Those for lists and sorted sets.
    pub(super) queue: queue::Scripts,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            settle: Script::new(concat!(
                include_str!("outputs.lua"),
                include_str!("settle.lua")
            )),
            lease: Script::new(include_str!("lease.lua")),
            take: Script::new(include_str!("take.lua")),
            forget: Script::new(include_str!("forget.lua")),
            load: Script::new(include_str!("load.lua")),
            redrive: Script::new(include_str!("redrive.lua")),
            unread: Script::new(include_str!("unread.lua")),
            look: Script::new(include_str!("look.lua")),
            moves: Script::new(include_str!("move.lua")),
            queue: queue::Scripts::new(),
        }
    }
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: redis::Script::new(text).get_hash().to_owned(),
        }
    }

    /// A call with these keys; the caller adds the arguments.
    pub(super) fn call(&self, keys: &[&str]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.hash.as_str()).arg(keys.len()).arg(keys);
        cmd
    }

    /// The same call, with the text in the place of the hash.
    fn with_text(&self, call: &Cmd) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(self.text);
        for arg in call.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }

    /// Carries out a [`call`](Self::call).
    pub(super) async fn run(&self, link: &Link, call: &Cmd) -> Result<Value, RedisError> {
        match link.query(call).await {
            // By its text: what carries it out keeps it, and in a cluster that is the node that needs it.
            Err(e) if is_code(&e, "NOSCRIPT") => link.query(&self.with_text(call)).await,
            answer => answer,
        }
    }
}
