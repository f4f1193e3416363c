//! The work itself, free of Wasm and of the SDK, so that a native twin can do exactly the same.

use serde_json::Value;

/// Parses a JSON object, raises its number `count` by one (1 where there is none), and gives it back
/// as text.
///
/// # Errors
///
/// Where the bytes are no JSON object.
pub fn count_up(payload: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut document: serde_json::Map<String, Value> = serde_json::from_slice(payload)?;
    let count = document.get("count").and_then(Value::as_u64).unwrap_or(0);
    document.insert("count".to_owned(), Value::from(count + 1));
    serde_json::to_vec(&document)
}
