//! The Redis streams adapter against real servers that each test starts, cuts, kills and empties itself.

mod attempts;
mod faults;
mod outputs;
mod reading;
mod support;
mod takeover;
mod wire;
