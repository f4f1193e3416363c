//! The real program, real components and real brokers: what is promised in the end, counted message by message.
//!
//! Nothing here looks into the host. Messages are published and read by clients of their own, and every test that
//! counts is shown one wrong count at its end, which it must notice.

mod admin;
mod bad_config;
mod brokers;
mod client;
mod disk;
mod kill;
mod neighbours;
mod replies;
mod seen;
mod starting;
mod swapping;
mod traps;
