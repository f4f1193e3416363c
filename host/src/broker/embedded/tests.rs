//! The broker on real files in temporary folders.

mod support;

mod consuming;
mod throughput;
