//! What the suites share: servers they start themselves, and a network they can break.

pub mod proxy;
pub mod redis_server;
