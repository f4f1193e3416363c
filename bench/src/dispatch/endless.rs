//! A source in memory that always has messages, and a settler that takes a moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use wharf::commit::{Commit, Destination};
use wharf::delivery::{Delivery, Inbox, Token};
use wharf::message::{Header, Message, Origin};
use wharf::ports::{
    BrokerError, Capabilities, Committed, Ordering, Room, Settle, SettleError, Settler, Source,
    Subscribed,
};

use crate::payload::{HEADERS, payload};

/// Those of the embedded broker: every output is committed with its settlement.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    redelivers: true,
    orders: Ordering::None,
    delays: true,
    counts_deliveries: true,
    keeps_attempts: true,
    native_dead_letter: false,
    atomic: true,
    patience: None,
};

/// How long a flush takes. The timer's own step, too.
const FLUSH: Duration = Duration::from_millis(1);

/// What all messages have in common.
pub(super) fn template() -> Message {
    Message {
        id: "".into(),
        id_stable: true,
        subscription: "in".into(),
        topic: "in".into(),
        origin: Origin {
            broker: "b".into(),
            source: "in".into(),
            partition: None,
            position: "".into(),
            group: Some("bench".into()),
        },
        key: None,
        headers: HEADERS
            .iter()
            .map(|(name, value)| Header::text(*name, *value))
            .collect(),
        payload: payload(0, 0).into(),
        tombstone: false,
        timestamp_ms: 0,
        content_type: Some("application/json".into()),
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: 0,
        first_failed_ms: None,
        deliveries: 1,
        unrepresentable: None,
        request: false,
    }
}

/// One message, as a broker's adapter makes it: everything of its own, but for what names the place it was read from.
pub(super) fn message(template: &Message, seq: u64) -> Message {
    let id = ByteString::from(seq.to_string());
    let mut message = template.clone();
    for header in &mut message.headers {
        header.name = ByteString::from(&*header.name);
        header.value = Bytes::copy_from_slice(&header.value);
    }
    message.payload = Bytes::copy_from_slice(&message.payload);
    message.content_type = message.content_type.as_deref().map(ByteString::from);
    message.origin.position = id.clone();
    message.id = id;
    message
}

/// A subscription to so many messages. The notice comes when all of them are settled.
pub(super) fn subscribe(messages: u64) -> (Subscribed, Arc<Inbox>, Arc<Notify>) {
    let inbox = Inbox::unordered();
    let settled = Arc::new(Notify::new());
    let source = Endless {
        inbox: Arc::clone(&inbox),
        template: template(),
        next: 0,
        end: messages,
    };
    let settler = Soon {
        left: messages,
        settled: Arc::clone(&settled),
    };
    let subscribed = Subscribed {
        source: Box::new(source),
        settler: Box::new(settler),
    };
    (subscribed, inbox, settled)
}

struct Endless {
    inbox: Arc<Inbox>,
    template: Message,
    next: u64,
    end: u64,
}

impl Source for Endless {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            if self.next == self.end {
                std::future::pending::<()>().await;
            }
            let end = self.end.min(self.next + room.messages as u64);
            let deliveries = (self.next..end)
                .map(|seq| Delivery::new(Token(seq), message(&self.template, seq), &self.inbox))
                .collect();
            self.next = end;
            Ok(deliveries)
        })
    }
}

struct Soon {
    left: u64,
    settled: Arc<Notify>,
}

impl Soon {
    fn count(&mut self, messages: usize) {
        self.left = self.left.saturating_sub(messages as u64);
        if self.left == 0 {
            self.settled.notify_one();
        }
    }
}

impl Settler for Soon {
    fn atomic_with(&self, _: &Destination) -> bool {
        true
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        Box::pin(async move {
            tokio::time::sleep(FLUSH).await;
            self.count(batch.len());
            vec![Committed::Done; batch.len()]
        })
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            self.count(batch.len());
            vec![Ok(()); batch.len()]
        })
    }
}
