//! The commands, run as a user runs them: the real program, files of its own in a temporary folder. What it prints is
//! compared with `cli/*.txt`, times, digests and paths taken out. `UPDATE_SNAPSHOTS=1` writes what is new or changed;
//! read the difference before committing it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod beside_a_host;
mod components;
mod dead_letters;
mod publishing;
mod redis_places;
mod support;
mod usage;
mod validating;
