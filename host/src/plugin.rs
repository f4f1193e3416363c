//! Everything Wasm: from a component's file to a [`Handler`](crate::handler::Handler).
//!
//! A [`GuestRuntime`] owns the engine and the threads guests run on. A [`Catalog`] loads plugins into it and swaps
//! their versions. A [`PluginHandle`] is one plugin in life. What a guest gets is what its [`Settings`] grant; the
//! rest of the host never sees wasmtime.
//!
//! Reading order: `engine`, `contract`, `component`, `version`, `handle`, `instance`, `call`.

mod budget;
mod call;
mod catalog;
mod clock;
mod compile;
mod component;
mod context;
mod contract;
mod engine;
mod fault;
mod handle;
mod idle;
mod inspect;
mod instance;
mod limits;
mod logs;
mod outputs;
mod places;
mod plugin_parts;
mod ran;
mod reload;
mod runtime;
pub mod settings;
mod store;
mod swap_space;
mod ticker;
mod turns;
mod version;

pub use catalog::{Catalog, Swapped};
pub use compile::{COMMAND as COMPILE_COMMAND, compile_main};
pub use component::{Import, Need};
pub use engine::{Engine, EngineSettings};
pub use handle::{PluginHandle, Status, VersionStatus};
pub use inspect::{Inspection, inspect};
pub use reload::Watcher;
pub use runtime::GuestRuntime;
pub use settings::Settings;
pub use store::{CodeStore, Compiler};

/// Why a component or the engine is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine cannot be had on this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is something else.
    #[error("not a component but {0}")]
    NotAComponent(&'static str),
    /// It is a component and not a valid one, or one this engine cannot run.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// It uses the async form of the component model.
    #[error(
        "the component uses the component model's async form, which this host does not run yet; build it with synchronous exports and imports"
    )]
    Async,
    /// It is not the one that was pinned.
    #[error("the component's digest is {found}, the configuration wants {wanted}")]
    Digest {
        /// In the configuration.
        wanted: String,
        /// Of the file.
        found: String,
    },
    /// It exports nothing this host calls.
    #[error("the component does not export `{handler}`; it exports {exports}", handler = contract::v0_1_0_rc::HANDLER)]
    NoHandler {
        /// What it does export.
        exports: String,
    },
    /// It was built for another version of the contract.
    #[error("the component exports `{found}`, this host runs `{handler}`; build it against that version", handler = contract::v0_1_0_rc::HANDLER)]
    ForeignVersion {
        /// What it exports.
        found: String,
    },
    /// It takes batches only.
    #[error("the component exports only `{batch}`, which is not supported yet; export `{handler}`", batch = contract::v0_1_0_rc::BATCH_HANDLER, handler = contract::v0_1_0_rc::HANDLER)]
    BatchOnly,
    /// The names are right and the types are not.
    #[error("the component's handler is not of the contract's type: {0}")]
    WrongType(String),
    /// It wants what it is not given. One sentence per import.
    #[error("the component {}", .0.join("; it "))]
    Imports(Vec<String>),
    /// It cannot be linked although its imports have the right names.
    #[error("the component cannot be linked: {0}")]
    Link(String),
    /// The folder of compiled code cannot be used.
    #[error("the folder {path} cannot hold compiled code: {reason}", path = .path.display())]
    Store {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no such plugin.
    #[error("there is no plugin `{0}`")]
    NoPlugin(String),
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// It does not start within its limits.
    #[error("the component does not start: {0}")]
    Probe(String),
}
