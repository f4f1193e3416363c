//! Files change under a running plugin: nothing is lost or repeated, a bad version changes nothing, an old one goes.

mod files;
mod start;
mod store;
mod versions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;
use wharf::handler::{Handler, Outcome};
use wharf::plugin::{PluginHandle, Watcher};
use wharf_tests::guests::guest;
use wharf_tests::plugins::{ATTEMPT, Host, message, settings, until};

const COMPILER: &str = env!("CARGO_BIN_EXE_compile-component");

/// A host with one plugin whose file is `component`, and a watcher on it.
struct Watched {
    host: Host,
    plugin: Arc<PluginHandle>,
    _watcher: Watcher,
    /// The watcher's own, as in the host: guests that spin must not keep it from looking.
    _runtime: tokio::runtime::Runtime,
}

impl Watched {
    fn start(component: &Path) -> Self {
        let host = Host::start(COMPILER);
        let plugin = host.try_add(settings("p", component)).expect("a plugin");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let watcher = runtime.block_on(async { Watcher::start(&host.catalog) });
        Self {
            host,
            plugin,
            _watcher: watcher,
            _runtime: runtime,
        }
    }

    fn digest(&self) -> String {
        digest(&self.plugin)
    }

    fn swaps(&self, result: &str) -> u32 {
        let line = format!("wharf_swaps_total{{plugin=\"p\",result=\"{result}\"}}");
        self.host.metric(&line).map_or(0, |n| n as u32)
    }

    /// Waits for another version than `old` and answers its digest.
    fn swapped_from(&self, old: &str) -> String {
        until("a new version", || {
            Some(self.digest()).filter(|new| new != old)
        })
    }
}

fn digest(plugin: &PluginHandle) -> String {
    let version = plugin.status().version.expect("a version");
    version.digest.to_string()
}

/// Copies the guest `name` over `path`, in place.
fn put(name: &str, path: &Path) {
    std::fs::copy(guest(name), path).expect("copied");
}

/// Two tasks that call without a pause until told to stop. Each call must be handled, once, with its own payload.
struct Calls {
    stop: Arc<AtomicBool>,
    /// Calls made by each task.
    made: [Arc<AtomicU64>; 2],
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Calls {
    fn start(watched: &Watched) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let made = [Arc::default(), Arc::default()];
        let tasks = (made.iter().enumerate())
            .map(|(task, made): (usize, &Arc<AtomicU64>)| {
                let (plugin, stop) = (Arc::clone(&watched.plugin), Arc::clone(&stop));
                let made = Arc::clone(made);
                watched.host.runtime.handle().spawn(async move {
                    let mut versions = Vec::new();
                    for n in 0_u64.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let payload = format!("{task}-{n}");
                        let handled = plugin.handle(&message(payload.clone()), ATTEMPT).await;
                        let Ok(Outcome::Done(outputs)) = handled.result else {
                            panic!("{payload}: {:?}", handled.result);
                        };
                        assert_eq!(outputs.len(), 1, "{payload}");
                        assert_eq!(&*outputs[0].payload, payload.as_bytes());
                        if versions
                            .last()
                            .is_none_or(|last: &String| **last != *handled.version)
                        {
                            versions.push(handled.version.to_string());
                        }
                        made.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                    versions
                })
            })
            .collect();
        Self { stop, made, tasks }
    }

    /// Waits until every task has made a call from beginning to end.
    fn go_on(&self) {
        for made in &self.made {
            let before = made.load(Ordering::Relaxed);
            until("calls go on", || {
                (made.load(Ordering::Relaxed) >= before + 2).then_some(())
            });
        }
    }

    /// The versions each task saw, in order.
    fn stop(self, host: &Host) -> Vec<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let wait = |task: JoinHandle<_>| {
            host.runtime
                .handle()
                .block_on(task)
                .expect("every call was handled")
        };
        self.tasks.into_iter().map(wait).collect()
    }
}
