//! What is wrong with a client just now, in the server's words and with what to change.
//!
//! The client tells of trouble once and not of its end. So each kind is kept until something shows that it is over: a
//! connection that is up, a group that is steady, a partition of the topic. What is said last stands in `/readyz`; the log
//! has one line when it begins and one when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Where trouble comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The client is done for: it has to be started anew.
    Fatal,
    /// No server can be reached, or none lets us in.
    Connection,
    /// What is to be read is not there, or not for us.
    Topic,
    /// The group does not have us.
    Membership,
}

/// All kinds, what weighs most first.
const KINDS: [Kind; 4] = [Kind::Fatal, Kind::Connection, Kind::Topic, Kind::Membership];

/// The trouble of one client.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Whose, for the log.
    of: Arc<str>,
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kinds: [Option<String>; KINDS.len()],
    /// Which of them the client gave a reason for.
    reasoned: [bool; KINDS.len()],
    /// What the log says is wrong.
    said: Option<String>,
    /// Why a connection was lost last. One of several is no trouble; should it be the last, this is the reason.
    lost: Option<String>,
}

impl State {
    /// All that is wrong, what weighs most first.
    fn text(&self) -> Option<String> {
        let all: Vec<&str> = self.kinds.iter().flatten().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Trouble {
    /// None.
    pub(super) fn new(of: impl Into<Arc<str>>) -> Self {
        Self {
            of: of.into(),
            any: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// What is wrong, if something is.
    pub(super) fn now(&self) -> Option<String> {
        self.state.lock().text()
    }

    /// Something is not as it should be, without being worth a line in the log yet.
    pub(super) fn expect(&self, kind: Kind, text: &str) {
        let mut state = self.state.lock();
        state.kinds[kind as usize] = Some(text.to_owned());
        state.reasoned[kind as usize] = false;
        self.any.store(true, Ordering::Release);
    }

    /// Something is wrong.
    pub(super) fn is(&self, kind: Kind, text: String) {
        let mut state = self.state.lock();
        state.kinds[kind as usize] = Some(text);
        self.any.store(true, Ordering::Release);
        let text = state.text();
        if text != state.said {
            if let Some(text) = &text {
                tracing::warn!(of = %self.of, "{text}");
            }
            state.said = text;
        }
    }

    /// The client answered with an error and no reason. Mostly it has told the reason before, which then stands.
    pub(super) fn answered(&self, error: &KafkaError, what: &str) {
        let kind = kind(error) as usize;
        if !self.state.lock().reasoned[kind] {
            self.told(error, &format!("{what}: {error}"));
            self.state.lock().reasoned[kind] = false;
        }
    }

    /// The client told of an error.
    pub(super) fn told(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if matches!(code, Some(Code::PartitionEOF)) {
            return;
        }
        tracing::debug!(of = %self.of, %error, reason, "kafka");
        let kind = kind(error);
        let (_, advice) = match code {
            // A certificate the server does not take is only heard of when it hangs up.
            Some(Code::BrokerTransportFailure) if reason.contains("SSL") => advice(Some(Code::SSL)),
            _ => advice(code),
        };
        let reason = reason.trim_end();
        let mut text = match advice {
            Some(advice) => format!("kafka: {reason}: {advice}"),
            None => format!("kafka: {reason}"),
        };
        if code == Some(Code::AllBrokersDown) {
            // Which says no more than that.
            text = self.state.lock().lost.clone().unwrap_or(text);
        } else if kind == Kind::Connection {
            self.state.lock().lost = Some(text.clone());
            self.any.store(true, Ordering::Release);
            if is_one_of_many(code) {
                return;
            }
        }
        self.is(kind, text);
        self.state.lock().reasoned[kind as usize] = true;
    }

    /// That kind is over.
    pub(super) fn over(&self, kind: Kind) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        state.kinds[kind as usize] = None;
        state.reasoned[kind as usize] = false;
        if kind == Kind::Connection {
            state.lost = None;
        }
        if state.text().is_none() {
            self.any.store(false, Ordering::Release);
            if state.said.take().is_some() {
                tracing::info!(of = %self.of, "kafka: all is well again");
            }
        }
    }
}

fn kind(error: &KafkaError) -> Kind {
    match error {
        KafkaError::MessageConsumptionFatal(_) => Kind::Fatal,
        _ => advice(error.rdkafka_error_code()).0,
    }
}

/// Whether it may be the trouble of one server while others are there.
fn is_one_of_many(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut)
    )
}

/// Of which kind an error is, and what to change.
fn advice(code: Option<Code>) -> (Kind, Option<&'static str>) {
    match code {
        Some(Code::Fatal | Code::Fenced | Code::FencedInstanceId | Code::UnreleasedInstanceId) => (
            Kind::Fatal,
            Some(
                "another host of the group has the same `instance_id`, or had it; give each its own and start again",
            ),
        ),
        Some(
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism,
        ) => (
            Kind::Connection,
            Some("check `security`: protocol, mechanism, user and password"),
        ),
        Some(Code::SSL) => (
            Kind::Connection,
            Some("check `security`: protocol, `ca`, `certificate` and `key`"),
        ),
        Some(
            Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut,
        ) => (
            Kind::Connection,
            Some("check `bootstrap_servers` and `security.protocol`, and that the servers run"),
        ),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => (
            Kind::Topic,
            Some("make the topic, or name it under `declare` of the broker"),
        ),
        Some(Code::TopicAuthorizationFailed) => {
            (Kind::Topic, Some("allow the user to read the topic"))
        }
        Some(Code::GroupAuthorizationFailed) => (
            Kind::Membership,
            Some("allow the user to read with this group"),
        ),
        Some(
            Code::InconsistentGroupProtocol | Code::UnsupportedAssignor | Code::UnknownProtocol,
        ) => (
            Kind::Membership,
            Some(
                "other members of the group share it by another protocol: let all of them use cooperative-sticky, or the same `group_protocol`, or give this subscription its own `group`",
            ),
        ),
        Some(Code::GroupMaxSizeReached) => (
            Kind::Membership,
            Some("the group has as many members as the server allows"),
        ),
        Some(Code::UnsupportedVersion | Code::UnsupportedFeature) => (
            Kind::Membership,
            Some("`group_protocol: consumer` needs servers of 4.0 or newer"),
        ),
        Some(Code::InvalidSessionTimeout) => (
            Kind::Membership,
            Some(
                "`session_timeout` must lie between the limits of the servers, 6s and 30m unless changed",
            ),
        ),
        _ => (Kind::Membership, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_shown_until_it_is_over() {
        let trouble = Trouble::new("here");
        assert_eq!(trouble.now(), None);
        trouble.is(Kind::Membership, "group".into());
        trouble.is(Kind::Connection, "server".into());
        assert_eq!(trouble.now().as_deref(), Some("server; group"));
        trouble.over(Kind::Connection);
        assert_eq!(trouble.now().as_deref(), Some("group"));
        trouble.over(Kind::Membership);
        assert_eq!(trouble.now(), None);
    }

    #[test]
    fn a_lost_connection_counts_once_it_was_the_last() {
        let trouble = Trouble::new("here");
        let lost = KafkaError::Global(Code::BrokerTransportFailure);
        trouble.told(&lost, "a:9092: Connection refused");
        assert_eq!(trouble.now(), None);
        trouble.told(
            &KafkaError::Global(Code::AllBrokersDown),
            "1/1 brokers are down",
        );
        let said = trouble.now().unwrap();
        assert!(
            said.contains("refused") && said.contains("`bootstrap_servers`"),
            "{said}"
        );
        trouble.over(Kind::Connection);
        trouble.told(&KafkaError::Global(Code::Authentication), "no such user");
        trouble.told(
            &KafkaError::Global(Code::AllBrokersDown),
            "1/1 brokers are down",
        );
        let said = trouble.now().unwrap();
        assert!(
            said.contains("no such user") && said.contains("`security`"),
            "{said}"
        );
    }

    #[test]
    fn an_answer_without_a_reason_does_not_replace_one() {
        let trouble = Trouble::new("here");
        trouble.expect(Kind::Connection, "not connected yet");
        let error = KafkaError::MessageConsumption(Code::SSL);
        trouble.answered(&error, "reading `orders`");
        let said = trouble.now().unwrap();
        assert!(said.contains("reading `orders`"), "{said}");
        trouble.told(&error, "certificate verify failed");
        trouble.answered(&error, "reading `orders`");
        let said = trouble.now().unwrap();
        assert!(
            said.contains("verify failed") && !said.contains("reading"),
            "{said}"
        );
    }

    #[test]
    fn a_server_that_hangs_up_over_a_certificate_is_no_wrong_address() {
        let trouble = Trouble::new("here");
        let lost = KafkaError::Global(Code::BrokerTransportFailure);
        trouble.told(
            &lost,
            "Receive failed: SSL routines::sslv3 alert bad certificate",
        );
        let down = KafkaError::Global(Code::AllBrokersDown);
        trouble.told(&down, "1/1 brokers are down");
        let said = trouble.now().unwrap();
        assert!(
            said.contains("bad certificate") && said.contains("`certificate`"),
            "{said}"
        );
    }

    #[test]
    fn an_error_of_the_server_says_what_to_change() {
        let trouble = Trouble::new("here");
        let missing = KafkaError::MessageConsumption(Code::UnknownTopicOrPartition);
        trouble.told(&missing, "Subscribed topic not available: orders");
        let said = trouble.now().unwrap();
        assert!(
            said.contains("orders") && said.contains("`declare`"),
            "{said}"
        );
        trouble.told(&KafkaError::MessageConsumption(Code::PartitionEOF), "end");
        assert_eq!(trouble.now(), Some(said), "not an error");
        trouble.told(&KafkaError::MessageConsumptionFatal(Code::Fatal), "fenced");
        trouble.over(Kind::Membership);
        trouble.over(Kind::Topic);
        assert!(trouble.now().unwrap().contains("fenced"));
    }
}
