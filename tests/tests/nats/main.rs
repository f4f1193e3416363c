//! NATS, on servers these tests start themselves.

mod bad;
mod faults;
mod logins;
mod outputs;
mod reading;
mod settling;
mod sharing;
mod subjects;
mod support;
mod whole;
