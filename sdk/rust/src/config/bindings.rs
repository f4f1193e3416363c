//! The import, as `wit-bindgen` makes it, in the words of this crate.

use std::collections::BTreeMap;

use generated::wasi::config::store;

use crate::{Error, Result};

pub(super) fn get(name: &str) -> Result<Option<String>> {
    store::get(name).map_err(silent)
}

pub(super) fn all() -> Result<BTreeMap<String, String>> {
    let all = store::get_all().map_err(silent)?;
    Ok(all.into_iter().collect())
}

fn silent(error: store::Error) -> Error {
    let (store::Error::Upstream(reason) | store::Error::Io(reason)) = error;
    super::invalid(format!("the settings cannot be read: {reason}"))
}

/// A world of its own: a component that never calls it must not import it.
#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used
)]
mod generated {
    wit_bindgen::generate!({
        path: "wit-config",
        world: "imports",
    });
}
