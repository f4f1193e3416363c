//! Carrying out an order.

mod mischief;

use std::sync::Mutex;
use std::time::Duration;

use wharf_sdk::prelude::*;
use wharf_sdk::{Error, Kind};

use crate::order::{Failing, Order, Output};
use crate::{describe, probe};

/// What `remember` left behind. Nobody else may ever see it.
static REMEMBERED: Mutex<Option<String>> = Mutex::new(None);

pub fn act(order: Order, message: Message) -> Result<Vec<Outgoing>> {
    match order {
        Order::Accept { outputs } => Ok(expand(outputs)),
        Order::Echo { to } => Ok(vec![message.forward(to)]),
        Order::Reply { text } => {
            eprintln!("answering {text}");
            Ok(vec![message.reply(text)])
        }
        Order::Retry(how) => Err(failure(Kind::Retry, how)),
        Order::Reject(how) => Err(failure(Kind::Reject, how)),
        Order::Unavailable(how) => Err(failure(Kind::Unavailable, how)),
        Order::RetryUntil { attempt, outputs } if message.attempt >= attempt => Ok(expand(outputs)),
        Order::RetryUntil { attempt, .. } => retry(format!(
            "attempt {} of the {attempt} awaited",
            message.attempt
        ))
        .code("not-yet"),
        Order::Remember { text } => {
            *remembered() = Some(text);
            Ok(Vec::new())
        }
        Order::Recall => Ok(vec![Outgoing::json("out", &*remembered())?]),
        Order::Describe => Ok(vec![Outgoing::json("out", &describe::describe(&message))?]),
        Order::Probe => Ok(vec![Outgoing::json("out", &probe::probe())?]),
        mischief => {
            mischief::commit(mischief);
            Ok(Vec::new())
        }
    }
}

fn remembered() -> std::sync::MutexGuard<'static, Option<String>> {
    REMEMBERED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn failure(kind: Kind, how: Failing) -> Error {
    let mut error = Error::new(kind, how.reason);
    if let Some(code) = how.code {
        error = error.with_code(code);
    }
    if let Some(after) = how.after_ms {
        error = error.with_delay(Duration::from_millis(after));
    }
    error
}

fn expand(outputs: Vec<Output>) -> Vec<Outgoing> {
    outputs
        .into_iter()
        .flat_map(|output| vec![outgoing(&output); output.count])
        .collect()
}

fn outgoing(output: &Output) -> Outgoing {
    let payload = match output.size {
        Some(size) => vec![b'x'; size],
        None => output.payload.clone().into_bytes(),
    };
    let header = |(name, value): (&String, &String)| Header {
        name: name.clone(),
        value: value.clone().into_bytes(),
    };
    let listed = output.header_list.iter().map(|(name, value)| (name, value));
    Outgoing {
        topic: output.topic.clone(),
        id: output.id.clone(),
        key: output.key.clone().map(String::into_bytes),
        headers: output.headers.iter().chain(listed).map(header).collect(),
        tombstone: output.tombstone,
        partition: output.partition,
        content_type: output.content_type.clone(),
        correlation_id: output.correlation_id.clone(),
        reply_to: output.reply_to.clone(),
        delay_ms: output.delay_ms,
        ttl_ms: output.ttl_ms,
        priority: output.priority,
        ..Outgoing::new(&output.destination, payload)
    }
}
