//! What to change, by what the server or the client says.

/// Where the server is not.
const ADDRESS: &str = "check host and port in `url`, and that the server runs there";

/// Words, in small letters, and what to change. The first that fit count.
const ADVICE: [(&str, &str); 17] = [
    (
        "authorization violation",
        "check `user` and `password`, `token`, `nkey` or `credentials`, or what stands in `url`",
    ),
    (
        "authentication expired",
        "renew what is in the file of `credentials`",
    ),
    (
        "failed signing nonce",
        "check `nkey`, or what is in the file of `credentials`",
    ),
    (
        "permissions violation",
        "give the user the right at the server (`permissions`), or name another subject",
    ),
    (
        "maximum connections exceeded",
        "raise `max_connections` at the server",
    ),
    ("connection refused", ADDRESS),
    ("failed to lookup address", ADDRESS),
    ("dns error", ADDRESS),
    (
        "max payload size exceeded",
        "send less, or raise `max_payload` at the server",
    ),
    (
        "message size exceeds maximum",
        "send less, or raise `max_message` of the stream",
    ),
    (
        "maximum messages exceeded",
        "take messages out of the stream, or raise its `max_messages`",
    ),
    (
        "maximum bytes exceeded",
        "take messages out of the stream, or raise its `max_bytes`",
    ),
    (
        "subjects overlap",
        "change `subjects`, or use the stream that has them",
    ),
    (
        "jetstream not enabled",
        "enable `jetstream` at the server, for the account too",
    ),
    (
        "unknownissuer",
        "name the authority of the server's certificate in `tls.ca`",
    ),
    (
        "not valid for name",
        "write a host in `url` that is in the server's certificate",
    ),
    (
        "certificaterequired",
        "the server wants a certificate of ours: set `tls.certificate` and `tls.key`",
    ),
];

/// What to change where somebody says this; `None` where nothing is to be changed, or nobody knows what.
fn advice(said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    let found = ADVICE.iter().find(|(words, _)| said.contains(words));
    found.map(|(_, advice)| *advice)
}

/// The words as they are, and behind them what to change.
pub(in crate::broker::nats) fn advised(said: String) -> String {
    match advice(&said) {
        Some(advice) => format!("{said}; {advice}"),
        None => said,
    }
}

/// The same of servers that are not reached: behind a wrong address there may be nobody who refuses.
pub(super) fn unreached(said: String) -> String {
    if advice(&said).is_none() && said.ends_with(": timed out") {
        return format!("{said}; {ADDRESS}");
    }
    advised(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and some of what is told to change.
    const TOLD: &[(&str, &str)] = &[
        (
            "a:4222: authorization violation: nats: authorization violation",
            "`user` and `password`",
        ),
        (
            "a:4222: IO error: nats: User Authentication Expired",
            "`credentials`",
        ),
        ("a:4222: failed signing nonce", "`nkey`"),
        (
            "Permissions Violation for Publish to \"secret.plans\"",
            "`permissions`",
        ),
        (
            "a:4222: IO error: nats: maximum connections exceeded",
            "`max_connections`",
        ),
        (
            "a:4222: IO error: Connection refused (os error 111)",
            "`url`",
        ),
        (
            "DNS error: failed to lookup address information: Name or service not known",
            "host and port",
        ),
        ("nats: DNS error", "host and port"),
        (
            "max payload size exceeded: Payload size limit of 1048576 exceeded by message size of 2097152",
            "`max_payload`",
        ),
        (
            "message size exceeds maximum allowed (400, error code 10054)",
            "`max_message`",
        ),
        ("maximum messages exceeded", "`max_messages`"),
        ("maximum bytes exceeded", "`max_bytes`"),
        ("subjects overlap with an existing stream", "`subjects`"),
        ("JetStream not enabled for account", "`jetstream`"),
        (
            "a:4222: IO error: invalid peer certificate: UnknownIssuer",
            "`tls.ca`",
        ),
        (
            "a:4222: IO error: invalid peer certificate: certificate not valid for name \"a\"",
            "in the server's certificate",
        ),
        (
            "a:4222: IO error: received fatal alert: CertificateRequired",
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
    fn a_server_that_is_silent_may_be_another_one() {
        let told = unreached("nats at a:4222: timed out".to_owned());
        assert!(told.contains("timed out; check host and port"), "{told}");
        let refused = "nats at a:4222: authorization violation; b:4222: timed out".to_owned();
        assert_eq!(unreached(refused.clone()), advised(refused));
    }

    #[test]
    fn what_only_has_to_be_waited_for_is_told_as_it_is() {
        for said in [
            "nats at a:4222: the connection is lost",
            "nats at a:4222: request timed out",
            "nats: stream ORDERS: request error: timed out",
            "nats: there is no stream ORDERS: make it, or name it under `declare.streams`",
        ] {
            assert_eq!(advised(said.to_owned()), said);
        }
    }
}
