//! The brokers, one file each.

pub(crate) mod embedded;
pub(crate) mod kafka;
pub(crate) mod nats;
pub(crate) mod rabbitmq;
pub(crate) mod redis_places;
pub(crate) mod redis_streams;
