//! Wharf: a WebAssembly plugin host for message handlers.
//!
//! The rooms, in reading order. A message flows down this list and its settlement flows back up the same path;
//! `ARCHITECTURE.md` says what each room owns and may know, and a test holds it.

pub mod message;
pub mod handler;
pub mod delivery;
pub mod commit;
pub mod ports;

pub mod broker;

pub mod config;
pub mod dispatch;

pub mod telemetry;
