//! The consumers of a subscription: what they have to be, and what is done with one that is there already.
//!
//! A durable consumer is shared by all hosts of a group, and may be shared with other programs. One that this host made
//! (its description says so) is brought to what the configuration says. Another one is used as it is where that is safe,
//! and refused by name where it is not: a `max_deliver`, say, would have the server drop messages silently.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{Context, ErrorCode};

use crate::ports::SubscriptionSpec;

/// A consumer as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) stream: String,
    pub(super) name: String,
    pub(super) filters: Vec<String>,
    pub(super) from_start: bool,
    pub(super) ack_wait: Duration,
    pub(super) max_ack_pending: i64,
    /// Says whose it is.
    pub(super) description: String,
}

/// The consumer of a subscription's own stream.
pub(super) const OWN: &str = "wharf";
/// What the second consumer may have waiting: retries in their delay, mostly.
const WAITING: i64 = 100_000;

impl Wanted {
    pub(super) fn source(
        spec: &SubscriptionSpec,
        ack_wait: Duration,
        max_ack_pending: u32,
    ) -> Self {
        Self {
            stream: spec.address.to_string(),
            name: spec.group.to_string(),
            filters: spec.filters.iter().map(ToString::to_string).collect(),
            from_start: spec.from_start,
            ack_wait,
            max_ack_pending: max_ack_pending.into(),
            description: format!("wharf: {}/{}", spec.plugin, spec.name),
        }
    }

    /// The consumer of what waits in the subscription's own stream.
    pub(super) fn own(spec: &SubscriptionSpec, stream: String, ack_wait: Duration) -> Self {
        Self {
            stream,
            name: OWN.to_owned(),
            filters: Vec::new(),
            from_start: true,
            ack_wait,
            max_ack_pending: WAITING,
            description: format!("wharf: {}/{}", spec.plugin, spec.name),
        }
    }

    fn config(&self) -> pull::Config {
        let (one, several) = match self.filters.as_slice() {
            [one] => (one.clone(), Vec::new()),
            several => (String::new(), several.to_vec()),
        };
        pull::Config {
            durable_name: Some(self.name.clone()),
            description: Some(self.description.clone()),
            deliver_policy: if self.from_start {
                DeliverPolicy::All
            } else {
                DeliverPolicy::New
            },
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            // The host counts, and dead-letters: past a limit of its own the server is silent.
            max_deliver: -1,
            filter_subject: one,
            filter_subjects: several,
            max_ack_pending: self.max_ack_pending,
            ..pull::Config::default()
        }
    }

    /// Why a consumer that is there cannot be read, in words; `None` where it can.
    fn problem(&self, there: &Config) -> Option<String> {
        let mut problems = Vec::new();
        if there.deliver_subject.is_some() {
            problems.push("it is a push consumer; a pull consumer is needed".to_owned());
        }
        if there.ack_policy != AckPolicy::Explicit {
            problems.push(format!(
                "its ack policy is {:?}; explicit is needed",
                there.ack_policy
            ));
        }
        if there.max_deliver > 0 {
            problems.push(format!(
                "its max_deliver is {}: the server would drop messages silently; -1 is needed",
                there.max_deliver
            ));
        }
        if there.headers_only {
            problems.push("it delivers headers only".to_owned());
        }
        if !there.backoff.is_empty() {
            problems
                .push("it has a backoff, which the host's own retries would not follow".to_owned());
        }
        let filters = filters(there);
        let mut wanted = self.filters.clone();
        wanted.sort();
        if filters != wanted {
            problems.push(format!(
                "it reads {}, not {}",
                said(&filters),
                said(&wanted)
            ));
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

fn filters(of: &Config) -> Vec<String> {
    let mut filters = of.filter_subjects.clone();
    if !of.filter_subject.is_empty() {
        filters.push(of.filter_subject.clone());
    }
    filters.sort();
    filters
}

fn said(filters: &[String]) -> String {
    if filters.is_empty() {
        "every subject".to_owned()
    } else {
        filters.join(" and ")
    }
}

/// A consumer that can be read.
pub(super) type Pulling = async_nats::jetstream::consumer::Consumer<pull::Config>;

/// The consumer as it is; made where it is missing.
pub(super) async fn ensure(context: &Context, wanted: &Wanted) -> Result<Pulling, String> {
    let (stream, name) = (wanted.stream.as_str(), wanted.name.as_str());
    let of = format!("consumer {name} of stream {stream}");
    let problem = |problem: String| {
        format!("{of} is there and cannot be used: {problem}. Delete it, or choose another `group`")
    };
    let handle = context
        .get_stream_no_info(stream)
        .await
        .map_err(|e| format!("{of}: {e}"))?;
    match handle.consumer_info(name).await {
        Ok(there) if there.config.description.as_deref() != Some(&*wanted.description) => {
            if let Some(said) = wanted.problem(&there.config) {
                return Err(problem(said));
            }
            return handle
                .get_consumer(name)
                .await
                .map_err(|e| format!("{of}: {e}"));
        }
        Ok(there) => {
            let config = &there.config;
            let same = wanted.problem(config).is_none()
                && config.ack_wait == wanted.ack_wait
                && config.max_ack_pending == wanted.max_ack_pending;
            if same {
                return handle
                    .get_consumer(name)
                    .await
                    .map_err(|e| format!("{of}: {e}"));
            }
            let mut config = wanted.config();
            // Where it begins cannot be changed.
            config.deliver_policy = there.config.deliver_policy;
            return made(context, wanted, config, &of).await;
        }
        Err(error) if error.kind() == ConsumerInfoErrorKind::StreamNotFound => {
            return Err(format!(
                "there is no stream {stream}: make it, or name it under `declare.streams`"
            ));
        }
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {}
        Err(error) => return Err(format!("{of}: {error}")),
    }
    made(context, wanted, wanted.config(), &of).await
}

async fn made(
    context: &Context,
    wanted: &Wanted,
    config: pull::Config,
    of: &str,
) -> Result<Pulling, String> {
    let made = context
        .create_consumer_on_stream(config, wanted.stream.as_str())
        .await;
    let made = made.map_err(|error| match error.kind() {
        ConsumerErrorKind::JetStream(said) if said.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            format!(
                "there is no stream {}: make it, or name it under `declare.streams`",
                wanted.stream
            )
        }
        _ => format!("{of}: {error}"),
    })?;
    // A server before 2.10 knows one filter only, and takes no notice of others.
    if let Some(said) = wanted.problem(&made.cached_info().config) {
        return Err(format!(
            "{of} is not what was asked for: {said}. Does the server know several filters (2.10)?"
        ));
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
