//! What the host shows of itself: metric names and handles, logging set-up.
//!
//! Handles are made once, when a plugin or subscription starts; the hot path only touches atomics.

pub mod logging;
pub mod metrics;

pub use metrics::{Metrics, PluginMetrics, SubscriptionLabels, SubscriptionMetrics};
