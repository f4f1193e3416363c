//! The engine alone: what a guest's call costs with nothing of Wharf around it.
//!
//! The same component, bindings and code settings as the plugin room's (its pool is sized by default, which a reused
//! instance does not notice), one instance per core, each in a loop of its own. What a host adds to this is the host's.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wharf::message::Message;

use crate::guest_host::cores;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::wharf::messaging::handler as wire;
use bindings::wharf::messaging::types::HeaderParam;

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// A component that was compiled for this.
pub(super) struct Bare {
    engine: Engine,
    prepared: bindings::PluginPre<Data>,
}

impl Bare {
    pub(super) fn load(component: &Path) -> anyhow::Result<Self> {
        Self::prepare(component).map_err(|error| anyhow!("{error:#}"))
    }

    fn prepare(component: &Path) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .concurrency_support(false)
            .epoch_interruption(true)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(
                PoolingAllocationConfig::new(),
            ));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let component = Component::from_file(&engine, component)?;
        let prepared = bindings::PluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, prepared })
    }

    /// So many calls, shared by as many tasks as there are cores.
    pub(super) async fn call(
        &self,
        runtime: &tokio::runtime::Handle,
        message: &Message,
        calls: u64,
    ) -> anyhow::Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..cores() {
            let (store, message) = (self.store(), message.clone());
            let prepared = self.prepared.clone();
            tasks.spawn_on(
                run(store, prepared, message, calls / cores() as u64),
                runtime,
            );
        }
        while let Some(done) = tasks.join_next().await {
            let done = done.context("a caller")?;
            done.map_err(|error| anyhow!("{error:#}"))?;
        }
        Ok(())
    }

    fn store(&self) -> Store<Data> {
        let data = Data {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&self.engine, data);
        // Nothing raises the epoch here; the checks are compiled in all the same.
        store.set_epoch_deadline(1);
        store
    }
}

async fn run(
    mut store: Store<Data>,
    prepared: bindings::PluginPre<Data>,
    message: Message,
    calls: u64,
) -> wasmtime::Result<()> {
    let plugin = prepared.instantiate_async(&mut store).await?;
    for _ in 0..calls {
        let headers: Vec<_> = message
            .headers
            .iter()
            .map(|header| HeaderParam {
                name: &header.name,
                value: &header.value,
            })
            .collect();
        let given = given(&message, &headers);
        let handler = plugin.wharf_messaging_handler();
        match handler.call_handle(&mut store, given).await? {
            Ok(outputs) => drop(black_box(outputs)),
            Err(failure) => {
                let why = format!("the guest did not handle the message: {failure:?}");
                return Err(wasmtime::Error::msg(why));
            }
        }
    }
    Ok(())
}

fn given<'a>(message: &'a Message, headers: &'a [HeaderParam<'a>]) -> wire::Message<'a> {
    wire::Message {
        id: &message.id,
        id_stable: message.id_stable,
        subscription: &message.subscription,
        topic: &message.topic,
        origin: None,
        key: message.key.as_deref(),
        headers,
        payload: &message.payload,
        tombstone: message.tombstone,
        timestamp_ms: message.timestamp_ms,
        attempt: 1,
        max_attempts: 4,
        deliveries: message.deliveries,
        time_left_ms: 5_000,
        content_type: message.content_type.as_deref(),
        correlation_id: message.correlation_id.as_deref(),
        reply_to: message.reply_to.as_deref(),
        priority: message.priority,
        expires_at_ms: message.expires_at_ms,
    }
}
