//! RabbitMQ, on servers these tests start themselves.

mod declaring;
mod faults;
mod network;
mod ordering;
mod outputs;
mod patience;
mod reading;
mod server;
mod settling;
mod stopping;
mod support;
mod tls;
mod whole;
