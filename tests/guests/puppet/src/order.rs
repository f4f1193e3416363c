//! What the puppet can be told.

use std::collections::BTreeMap;

use wharf_sdk::prelude::*;

/// One order: `{"do": "retry", "reason": "not yet"}`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Succeed, sending `outputs`.
    Accept {
        #[serde(default)]
        outputs: Vec<Output>,
    },
    /// Send the message itself on, byte for byte, with key and headers.
    Echo {
        #[serde(default = "out")]
        to: String,
    },
    /// Answer to `reply-to` with the text, and say so on stderr.
    Reply { text: String },
    /// Fail so that the host tries again.
    Retry(Failing),
    /// Fail for good.
    Reject(Failing),
    /// Say that a dependency is down.
    Unavailable(Failing),
    /// Retry while this is an earlier attempt than `attempt`, then succeed sending `outputs`.
    RetryUntil {
        attempt: u32,
        #[serde(default)]
        outputs: Vec<Output>,
    },
    /// Panic with this text.
    Panic {
        #[serde(default = "boom")]
        text: String,
    },
    /// Execute `unreachable`, without a word on stderr.
    Trap,
    /// Recurse until the stack ends.
    Overflow,
    /// Loop for ever.
    Spin,
    /// Keep the core busy for so long, by the monotonic clock.
    Burn { ms: u64 },
    /// Block in a host call for so long.
    Sleep { ms: u64 },
    /// Allocate until it is denied.
    Leak,
    /// Allocate and touch so many bytes, and keep them for the life of the instance.
    Grow { bytes: usize },
    /// Write `lines` lines of `bytes` bytes each.
    Log {
        #[serde(default = "one")]
        lines: usize,
        #[serde(default = "forty")]
        bytes: usize,
        #[serde(default)]
        to: Stream,
        /// This text instead of a row of dots.
        text: Option<String>,
    },
    /// Call `wasi:cli/exit`.
    Exit { code: i32 },
    /// Send to `out` what can be seen of environment, files and network, as JSON.
    Probe,
    /// Keep a text in static memory.
    Remember { text: String },
    /// Send to `out` the text that a former message made this instance keep, as JSON.
    Recall,
    /// Send to `out` the whole message as it arrived, as JSON.
    Describe,
}

/// The details of a failure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failing {
    #[serde(default = "because")]
    pub reason: String,
    pub code: Option<String>,
    pub after_ms: Option<u64>,
}

/// One output, or `count` alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    #[serde(default = "out")]
    pub destination: String,
    #[serde(default)]
    pub payload: String,
    /// So many bytes instead of `payload`.
    pub size: Option<usize>,
    #[serde(default = "one")]
    pub count: usize,
    pub key: Option<String>,
    pub topic: Option<String>,
    pub id: Option<String>,
    /// Sorted by name; `header_list` keeps order and repeats.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub header_list: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    pub partition: Option<u32>,
    pub delay_ms: Option<u32>,
    pub ttl_ms: Option<u32>,
    pub priority: Option<u8>,
    #[serde(default)]
    pub tombstone: bool,
}

/// Where a log goes.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    Stdout,
    #[default]
    Stderr,
}

impl Order {
    /// The order in a payload, or `None` where it is not a JSON object.
    pub fn read(payload: &[u8]) -> Result<Option<Self>> {
        match serde_json::from_slice(payload) {
            Ok(order @ serde_json::Value::Object(_)) => {
                let order = serde_json::from_value(order);
                order.or_reject("not an order").code("bad-order").map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn out() -> String {
    "out".to_owned()
}

fn boom() -> String {
    "boom".to_owned()
}

fn because() -> String {
    "the order said so".to_owned()
}

fn one() -> usize {
    1
}

fn forty() -> usize {
    40
}
