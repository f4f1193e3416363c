//! The message as it arrived, as JSON: every field by the contract's name, bytes as hex.

use serde_json::{Value, json};
use wharf_sdk::Message;

pub fn describe(message: &Message) -> Value {
    let headers: Vec<Value> = message
        .headers
        .iter()
        .map(|header| json!([header.name, hex(&header.value)]))
        .collect();
    let origin = message.origin.as_ref().map(|origin| {
        json!({
            "broker": origin.broker,
            "source": origin.source,
            "partition": origin.partition,
            "position": origin.position,
            "attributes": origin.attributes,
        })
    });
    json!({
        "id": message.id,
        "id-stable": message.id_stable,
        "subscription": message.subscription,
        "topic": message.topic,
        "origin": origin,
        "key": message.key.as_deref().map(hex),
        "headers": headers,
        "payload": hex(&message.payload),
        "tombstone": message.tombstone,
        "timestamp-ms": message.timestamp_ms,
        "attempt": message.attempt,
        "max-attempts": message.max_attempts,
        "deliveries": message.deliveries,
        "time-left-ms": message.time_left_ms,
        "content-type": message.content_type,
        "correlation-id": message.correlation_id,
        "reply-to": message.reply_to,
        "priority": message.priority,
        "expires-at-ms": message.expires_at_ms,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
