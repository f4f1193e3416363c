//! RabbitMQ, on servers these tests start themselves.

mod faults;
mod outputs;
mod reading;
mod server;
mod settling;
mod support;
