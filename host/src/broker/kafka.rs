//! Kafka.
//!
//! [`watermark`] is how far one partition is settled, [`metadata`] how attempts are kept beside the committed offset.

// The client that drives these parts is not there yet.
#![allow(dead_code)]

mod metadata;
mod watermark;
