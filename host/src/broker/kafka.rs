//! Kafka.
//!
//! A subscription is a member of a consumer group with a client of its own, polled by a thread of its own. What that
//! thread decides is in [`control`], which knows no client; [`watermark`] is how far one partition is settled,
//! [`metadata`] how attempts are kept beside the committed offset, [`wire`] how a message lies in a record.

// The client that drives these parts is not there yet.
#![allow(dead_code)]

mod control;
mod metadata;
mod watermark;
mod wire;
