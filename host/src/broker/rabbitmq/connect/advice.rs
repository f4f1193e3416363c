//! What to change, by what the server or the client says.

/// Where the server is not.
const ADDRESS: &str = "check host and port in `url`, and that the server runs there";
/// A queue that is missing.
const QUEUE: &str = "make the queue, or name it under `declare.queues`";

/// Words, and what to change. The first that fit count.
const ADVICE: [(&str, &str); 21] = [
    ("Login was refused", "check user and password in `url`"),
    (
        "in exclusive use",
        "another consumer has it for itself alone: end that one, or read another queue",
    ),
    (
        "ACCESS_REFUSED",
        "give the user the right at the server (`rabbitmqctl set_permissions`), or write another one in `url`",
    ),
    (
        "NOT_ALLOWED - vhost",
        "check the virtual host in `url`, or make it at the server (`rabbitmqctl add_vhost`)",
    ),
    (
        "NOT_ALLOWED - access to vhost",
        "let the user into the virtual host (`rabbitmqctl set_permissions`), or write another one in `url`",
    ),
    ("NOT_FOUND - no queue", QUEUE),
    ("there is no such queue", QUEUE),
    (
        "NOT_FOUND - no exchange",
        "make the exchange, or name it under `declare.exchanges`",
    ),
    (
        "NO_ROUTE",
        "bind a queue by that routing key (`bindings` under `declare.queues`), or change the key",
    ),
    (
        "a queue refused it",
        "have the queue read, or raise its `max_length` and `max_bytes`",
    ),
    (
        "inequivalent arg",
        "have `declare` say what is there, or delete it at the server once it is empty",
    ),
    (
        "larger than a frame",
        "write less into them, or raise `frame_max` at the server",
    ),
    (
        "larger than",
        "send less, or raise `max_message_size` at the server",
    ),
    (
        "delivery acknowledgement",
        "set `consumer_timeout` to what the server's own configuration says",
    ),
    (
        "RESOURCE_LOCKED",
        "another connection has it for itself (`exclusive`): end that one, or use another queue",
    ),
    ("Connection refused", ADDRESS),
    ("failed to lookup address", ADDRESS),
    ("no answer in ", ADDRESS),
    (
        "UnknownIssuer",
        "name the authority of the server's certificate in `tls.ca`",
    ),
    (
        "not valid for name",
        "write a host in `url` that is in the server's certificate",
    ),
    (
        "CertificateRequired",
        "the server wants a certificate of ours: set `tls.certificate` and `tls.key`",
    ),
];

/// What to change where somebody says this; `None` where nothing is to be changed, or nobody knows what.
fn advice(said: &str) -> Option<&'static str> {
    let found = ADVICE.iter().find(|(words, _)| said.contains(words));
    found.map(|(_, advice)| *advice)
}

/// The words as they are, and behind them what to change.
pub(in crate::broker::rabbitmq) fn advised(said: String) -> String {
    match advice(&said) {
        Some(advice) => format!("{said}; {advice}"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and some of what is told to change.
    const TOLD: &[(&str, &str)] = &[
        (
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
            "password in `url`",
        ),
        (
            "ACCESS_REFUSED - read access to queue 'in' in vhost '/' refused for user 'ada'",
            "set_permissions",
        ),
        (
            "ACCESS_REFUSED - queue 'in' in vhost '/' in exclusive use",
            "read another queue",
        ),
        ("NOT_ALLOWED - vhost elsewhere not found", "add_vhost"),
        (
            "NOT_ALLOWED - access to vhost '/' refused for user 'ada'",
            "into the virtual host",
        ),
        ("NOT_FOUND - no queue 'in' in vhost '/'", "`declare.queues`"),
        ("there is no such queue (312 NO_ROUTE)", "make the queue"),
        ("no queue wants it (312 NO_ROUTE)", "bind a queue"),
        (
            "NOT_FOUND - no exchange 'shop' in vhost '/'",
            "`declare.exchanges`",
        ),
        (
            "a queue refused it: it is full, or cannot keep it now",
            "`max_length`",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'in' in vhost '/': received '5' but current is none",
            "`declare`",
        ),
        (
            "PRECONDITION_FAILED - message size 4097 is larger than configured max size 4096",
            "`max_message_size`",
        ),
        (
            "its headers are larger than a frame (131072 bytes)",
            "`frame_max`",
        ),
        (
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms",
            "`consumer_timeout`",
        ),
        (
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'in' in vhost '/'",
            "`exclusive`",
        ),
        ("IO error: Connection refused (os error 111)", "`url`"),
        (
            "IO error: failed to lookup address information: Name or service not known",
            "host and port",
        ),
        ("no answer in 5s", "`url`"),
        (
            "IO error: invalid peer certificate: UnknownIssuer",
            "`tls.ca`",
        ),
        (
            "IO error: invalid peer certificate: certificate not valid for name \"a\"",
            "in the server's certificate",
        ),
        (
            "IO error: received fatal alert: CertificateRequired",
            "`tls.key`",
        ),
    ];

    #[test]
    fn whatever_somebody_can_change_is_told_with_what_to_change() {
        for &(said, change) in TOLD {
            let told = advised(said.to_owned());
            let advice = told.strip_prefix(said).unwrap_or_else(|| panic!("{told}"));
            assert!(
                advice.starts_with("; ") && advice.contains(change),
                "{told}"
            );
        }
    }

    #[test]
    fn what_only_has_to_be_waited_for_is_told_as_it_is() {
        for said in [
            "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
            "NOT_FOUND - queue 'in' in vhost '/' process is stopped by supervisor",
            "no heartbeat received from server for too long",
        ] {
            assert_eq!(advised(said.to_owned()), said);
        }
    }
}
