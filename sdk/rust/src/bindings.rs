//! What `wit-bindgen` makes of the contract. The one place where it is called, so that the author of
//! a handler never sees WIT.
//!
//! The contract is vendored in `wit/` because a crate can only read files of its own; a test holds
//! the copy to the original.

// The generated glue crosses the component boundary by pointers, and WIT documents not every field.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used
)]

wit_bindgen::generate!({
    path: "wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "wharf_sdk::__private::bindings",
    additional_derives: [PartialEq],
});
