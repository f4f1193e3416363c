//! The one engine all plugins share, and what is counted for all of them: places in the instance pool, the guest
//! budget, turns and ticks.
//!
//! Instances come from wasmtime's pooling allocator, which answers a full pool with an error; so a semaphore stands in
//! front of it and callers wait. Idle instances hold their places: who waits for one says so, idle instances are
//! dropped, and none is kept while somebody waits.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::budget::Budget;
use super::context::Context;
use super::handle::PluginHandle;
use super::ticker::Ticker;
use super::turns::{PluginId, Turns};
use super::{Error, swap_space};

/// Bytes of an instance's memory that are kept when its place is freed: enough for messages up to some 64 KiB.
const KEEP_RESIDENT: usize = 512 << 10;
/// The same where dirty pages cannot be asked for and keeping means clearing.
const KEEP_RESIDENT_CLEARED: usize = 128 << 10;
/// Stack of a guest. What is above it belongs to host functions.
const GUEST_STACK: usize = 2 << 20;
const ASYNC_STACK: usize = 4 << 20;

/// What the engine is sized from.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// Sandboxes at most: the sum over all plugins. Two more are reserved for probes.
    pub instances: u32,
    /// The largest memory limit of any plugin, in bytes.
    pub max_memory: u64,
    /// Linear memory of all instances together, in bytes.
    pub guest_budget: u64,
    /// Threads that run guests, at least 1.
    pub workers: usize,
}

/// Places reserved for probes of new versions.
const PROBES: u32 = 2;
/// Below this many places halving stops.
const FEWEST: u32 = 2;

/// The engine and what all plugins share.
pub struct Engine {
    engine: wasmtime::Engine,
    pub(super) linkers: Linkers,
    pub(super) budget: Arc<Budget>,
    pub(super) ticker: Arc<Ticker>,
    pub(super) turns: Arc<Turns>,
    /// Places in the instance pool. Taken before an instance is made and kept until it is dropped, idle or not.
    slots: Arc<Semaphore>,
    /// Calls waiting for a place. While there are any, no instance is kept idle.
    starving: AtomicUsize,
    /// Every plugin that may have idle instances. Written when a plugin is loaded, read by sweeps.
    plugins: Mutex<Vec<Weak<PluginHandle>>>,
    next_plugin: AtomicU32,
}

/// The two sets of imports there are.
pub(super) struct Linkers {
    /// WASI with an empty context.
    pub(super) plain: Linker<Context>,
    /// The same and `wasi:config/store`.
    pub(super) config: Linker<Context>,
}

impl Engine {
    /// Reserves the pool and starts the ticker. Where the address space cannot hold so many instances, half of them
    /// is tried and so on, with a warning.
    pub fn new(settings: EngineSettings) -> Result<Arc<Self>, Error> {
        let mut places = settings.instances.saturating_add(PROBES);
        let engine = loop {
            match wasmtime::Engine::new(&config(places, settings.max_memory)) {
                Ok(engine) => break engine,
                Err(error) if places / 2 >= FEWEST => {
                    tracing::warn!(
                        wanted = places,
                        trying = places / 2,
                        %error,
                        "the address space cannot hold that many sandboxes; fewer will run at once"
                    );
                    places /= 2;
                }
                Err(error) => return Err(Error::Engine(error.to_string())),
            }
        };
        let ticker = Ticker::start(engine.weak()).map_err(|e| Error::Engine(e.to_string()))?;
        Ok(Arc::new(Self {
            linkers: Linkers::new(&engine).map_err(|e| Error::Engine(e.to_string()))?,
            engine,
            budget: Arc::new(Budget::new(settings.guest_budget)),
            ticker,
            turns: Turns::new(settings.workers),
            slots: Arc::new(Semaphore::new(places as usize)),
            starving: AtomicUsize::new(0),
            plugins: Mutex::new(Vec::new()),
            next_plugin: AtomicU32::new(0),
        }))
    }

    /// An engine that only compiles: the same code, and no address space reserved.
    pub(super) fn compiler() -> Result<wasmtime::Engine, Error> {
        wasmtime::Engine::new(&code_config()).map_err(|e| Error::Engine(format!("{e:#}")))
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Bytes of linear memory in use, and how many there may be.
    pub fn memory(&self) -> (u64, u64) {
        (self.budget.used(), self.budget.limit())
    }

    pub(super) fn next_plugin(&self) -> PluginId {
        PluginId(self.next_plugin.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn register(&self, plugin: &Arc<PluginHandle>) {
        let mut plugins = self.plugins.lock();
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Arc::downgrade(plugin));
    }

    pub(super) fn plugins(&self) -> Vec<Arc<PluginHandle>> {
        self.plugins
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// A place in the pool. Idle instances of all plugins go when there is none left.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        let _starving = Starving::new(&self.starving);
        for plugin in self.plugins() {
            plugin.drop_idle();
        }
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Whether a call waits for a place: then nothing is kept idle.
    pub(super) fn is_starving(&self) -> bool {
        self.starving.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}

struct Starving<'a>(&'a AtomicUsize);

impl<'a> Starving<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Linkers {
    fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let mut plain = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut plain)?;
        let mut config = plain.clone();
        wasmtime_wasi_config::add_to_linker(&mut config, Context::config)?;
        Ok(Self { plain, config })
    }
}

/// What shapes compiled code. The pool does not, so the compiler does without it.
fn code_config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(false)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(ASYNC_STACK);
    config
}

fn config(places: u32, max_memory: u64) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // Two memories per component: some JavaScript engines have them. Core instances and tables are counted in sum,
    // and language runtimes that are linked at run time have dozens.
    pool.total_component_instances(places)
        .total_core_instances(places.saturating_mul(64))
        .total_memories(places.saturating_mul(2))
        .total_tables(places.saturating_mul(8))
        .total_stacks(places)
        .table_elements(64 << 10)
        .max_memory_size(usize::try_from(max_memory.max(64 << 10)).unwrap_or(usize::MAX))
        .table_keep_resident(64 << 10)
        .decommit_batch_size(1);
    // Dirty pages that were swapped out are not found by the scan, and the next guest would read them.
    if swap_space::possible() {
        pool.pagemap_scan(Enabled::No)
            .linear_memory_keep_resident(KEEP_RESIDENT_CLEARED);
    } else {
        pool.pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(KEEP_RESIDENT);
    }
    let mut config = code_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
