//! How large properties are on the wire.
//!
//! They go in one frame, whose size client and server agreed on (128 KiB unless the server says otherwise). A larger one is
//! no error of the message to the server: it closes the connection, with all that is on its way.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// What a frame has beside the properties: its own head and end, the class, the body's size, the flags, the numbers.
const BESIDE: usize = 64;

/// Whether the frame of these properties is larger than `frame_max`; 0 is no bound.
pub(in crate::broker::rabbitmq) fn too_large(properties: &BasicProperties, frame_max: u32) -> bool {
    let max = usize::try_from(frame_max).unwrap_or(usize::MAX);
    max != 0 && BESIDE.saturating_add(size(properties)) > max
}

/// No less than it is.
fn size(properties: &BasicProperties) -> usize {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts = texts.into_iter().flatten();
    let texts: usize = texts.map(|text| 1 + text.as_str().len()).sum();
    texts + properties.headers().as_ref().map_or(0, table)
}

fn table(fields: &FieldTable) -> usize {
    let fields = fields.inner().iter();
    let fields = fields.map(|(name, of)| 1 + name.as_str().len() + value(of));
    4 + fields.sum::<usize>()
}

fn value(of: &AMQPValue) -> usize {
    1 + match of {
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldArray(all) => 4 + all.as_slice().iter().map(value).sum::<usize>(),
        AMQPValue::FieldTable(fields) => table(fields),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(header: usize) -> BasicProperties {
        let mut table = FieldTable::default();
        table.insert("h".into(), AMQPValue::LongString(vec![b'v'; header].into()));
        BasicProperties::default()
            .with_message_id("id".into())
            .with_headers(table)
    }

    #[test]
    fn properties_are_measured_with_what_is_around_them() {
        // The id, the table, a name, a kind, a text.
        assert_eq!(size(&with(100)), 3 + 4 + 2 + 1 + 4 + 100);
        assert!(!too_large(&with(100), 178));
        assert!(too_large(&with(101), 178));
        assert!(!too_large(&with(1 << 20), 0));
    }
}
