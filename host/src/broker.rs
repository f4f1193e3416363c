//! The brokers: one adapter per file, each an implementation of [`ports`](crate::ports).

pub mod embedded;
#[cfg(any(feature = "nats", feature = "redis"))]
mod heard;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod waiting;
