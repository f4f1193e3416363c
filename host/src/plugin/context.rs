//! What belongs to one store: an empty WASI context, the limiter, and what the guest's turn and clock need.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;

use super::limits::Limiter;
use super::logs::{Logs, Stream};

/// Bytes of randomness a guest may ask for at once.
const RANDOM: u64 = 64 << 10;
/// Resources (streams, pollables) a guest may hold at once.
const RESOURCES: usize = 4096;

/// The data of one store.
pub(super) struct Context {
    wasi: WasiCtx,
    table: ResourceTable,
    /// What `wasi:config/store` answers; empty where it is not granted, and then not linked either.
    config: Arc<WasiConfigVariables>,
    pub(super) limiter: Limiter,
}

impl Context {
    /// No files, no environment, no arguments, no sockets, no names; stdout and stderr go to `logs`.
    pub(super) fn new(logs: &Logs, config: Arc<WasiConfigVariables>, limiter: Limiter) -> Self {
        let wasi = WasiCtx::builder()
            .stdout(logs.pipe(Stream::Stdout))
            .stderr(logs.pipe(Stream::Stderr))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Self {
            wasi,
            table,
            config,
            limiter,
        }
    }

    pub(super) fn config(&mut self) -> wasmtime_wasi_config::WasiConfig<'_> {
        (&*self.config).into()
    }
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
