//! Settings of the plugin: what stands in its `grants.config` and `grants.secrets`.
//!
//! Behind the feature `config`, because it is an import: a component that calls any of this has
//! `wasi:config/store` among its imports, and the host refuses to start it for a plugin that grants no
//! setting at all. That is meant. A handler that wants settings is not to run without any by mistake.
//!
//! Settings are text. They do not change while the host runs, so a handler may keep what it made of them
//! for as long as its instance lives; it cannot read them before its first message.
//!
//! ```
//! use wharf_sdk::{config, prelude::*};
//!
//! #[wharf_sdk::handler]
//! fn handle(name: String) -> Result<Outgoing> {
//!     let greeting = config::get("greeting")?.unwrap_or_else(|| "Hello".into());
//!     Ok(Outgoing::text("greetings", format!("{greeting}, {name}!")))
//! }
//!
//! // On the machine that builds it, a test says what is set.
//! let out = config::with([("greeting", "Ahoj")], || handle("Ada".into()));
//! assert_eq!(out.unwrap().payload, b"Ahoj, Ada!");
//! ```

use std::collections::BTreeMap;

use crate::{Error, Result};

#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
use bindings as source;

#[cfg(not(target_family = "wasm"))]
mod pretended;
#[cfg(not(target_family = "wasm"))]
use pretended as source;
#[cfg(not(target_family = "wasm"))]
pub use pretended::with;

/// The code of [`invalid`], and of a store that does not answer.
pub const CODE: &str = "config";

/// The setting of this name, or `None` where there is none.
///
/// # Errors
///
/// *Unavailable*, code `config`, where the host cannot answer. Wharf always can.
pub fn get(name: &str) -> Result<Option<String>> {
    source::get(name)
}

/// The setting of this name.
///
/// # Errors
///
/// As [`invalid`] where there is none.
pub fn require(name: &str) -> Result<String> {
    get(name)?.ok_or_else(|| invalid(format!("the setting `{name}` is missing")))
}

/// All settings by name. For a handler that refuses those it does not know, as misspelled ones are.
///
/// # Errors
///
/// As [`get`].
pub fn all() -> Result<BTreeMap<String, String>> {
    source::all()
}

/// What to fail with where a setting is wrong: *unavailable*, code `config`.
///
/// Not a rejection, because it is not the message that is wrong: messages wait, uncharged, until the
/// configuration is right.
pub fn invalid(reason: impl Into<String>) -> Error {
    Error::unavailable(reason).with_code(CODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn settings_are_read_by_name_and_all_at_once() {
        let settings = [("b", "2"), ("a", "")];
        with(settings, || {
            assert_eq!(get("a").unwrap().as_deref(), Some(""));
            assert_eq!(get("A").unwrap(), None);
            assert_eq!(require("b").unwrap(), "2");
            let expected = BTreeMap::from([("a".into(), "".into()), ("b".into(), "2".into())]);
            assert_eq!(all().unwrap(), expected);
        });
    }

    #[test]
    fn a_missing_setting_makes_messages_wait() {
        let error = with([("a", "1")], || require("b")).unwrap_err();
        assert_eq!(
            (error.kind(), error.code(), error.reason()),
            (
                Kind::Unavailable,
                Some("config"),
                "the setting `b` is missing"
            )
        );
    }
}
