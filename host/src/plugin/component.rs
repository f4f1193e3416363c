//! What a component is, found by its type before anything of it runs: which contract it exports, and whether every
//! import is one this host gives.

use std::fmt;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::Error;
use super::contract::shape::Func;
use super::contract::v0_1_0_rc as v1;
use super::contract::{PACKAGE, Prepared};
use super::engine::Engine;

/// WASI 0.2 packages that are linked with nothing behind them.
const WASI: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];
const CONFIG: &str = "wasi:config/";

/// One import and what it takes to satisfy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// As the component names it.
    pub name: String,
    /// What it takes.
    pub need: Need,
}

/// What it takes to satisfy an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every plugin gets it, with nothing behind it.
    Nothing,
    /// `grants.config`.
    Config,
    /// This host does not have it.
    Unsupported,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Config => "grants.config",
            Self::Unsupported => "not supported",
        })
    }
}

impl Import {
    fn new(name: &str) -> Self {
        let wasi = WASI.iter().any(|prefix| name.starts_with(prefix));
        let need = if (wasi && name.contains("@0.2.")) || name == v1::TYPES {
            Need::Nothing
        } else if name.starts_with(CONFIG) {
            Need::Config
        } else {
            Need::Unsupported
        };
        Self {
            name: name.to_owned(),
            need,
        }
    }

    /// Why this import is refused, and what to do about it.
    fn refusal(&self) -> String {
        let name = &self.name;
        match self.need {
            Need::Config => {
                format!("imports `{name}`: grant it with `grants: {{ config: {{…}} }}`")
            }
            _ if name.starts_with("wasi:http/") => format!(
                "imports `{name}`, and handlers have no network in this version; JavaScript is built without it by \
                 `--disable http fetch-event`"
            ),
            _ if name.contains("@0.3.") => format!(
                "imports `{name}`, which is WASI 0.3; build for WASI 0.2 (Rust: target wasm32-wasip2)"
            ),
            _ => format!("imports `{name}`, which this host does not have"),
        }
    }
}

/// What a component exports and imports.
pub(super) struct Surface {
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<Import>,
}

impl Surface {
    pub(super) fn of(component: &Component) -> Self {
        let engine = component.engine();
        let ty = component.component_type();
        Self {
            exports: ty
                .exports(engine)
                .map(|(name, _)| name.to_owned())
                .collect(),
            imports: ty
                .imports(engine)
                .map(|(name, _)| Import::new(name))
                .collect(),
        }
    }

    /// Refuses all imports at once that are not given.
    pub(super) fn check_imports(&self, config: bool) -> Result<(), Error> {
        let refused: Vec<_> = self
            .imports
            .iter()
            .filter(|import| match import.need {
                Need::Nothing => false,
                Need::Config => !config,
                Need::Unsupported => true,
            })
            .map(Import::refusal)
            .collect();
        if refused.is_empty() {
            Ok(())
        } else {
            Err(Error::Imports(refused))
        }
    }
}

/// Refuses what is not a component before it is compiled, with a word on how it came about.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), Error> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Error::NotAComponent(
            "a core module: build for wasm32-wasip2 (Rust), or turn it into a component with `wasm-tools component new`",
        )),
        [0x7f, b'E', b'L', b'F', ..] => Err(Error::NotAComponent(
            "compiled code: give the .wasm, the host compiles it itself",
        )),
        [] => Err(Error::NotAComponent("an empty file")),
        _ => Err(Error::NotAComponent("not WebAssembly at all, or cut short")),
    }
}

/// Checks exports and imports and links the component. `config`: whether `wasi:config/store` is granted.
pub(super) fn prepare(
    engine: &Engine,
    component: &Component,
    config: bool,
) -> Result<Prepared, Error> {
    let surface = Surface::of(component);
    check_exports(component, &surface)?;
    surface.check_imports(config)?;
    let linker = if config {
        &engine.linkers.config
    } else {
        &engine.linkers.plain
    };
    let link = || {
        let pre = linker.instantiate_pre(component)?;
        v1::PluginPre::new(pre)
    };
    link()
        .map(Prepared::V0_1_0Rc)
        .map_err(|error| Error::Link(format!("{error:#}")))
}

pub(super) fn check_exports(component: &Component, surface: &Surface) -> Result<(), Error> {
    let engine = component.engine();
    let ty = component.component_type();
    let Some(export) = ty.get_export(engine, v1::HANDLER) else {
        return Err(no_handler(surface));
    };
    let ComponentItem::ComponentInstance(interface) = export.ty else {
        return Err(Error::WrongType(format!(
            "`{}` is not an interface",
            v1::HANDLER
        )));
    };
    let handle = interface
        .get_export(engine, "handle")
        .map(|export| export.ty);
    let Some(ComponentItem::ComponentFunc(handle)) = handle else {
        return Err(Error::WrongType("it has no function `handle`".into()));
    };
    match v1::HANDLE.difference(&Func::from(&handle)) {
        Some(difference) => Err(Error::WrongType(difference)),
        None => Ok(()),
    }
}

fn no_handler(surface: &Surface) -> Error {
    let has = |name: &str| surface.exports.iter().any(|export| export == name);
    if has(v1::BATCH_HANDLER) {
        return Error::BatchOnly;
    }
    let foreign = surface
        .exports
        .iter()
        .find(|export| export.starts_with(PACKAGE));
    match foreign {
        Some(found) => Error::ForeignVersion {
            found: found.clone(),
        },
        None => Error::NoHandler {
            exports: if surface.exports.is_empty() {
                "nothing".into()
            } else {
                surface.exports.join(", ")
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_say_what_they_need() {
        for (name, need) in [
            ("wasi:cli/environment@0.2.6", Need::Nothing),
            ("wasi:sockets/tcp@0.2.12", Need::Nothing),
            ("wasi:cli/environment@0.3.0", Need::Unsupported),
            ("wasi:config/store@0.2.0-rc.1", Need::Config),
            ("wasi:http/types@0.2.10", Need::Unsupported),
            ("acme:things/stuff", Need::Unsupported),
        ] {
            assert_eq!(Import::new(name).need, need, "{name}");
        }
        assert!(
            Import::new("wasi:http/types@0.2.10")
                .refusal()
                .contains("--disable http fetch-event")
        );
    }

    #[test]
    fn bytes_that_are_no_component_are_named() {
        let said = |bytes: &[u8]| {
            check_bytes(bytes)
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert!(said(b"\0asm\x01\0\0\0").contains("core module"));
        assert!(said(b"").contains("empty"));
        assert!(said(b"#!/bin/sh").contains("not WebAssembly"));
        assert!(said(b"\x7fELF").contains("compiled"));
        assert_eq!(said(b"\0asm\x0d\0\x01\0"), "");
    }
}
