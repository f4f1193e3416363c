//! The Redis adapter against real servers that each test starts, cuts, kills and empties itself.

mod attempts;
mod channels;
mod cluster;
mod cluster_queues;
mod faults;
mod full;
mod outputs;
mod queue_faults;
mod queues;
mod reading;
mod rights;
mod sentinel;
mod support;
mod takeover;
mod tls;
mod tls_groups;
mod wire;
