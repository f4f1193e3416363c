//! What keeps one instance within its memory: asked by the engine before every growth.
//!
//! A denied growth traps with an error of ours instead of answering the guest −1: the guest would turn that into an
//! `unreachable` of its own, and memory could not be told from any other trap.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::budget::Budget;
use crate::telemetry::PluginMetrics;

/// Core instances of one component. Python components have some thirty.
const INSTANCES: usize = 256;
const MEMORIES: usize = 8;
const TABLES: usize = 64;
const TABLE_ELEMENTS: usize = 1 << 20;

/// Why memory was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// The plugin's own limit.
    #[error("the handler wanted {wanted} of memory, its limit is {limit}", wanted = Mib(*.wanted), limit = Mib(*.limit))]
    Limit {
        /// Bytes the instance would have had.
        wanted: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// The sum over all plugins.
    #[error("no room in the guest budget of {limit} for {wanted} more", wanted = Mib(*.wanted), limit = Mib(*.limit))]
    Budget {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes all guests together may have.
        limit: u64,
    },
}

/// Shown in whole MiB where it is that, in KiB otherwise.
struct Mib(u64);

impl std::fmt::Display for Mib {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            n if n % (1 << 20) == 0 => write!(f, "{} MiB", n >> 20),
            n => write!(f, "{} KiB", n >> 10),
        }
    }
}

/// Counts the linear memory of one instance and gives it back when dropped.
pub(super) struct Limiter {
    /// Bytes this instance may have: its plugin's limit, or the whole budget where that is less.
    limit: u64,
    used: u64,
    /// What the last permitted growth added, taken back should the engine then fail to carry it out.
    last: u64,
    budget: Arc<Budget>,
    metrics: Arc<PluginMetrics>,
}

impl Limiter {
    pub(super) fn new(limit: u64, budget: Arc<Budget>, metrics: Arc<PluginMetrics>) -> Self {
        Self {
            limit: limit.min(budget.limit()),
            used: 0,
            last: 0,
            budget,
            metrics,
        }
    }

    /// Bytes of linear memory now.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Bytes there may be.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    fn take(&mut self, more: u64) -> Result<(), Denied> {
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            return Err(Denied::Limit {
                wanted,
                limit: self.limit,
            });
        }
        if !self.budget.take(more) {
            return Err(Denied::Budget {
                wanted: more,
                limit: self.budget.limit(),
            });
        }
        self.used = wanted;
        self.last = more;
        self.metrics.memory.inc_by(signed(more));
        Ok(())
    }

    fn give(&mut self, bytes: u64) {
        self.used -= bytes;
        self.budget.give(bytes);
        self.metrics.memory.dec_by(signed(bytes));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.give(self.used);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last = 0;
        let more = desired.saturating_sub(current) as u64;
        // The module's own maximum is not ours to judge: it is told −1, as the specification says.
        if maximum.is_some_and(|maximum| desired > maximum) && self.used + more <= self.limit {
            return Ok(false);
        }
        self.take(more)?;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let last = std::mem::take(&mut self.last);
        self.give(last);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
