//! `wharf:messaging@0.1.0-rc`: the bindings, and the way from our vocabulary to its records and back.
//!
//! A message is lowered from borrowed data: the payload is copied once, into the guest. What comes back is lifted
//! into owned lists that become [`Bytes`] and [`ByteString`] without another copy.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::shape::{Func, Shape, list, option, record, result, tuple, variant};
use super::{CallInfo, Context, HeaderSelection};
use crate::handler::{Failure, FailureKind, Outcome};
use crate::message::{Header, Message, Outgoing};

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(in crate::plugin) use bindings::{Plugin, PluginPre};

use bindings::exports::wharf::messaging::handler as wire;
use bindings::wharf::messaging::types::{HeaderParam, Origin};

/// The interface a component exports.
pub(in crate::plugin) const HANDLER: &str = "wharf:messaging/handler@0.1.0-rc";
/// The types of the contract, which components import without calling anything.
pub(in crate::plugin) const TYPES: &str = "wharf:messaging/types@0.1.0-rc";
/// The interface for batches, which this host does not call yet.
pub(in crate::plugin) const BATCH_HANDLER: &str = "wharf:messaging/batch-handler@0.1.0-rc";

pub(super) async fn handle(
    guest: &Plugin,
    store: &mut wasmtime::Store<Context>,
    message: &Message,
    info: CallInfo<'_>,
) -> wasmtime::Result<Outcome> {
    let headers: Vec<_> = message
        .headers
        .iter()
        .filter(|header| passed(info.headers, &header.name))
        .map(|header| HeaderParam {
            name: &header.name,
            value: &header.value,
        })
        .collect();
    let message = lower(message, &headers, info);
    let answer = guest
        .wharf_messaging_handler()
        .call_handle(store, message)
        .await?;
    Ok(match answer {
        Ok(outgoing) => Outcome::Done(outgoing.into_iter().map(lift).collect()),
        Err(failure) => Outcome::Failed(lift_failure(failure)),
    })
}

fn passed(headers: &HeaderSelection, name: &str) -> bool {
    match headers {
        HeaderSelection::All => true,
        HeaderSelection::Names(names) => names.iter().any(|n| n.eq_ignore_ascii_case(name)),
    }
}

fn lower<'a>(
    message: &'a Message,
    headers: &'a [HeaderParam<'a>],
    info: CallInfo<'_>,
) -> wire::Message<'a> {
    let origin = &message.origin;
    wire::Message {
        id: &message.id,
        id_stable: message.id_stable,
        subscription: &message.subscription,
        topic: &message.topic,
        origin: info.origin.then(|| Origin {
            broker: &origin.broker,
            source: &origin.source,
            partition: origin.partition,
            position: &origin.position,
            attributes: &[],
        }),
        key: message.key.as_deref(),
        headers,
        payload: &message.payload,
        tombstone: message.tombstone,
        timestamp_ms: message.timestamp_ms,
        attempt: info.attempt.attempt,
        max_attempts: info.attempt.max_attempts,
        deliveries: message.deliveries,
        time_left_ms: info.time_left_ms,
        content_type: message.content_type.as_deref(),
        correlation_id: message.correlation_id.as_deref(),
        reply_to: message.reply_to.as_deref(),
        priority: message.priority,
        expires_at_ms: message.expires_at_ms,
    }
}

fn lift(out: wire::Outgoing) -> Outgoing {
    Outgoing {
        destination: out.destination.into(),
        topic: out.topic.map(ByteString::from),
        id: out.id.map(ByteString::from),
        key: out.key.map(Bytes::from),
        headers: out
            .headers
            .into_iter()
            .map(|header| Header {
                name: header.name.into(),
                value: header.value.into(),
            })
            .collect(),
        payload: out.payload.into(),
        tombstone: out.tombstone,
        partition: out.partition,
        content_type: out.content_type.map(ByteString::from),
        correlation_id: out.correlation_id.map(ByteString::from),
        reply_to: out.reply_to.map(ByteString::from),
        delay_ms: out.delay_ms,
        ttl_ms: out.ttl_ms,
        priority: out.priority,
        // Hints to the host, none of which means anything yet.
        raw_headers: Vec::new(),
    }
}

fn lift_failure(failure: wire::Failure) -> Failure {
    let (kind, info) = match failure {
        wire::Failure::Retry(info) => (FailureKind::Retry, info),
        wire::Failure::Reject(info) => (FailureKind::Reject, info),
        wire::Failure::Unavailable(info) => (FailureKind::Unavailable, info),
    };
    Failure {
        kind,
        reason: info.reason,
        code: info.code,
        after: info.after_ms.map(|ms| Duration::from_millis(u64::from(ms))),
    }
}

/// The type a component's `handle` must have, for saying where one differs.
pub(in crate::plugin) static HANDLE: LazyLock<Func> = LazyLock::new(|| {
    use Shape::{Bool, String, U8, U32, U64};
    let bytes = || list(U8);
    let header = || record([("name", String), ("value", bytes())]);
    let attributes = || list(tuple([String, String]));
    let origin = record([
        ("broker", String),
        ("source", String),
        ("partition", option(U32)),
        ("position", String),
        ("attributes", attributes()),
    ]);
    let message = record([
        ("id", String),
        ("id-stable", Bool),
        ("subscription", String),
        ("topic", String),
        ("origin", option(origin)),
        ("key", option(bytes())),
        ("headers", list(header())),
        ("payload", bytes()),
        ("tombstone", Bool),
        ("timestamp-ms", U64),
        ("attempt", U32),
        ("max-attempts", U32),
        ("deliveries", U32),
        ("time-left-ms", U32),
        ("content-type", option(String)),
        ("correlation-id", option(String)),
        ("reply-to", option(String)),
        ("priority", option(U8)),
        ("expires-at-ms", option(U64)),
    ]);
    let outgoing = record([
        ("destination", String),
        ("topic", option(String)),
        ("id", option(String)),
        ("key", option(bytes())),
        ("headers", list(header())),
        ("payload", bytes()),
        ("tombstone", Bool),
        ("partition", option(U32)),
        ("content-type", option(String)),
        ("correlation-id", option(String)),
        ("reply-to", option(String)),
        ("delay-ms", option(U32)),
        ("ttl-ms", option(U32)),
        ("priority", option(U8)),
        ("attributes", attributes()),
    ]);
    let info = || {
        record([
            ("reason", String),
            ("code", option(String)),
            ("after-ms", option(U32)),
        ])
    };
    let failure = variant([
        ("retry", info()),
        ("reject", info()),
        ("unavailable", info()),
    ]);
    Func {
        is_async: false,
        params: vec![("message".into(), message)],
        result: Some(result(Some(list(outgoing)), Some(failure))),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_headers_are_filtered() {
        let named = HeaderSelection::Names(vec!["a".into()]);
        assert!(passed(&named, "A") && !passed(&named, "b") && passed(&HeaderSelection::All, "b"));
    }
}
