//! Kafka, on servers these tests start themselves.

mod server;
