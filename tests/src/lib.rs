//! What the suites share: servers they start themselves, a network they can break, and the guests they run.

pub mod certificates;
pub mod count;
mod fetched;
pub mod guests;
pub mod host;
pub mod kafka_server;
pub mod nats_server;
pub mod plugins;
pub mod ports;
pub mod proxy;
pub mod rabbit_server;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod redis_server;
pub mod source;
