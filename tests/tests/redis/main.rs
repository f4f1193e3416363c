//! The Redis adapter against real servers that each test starts, cuts, kills and empties itself.

mod attempts;
mod channels;
mod faults;
mod outputs;
mod queue_faults;
mod queues;
mod reading;
mod support;
mod takeover;
mod wire;
