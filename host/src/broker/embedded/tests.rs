//! The broker on real files in temporary folders, with real processes to share and to kill.

mod support;

mod commits;
mod consuming;
mod crash;
mod deletion;
mod full;
mod managing;
mod order;
mod owners;
mod retries;
mod roundtrip;
mod throughput;
