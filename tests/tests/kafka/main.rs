//! Kafka, on servers these tests start themselves.

mod bad;
mod faults;
mod ground;
mod outputs;
mod owners;
mod reading;
mod security;
mod server;
mod sharing;
mod support;
mod whole;
mod worker;
