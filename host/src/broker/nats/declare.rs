//! Streams that the host makes where they are missing: those of the configuration, and those in which its subscriptions'
//! messages wait.

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{self, Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use crate::config::nats::{Declare, Discard, Retention, Storage, Stream};

/// The subject on which a subscription's own messages wait.
pub fn retry_subject(subscription: &str, plugin: &str) -> String {
    format!("retry.{subscription}.{plugin}")
}

/// The stream that holds it: names of streams have no dots, and those of plugins and subscriptions no `~`.
pub(super) fn retry_stream(subscription: &str, plugin: &str) -> String {
    retry_subject(subscription, plugin).replace('.', "~")
}

/// What all dead letters lie on.
const DEAD_LETTERS: &str = "dlq.>";

/// Every stream that is declared.
pub(super) fn declared(declare: &Declare) -> Vec<Config> {
    let mut all: Vec<Config> = declare
        .streams
        .iter()
        .map(|(name, stream)| config(name, stream))
        .collect();
    if let Some(name) = &declare.dead_letters {
        all.push(config(name, &Stream::new(&[DEAD_LETTERS])));
    }
    all
}

/// The stream in which a subscription's messages wait. Gone once they are acknowledged: nobody else reads it.
pub(super) fn waiting(subscription: &str, plugin: &str, like: &Config) -> Config {
    coming_back(&retry_subject(subscription, plugin), like)
}

/// The same, by its subject.
pub(super) fn coming_back(retry: &str, like: &Config) -> Config {
    Config {
        name: retry.replace('.', "~"),
        subjects: vec![retry.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        // It is as safe as where they come from.
        storage: like.storage,
        num_replicas: like.num_replicas.max(1),
        duplicate_window: Duration::from_secs(120),
        description: Some(format!("wharf: what waits at {retry}")),
        ..unbounded()
    }
}

/// -1 is the server's word for no bound.
fn unbounded() -> Config {
    Config {
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        ..Config::default()
    }
}

fn config(name: &str, stream: &Stream) -> Config {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let bytes = |size: crate::config::ByteSize| signed(size.as_u64());
    let of = unbounded();
    Config {
        name: name.to_owned(),
        subjects: stream.subjects.clone(),
        retention: match stream.retention {
            Retention::Limits => RetentionPolicy::Limits,
            Retention::Interest => RetentionPolicy::Interest,
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
        },
        storage: match stream.storage {
            Storage::File => StorageType::File,
            Storage::Memory => StorageType::Memory,
        },
        num_replicas: stream.replicas.into(),
        max_age: stream.max_age.unwrap_or_default(),
        max_messages: stream.max_messages.map_or(of.max_messages, i64::from),
        max_bytes: stream.max_bytes.map_or(of.max_bytes, bytes),
        max_message_size: stream.max_message.map_or(of.max_message_size, |size| {
            i32::try_from(size.as_usize()).unwrap_or(i32::MAX)
        }),
        discard: match stream.discard {
            Discard::Old => DiscardPolicy::Old,
            Discard::New => DiscardPolicy::New,
        },
        duplicate_window: stream.duplicate_window,
        ..of
    }
}

/// The stream as it is; made where it is missing.
pub(super) async fn ensure(context: &Context, wanted: &Config) -> Result<stream::Info, String> {
    let name = &wanted.name;
    if let Some(there) = find(context, name).await? {
        for what in differences(wanted, &there.config) {
            tracing::warn!(
                stream = name,
                what,
                "nats: declared otherwise, left as it is: change it there, or under `declare.streams`"
            );
        }
        return Ok(there);
    }
    let made = context.create_stream(wanted.clone()).await;
    match made {
        Ok(made) => {
            tracing::info!(stream = name, "nats: made a stream");
            Ok(made.cached_info().clone())
        }
        Err(error) => {
            // Another host was faster.
            if let CreateStreamErrorKind::JetStream(said) = error.kind()
                && said.error_code() == ErrorCode::STREAM_NAME_EXIST
                && let Some(there) = find(context, name).await?
            {
                return Ok(there);
            }
            Err(format!("stream {name} cannot be made: {error}"))
        }
    }
}

/// The stream; `None` where there is none.
pub(super) async fn find(context: &Context, name: &str) -> Result<Option<stream::Info>, String> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(said)
                if said.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(format!("stream {name}: {error}")),
        },
    }
}

/// What is otherwise than declared, in words.
fn differences(wanted: &Config, there: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |key: &str, wanted: String, there: String| {
        if wanted != there {
            found.push(format!("{key} is {there}, not {wanted}"));
        }
    };
    let subjects = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        format!("{subjects:?}")
    };
    compare("subjects", subjects(wanted), subjects(there));
    macro_rules! each {
        ($($key:ident),*) => {
            $(compare(stringify!($key), format!("{:?}", wanted.$key), format!("{:?}", there.$key));)*
        };
    }
    each!(
        retention,
        storage,
        num_replicas,
        max_age,
        max_messages,
        max_bytes
    );
    each!(max_message_size, discard, duplicate_window);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_as_safe_as_where_it_comes_from_and_goes_when_it_is_done() {
        let source = Config {
            num_replicas: 3,
            storage: StorageType::Memory,
            ..unbounded()
        };
        let own = waiting("orders", "billing", &source);
        assert_eq!(own.subjects, ["retry.orders.billing"]);
        assert_eq!((own.num_replicas, own.storage), (3, StorageType::Memory));
        assert_eq!(own.retention, RetentionPolicy::WorkQueue);
        assert!(!own.name.contains('.'));
        // Nothing that waits is ever dropped.
        assert_eq!((own.max_messages, own.max_bytes), (-1, -1));
        assert_eq!(own.max_age, Duration::ZERO);
    }

    #[test]
    fn a_stream_of_other_settings_is_told_in_words() {
        let wanted = config("ORDERS", &Stream::new(&["b", "a"]));
        let there = Config {
            subjects: vec!["a".into(), "b".into()],
            ..wanted.clone()
        };
        assert_eq!(differences(&wanted, &there), [""; 0]);
        let there = Config {
            max_messages: 5,
            ..wanted.clone()
        };
        assert_eq!(differences(&wanted, &there), ["max_messages is 5, not -1"]);
    }

    #[test]
    fn dead_letters_have_a_stream_when_told_so() {
        let mut declare = Declare::default();
        assert_eq!(super::declared(&declare).len(), 0);
        declare.dead_letters = Some("DLQ".into());
        let all = super::declared(&declare);
        assert_eq!(all[0].name, "DLQ");
        assert_eq!(all[0].subjects, ["dlq.>"]);
    }
}
