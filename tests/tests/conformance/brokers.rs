//! The brokers, one file each.

pub(crate) mod embedded;
pub(crate) mod redis_streams;
