//! Wharf: a WebAssembly plugin host for message handlers.
//!
//! The rooms, in reading order. A message flows down this list and its settlement flows back up the same path;
//! `ARCHITECTURE.md` says what each room owns and may know, and a test holds it.

// What everybody speaks.
pub mod commit;
pub mod delivery;
pub mod handler;
pub mod message;
pub mod place;
pub mod ports;

// What a message meets, from its broker to its handler.
pub mod broker;
pub mod dispatch;
pub mod plugin;

// What surrounds it.
pub mod config;
pub mod shutdown;
pub mod telemetry;

// What puts it together.
pub mod admin;
pub mod cli;
pub mod host;
