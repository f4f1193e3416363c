//! Write Wharf message handlers as plain Rust functions.
//!
//! A handler takes a message and returns what to publish. The host has already read the message from a
//! broker; it publishes the outputs, and only when they are confirmed does it settle the message. Nothing
//! in a handler knows which broker that was.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Order { id: String, cents: u64 }
//! #[derive(Serialize)]
//! struct Priced { id: String, total: u64 }
//!
//! #[wharf_sdk::handler]
//! fn handle(order: Json<Order>) -> Result<Outgoing> {
//!     let Json(order) = order;
//!     if order.cents == 0 {
//!         return reject("the order is empty").code("empty-order");
//!     }
//!     Outgoing::json("priced", &Priced { id: order.id, total: order.cents })
//! }
//!
//! // On the machine that builds it, a handler is the function it was written as.
//! let order = Order { id: "o-1".into(), cents: 250 };
//! assert_eq!(handle(Json(order)).unwrap().destination, "priced");
//! ```
//!
//! The crate is a `cdylib` built for `wasm32-wasip2`. This SDK is not published: it is used from a checkout
//! of Wharf, by its folder or by git.
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! wharf-sdk = { path = "/path/to/wharf/sdk/rust" }
//! # wharf-sdk = { git = "https://git.example.com/wharf.git", rev = "…" }
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` makes the component,
//! `target/wasm32-wasip2/release/<crate>.wasm`. `docs/handlers.md` of Wharf has the whole `Cargo.toml`.
//!
//! # What goes in
//!
//! One or two arguments, each a type that can be read from a message ([`FromMessage`], or
//! [`FromMessageRef`] behind `&`): the [`Message`] itself, [`Json<T>`], [`String`], `Vec<u8>`,
//! `&Message`, `&str`, `&[u8]`. A payload that cannot be read as what the function asks for can never be
//! read, so the message is *rejected* before the function runs.
//!
//! # What comes out
//!
//! `()`, [`Outgoing`], `Option<Outgoing>`, `Vec<Outgoing>`, arrays and tuples of them ([`IntoReply`]),
//! and a [`Result`] of any of these.
//!
//! # How to fail
//!
//! | the handler says | the host | write |
//! |---|---|---|
//! | *retry* | runs it again later, a limited number of times | `?` on any error, [`retry`], [`retry_after`], [`OrFail::or_retry`] |
//! | *reject* | never runs it again: dead letter | [`reject`], [`OrFail::or_reject`] |
//! | *unavailable* | waits for a dependency, charging no attempt | [`unavailable`], [`OrFail::or_unavailable`] |
//!
//! A panic is none of these: it is a fault of the handler. The host throws the instance away, keeps the
//! panic's text and location with the message, and applies its retry policy.
//!
//! # What will surprise
//!
//! * There is no state between messages to rely on: instances are shared, recycled, and discarded.
//! * Outputs of a failed call are never published; there is no way to publish *and* fail.
//! * `println!` and `eprintln!` become log lines of the host, with plugin and message named.
//! * Files, environment, and network are absent. Settings are there behind the feature `config`, see
//!   `wharf_sdk::config`.

#[doc(hidden)]
pub mod bindings;
#[cfg(feature = "config")]
pub mod config;
mod error;
mod extract;
mod message;
mod outgoing;
mod reply;

pub use bindings::wharf::messaging::types::{Header, Message, Origin, Outgoing};
pub use error::{
    Coded, Error, Kind, OrFail, Result, reject, retry, retry_after, unavailable, unavailable_for,
};
pub use extract::{FromMessage, FromMessageRef, Json};
pub use message::Builder as MessageBuilder;
pub use reply::IntoReply;
pub use wharf_sdk_macros::handler;

/// The names of the contract as generated, for code that needs the raw shapes.
pub mod contract {
    pub use crate::bindings::exports::wharf::messaging::handler::Guest;
    pub use crate::bindings::wharf::messaging::types::{Failure, FailureInfo};
}

/// All that a usual handler needs: `use wharf_sdk::prelude::*`.
pub mod prelude {
    pub use crate::{
        Coded, Error, Header, IntoReply, Json, Message, OrFail, Outgoing, Result, handler, reject,
        retry, retry_after, unavailable,
    };
    pub use serde::{Deserialize, Serialize};
}

/// What the macro's expansion names. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{self, export};
    pub use crate::reply::finish;
    pub use std::result::Result;
    pub use std::vec::Vec;
}
