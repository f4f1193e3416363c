//! Makes exchanges, queues and bindings that the configuration declares.
//!
//! It is done by every connection anew: what was deleted meanwhile is made again, what is there already is confirmed. One
//! that exists with other arguments is left as it is, since only whoever owns it can say which of the two is meant; the
//! server's own words tell the difference. Each piece is tried by itself, because the server closes a channel with the
//! first error on it.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};

use super::connect::{reply_code, told};
use super::wire::short;
use crate::config::rabbitmq::{Argument, Binding, Declare, Exchange, ExchangeKind as Kind, Queue};

/// A queue to be declared, durable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declaration {
    pub(super) name: ShortString,
    pub(super) arguments: FieldTable,
}

impl Declaration {
    pub(super) fn is_quorum(&self) -> bool {
        let kind = self.arguments.inner().get("x-queue-type");
        matches!(kind, Some(AMQPValue::LongString(kind)) if kind.as_bytes() == b"quorum")
    }
}

/// One thing to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Exchange {
        name: ShortString,
        kind: Kind,
        arguments: FieldTable,
    },
    Queue(Declaration),
    Binding {
        queue: ShortString,
        exchange: ShortString,
        routing_key: ShortString,
        arguments: FieldTable,
    },
}

/// What could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Which one, the server's words, and what to change.
    pub(super) reason: String,
    /// It is there, with other arguments.
    pub(super) differs: bool,
}

/// Everything, in the order in which it can be made.
pub(super) fn all(declare: &Declare) -> Vec<Piece> {
    let exchanges = declare.exchanges.iter().map(|(name, e)| exchange(name, e));
    let queues = declare.queues.iter().map(|(name, q)| queue(name, q));
    let bindings = declare
        .queues
        .iter()
        .flat_map(|(name, q)| bindings(name, q));
    exchanges.chain(queues).chain(bindings).collect()
}

/// What one queue needs: itself, and the exchanges it is bound to. Nothing where it is not declared.
pub(super) fn for_queue(declare: &Declare, name: &str) -> Vec<Piece> {
    let Some(found) = declare.queues.get(name) else {
        return Vec::new();
    };
    let bound: Vec<&str> = found.bindings.iter().map(|b| &*b.exchange).collect();
    let exchanges = declare.exchanges.iter();
    let exchanges = exchanges.filter(|(name, _)| bound.contains(&name.as_str()));
    let exchanges = exchanges.map(|(name, e)| exchange(name, e));
    exchanges
        .chain([queue(name, found)])
        .chain(bindings(name, found))
        .collect()
}

fn exchange(name: &str, exchange: &Exchange) -> Piece {
    let mut arguments = table(&exchange.arguments);
    put_text(
        &mut arguments,
        "alternate-exchange",
        exchange.alternate.as_deref(),
    );
    Piece::Exchange {
        name: named(name),
        kind: exchange.kind,
        arguments,
    }
}

fn queue(name: &str, queue: &Queue) -> Piece {
    let mut arguments = table(&queue.arguments);
    put_text(&mut arguments, "x-queue-type", Some(queue.kind.as_str()));
    if queue.single_active_consumer {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    let ttl = queue.message_ttl.map(|ttl| ttl.as_millis());
    let numbers = [
        (
            "x-message-ttl",
            ttl.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        ),
        ("x-max-priority", queue.max_priority.map(u64::from)),
        ("x-delivery-limit", queue.delivery_limit.map(u64::from)),
        ("x-max-length", queue.max_length),
        ("x-max-length-bytes", queue.max_bytes.map(|b| b.as_u64())),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            arguments.insert(name.into(), AMQPValue::LongLongInt(number));
        }
    }
    if let Some(dead) = &queue.dead_letter {
        put_text(
            &mut arguments,
            "x-dead-letter-exchange",
            Some(&dead.exchange),
        );
        let key = dead.routing_key.as_deref();
        put_text(&mut arguments, "x-dead-letter-routing-key", key);
    }
    Piece::Queue(Declaration {
        name: named(name),
        arguments,
    })
}

fn bindings<'a>(queue: &'a str, of: &'a Queue) -> impl Iterator<Item = Piece> + 'a {
    of.bindings.iter().map(move |binding| Piece::Binding {
        queue: named(queue),
        exchange: named(&binding.exchange),
        routing_key: named(binding.routing_key.as_deref().unwrap_or_default()),
        arguments: headers(binding),
    })
}

fn headers(binding: &Binding) -> FieldTable {
    let mut arguments = table(&binding.headers);
    if !binding.headers.is_empty() {
        put_text(&mut arguments, "x-match", Some(binding.matching.as_str()));
    }
    arguments
}

fn table(arguments: &std::collections::BTreeMap<String, Argument>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Flag(flag) => AMQPValue::Boolean(*flag),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
        };
        table.insert(named(name), value);
    }
    table
}

fn put_text(table: &mut FieldTable, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        table.insert(named(name), AMQPValue::LongString(text.into()));
    }
}

/// The configuration was checked: no name is too long.
fn named(name: &str) -> ShortString {
    short(name).unwrap_or_default()
}

/// Makes all of them. Answers what could not be made; an error means that the connection is going.
pub(super) async fn make(connection: &Connection, pieces: &[Piece]) -> lapin::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut channel = None;
    for piece in pieces {
        let open = match channel.take() {
            Some(open) => open,
            None => connection.create_channel().await?,
        };
        match piece.make(&open).await {
            Ok(()) => channel = Some(open),
            Err(error) if !connection.status().connected() => return Err(error),
            Err(error) => problems.push(Problem {
                reason: format!("{} cannot be made: {}", piece.what(), told(&error)),
                differs: reply_code(&error) == Some(DIFFERS),
            }),
        }
    }
    if let Some(channel) = channel {
        channel.close(200, "done".into()).await?;
    }
    Ok(problems)
}

/// Makes a queue of the host's own where it is missing. One that is there is taken as it is: it may have been made for this
/// host by somebody else, whose user may not make queues.
pub(super) async fn ensure(connection: &Connection, queue: &Declaration) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let asked = channel
        .queue_declare(queue.name.clone(), options, FieldTable::default())
        .await;
    let channel = match asked {
        Ok(_) => channel,
        Err(error) if reply_code(&error) == Some(MISSING) => {
            // The answer has closed the channel.
            let channel = connection.create_channel().await?;
            Piece::Queue(queue.clone()).make(&channel).await?;
            channel
        }
        Err(error) => return Err(error),
    };
    channel.close(200, "done".into()).await
}

/// `NOT_FOUND`.
pub(super) const MISSING: u16 = 404;
/// `PRECONDITION_FAILED`: it exists with other arguments.
const DIFFERS: u16 = 406;

impl Piece {
    fn what(&self) -> String {
        match self {
            Self::Exchange { name, .. } => format!("exchange `{name}`"),
            Self::Queue(queue) => format!("queue `{}`", queue.name),
            Self::Binding {
                queue, exchange, ..
            } => format!("the binding of queue `{queue}` to exchange `{exchange}`"),
        }
    }

    async fn make(&self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Self::Exchange {
                name,
                kind,
                arguments,
            } => {
                let options = ExchangeDeclareOptions {
                    durable: true,
                    ..ExchangeDeclareOptions::default()
                };
                let kind = match kind {
                    Kind::Direct => ExchangeKind::Direct,
                    Kind::Topic => ExchangeKind::Topic,
                    Kind::Fanout => ExchangeKind::Fanout,
                    Kind::Headers => ExchangeKind::Headers,
                };
                channel
                    .exchange_declare(name.clone(), kind, options, arguments.clone())
                    .await
            }
            Self::Queue(queue) => {
                let options = QueueDeclareOptions {
                    durable: true,
                    ..QueueDeclareOptions::default()
                };
                channel
                    .queue_declare(queue.name.clone(), options, queue.arguments.clone())
                    .await
                    .map(drop)
            }
            Self::Binding {
                queue,
                exchange,
                routing_key,
                arguments,
            } => {
                let options = QueueBindOptions::default();
                channel
                    .queue_bind(
                        queue.clone(),
                        exchange.clone(),
                        routing_key.clone(),
                        options,
                        arguments.clone(),
                    )
                    .await
            }
        }
    }
}

#[cfg(test)]
mod tests;
