//! What an error means: for the connection it came by, and for whoever has to change something.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::ports::BrokerError;

/// What an error means for the connection it came by.
pub(in crate::broker::redis) fn breaks(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout() || waits_out(error)
}

/// The node is there and cannot serve yet, or no longer: wait, and ask by a new connection.
fn waits_out(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
        )
    )
}

pub(in crate::broker::redis) fn is_code(error: &RedisError, code: &str) -> bool {
    error.code() == Some(code)
}

/// Who we are is not known there.
const LOGIN: &str = "check `user` and `password`, or what stands in `url`; for sentinels `sentinel_user` and `sentinel_password`";

/// Words of an error that somebody has to act on, and what to do. The library of TLS and the server say what they found;
/// what to change in which file only we know.
const ADVICE: [(&str, &str); 19] = [
    (
        "UnknownIssuer",
        "the server's certificate is of an authority that is not trusted here: name the authority in `tls.ca`",
    ),
    (
        "BadSignature",
        "the server's certificate is of another authority than the one of this name in `tls.ca`",
    ),
    (
        "not valid for name",
        "the server's certificate is for another name: connect by a name that is in it",
    ),
    (
        "certificate expired",
        "the server's certificate is no longer valid: renew it there",
    ),
    (
        "InvalidContentType",
        "what listens there does not speak TLS: use its port for TLS, or `redis://`",
    ),
    (
        "CertificateRequired",
        "the server wants a certificate of ours: set `tls.certificate` and `tls.key`",
    ),
    (
        "fatal alert: UnknownCA",
        "the server does not trust our certificate: `tls.certificate` has to be of an authority it knows",
    ),
    (
        "fatal alert: ",
        "the server does not take our certificate or our kind of TLS: see `tls.certificate`, and the log of the server",
    ),
    (
        "KeyMismatch",
        "`tls.key` is not the key of `tls.certificate`",
    ),
    (
        "NOPERM",
        "the user may not do this: give it the right by `ACL SETUSER` at the server",
    ),
    (
        "The user executing the script can't",
        "the user may not do this: give it the right by `ACL SETUSER` at the server",
    ),
    (
        "NOAUTH",
        "the server wants to know who we are: set `user` and `password`",
    ),
    ("WRONGPASS", LOGIN),
    ("Password authentication failed", LOGIN),
    (
        "called without any password configured",
        "the server wants no password: leave `password` out, in `url` too",
    ),
    (
        "WRONGTYPE",
        "something of another type is at this key: name another key, or delete it at the server",
    ),
    (
        "MOVED",
        "the server is a node of a cluster: set `cluster: true`",
    ),
    (
        "cluster support disabled",
        "the server is not a node of a cluster: leave `cluster` out",
    ),
    (
        "No such master with that name",
        "the sentinels know no server of this name: see `master`",
    ),
];

/// Where the server is not.
const ADDRESS: &str =
    "check host and port in `url`, or in `sentinels`, and that the server runs there";

/// The same where it may also pass by itself: of a server that is away, or just going down, nothing else is heard.
const PERHAPS: [(&str, &str); 5] = [
    (
        SILENT,
        "if it does not speak TLS there, use its port for TLS, or `redis://`",
    ),
    (
        PLAIN,
        "it hung up at the first word: if it speaks TLS there, write `rediss://`",
    ),
    ("Connection refused", ADDRESS),
    ("failed to lookup address", ADDRESS),
    (UNHEARD, ADDRESS),
];

/// How a server answers the greeting of TLS that takes it for the beginning of a long command.
pub(super) const SILENT: &str = "no answer when TLS was begun";

/// How a greeting ends that was not answered but by the end of the connection.
pub(super) const PLAIN: &str = "the server closed the connection while it was greeted";

/// How a connection attempt ends to which nobody says anything.
pub(super) const UNHEARD: &str = "no answer while connecting";

fn find(table: &[(&str, &'static str)], text: &str) -> Option<&'static str> {
    let found = table.iter().find(|(words, _)| text.contains(words));
    found.map(|(_, advice)| *advice)
}

/// What to change where somebody says this; `None` where nothing is to be changed, or nobody knows what.
fn advice(text: &str) -> Option<&'static str> {
    find(&ADVICE, text).or_else(|| find(&PERHAPS, text))
}

/// The words as they are, and behind them what to change.
pub(in crate::broker::redis) fn advised(said: String) -> String {
    match advice(&said) {
        Some(advice) => format!("{said}; {advice}"),
        None => said,
    }
}

/// The server's own words, where it said some.
pub(in crate::broker::redis) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// What somebody has to change, in the server's own words, or what only has to be waited for.
pub(in crate::broker::redis) fn broker_error(at: &str, error: &RedisError) -> BrokerError {
    let refused = matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Server(ServerErrorKind::NoPerm)
    ) || matches!(
        error.code(),
        Some("NOAUTH" | "WRONGPASS" | "WRONGTYPE" | "NOPERM")
    ) || error.detail().is_some_and(|d| {
        d.starts_with("unknown command") || d.contains("DB index is out of range")
    });
    let said = said(error);
    let refused = refused || find(&ADVICE, &said).is_some();
    let text = format!("redis at {at}: {}", advised(said));
    if refused {
        BrokerError::Refused(text)
    } else {
        BrokerError::Unavailable(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_change_it_is_told_what() {
        let io = |text: &str| RedisError::from(std::io::Error::other(text.to_owned()));
        let told = broker_error("a:1", &io("invalid peer certificate: UnknownIssuer"));
        assert!(matches!(&told, BrokerError::Refused(text) if text.contains("`tls.ca`")));
        let told = broker_error("a:1", &io("Connection refused"));
        let says = |text: &str| text.starts_with("redis at a:1") && text.contains("`url`");
        assert!(matches!(&told, BrokerError::Unavailable(text) if says(text)));
        let told = broker_error("a:1", &io(PLAIN));
        assert!(matches!(&told, BrokerError::Unavailable(text) if text.contains("rediss://")));
    }

    #[test]
    fn whatever_somebody_can_change_is_told_with_what_to_change() {
        for (said, change) in [
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                "`user` and `password`",
            ),
            (
                "Password authentication failed - AuthenticationFailed",
                "`url`",
            ),
            (
                "NOAUTH Authentication required.",
                "set `user` and `password`",
            ),
            (
                "ERR AUTH <password> called without any password configured for the default user.",
                "leave `password` out",
            ),
            (
                "NOPERM this user has no permissions to run the 'xadd' command",
                "`ACL SETUSER`",
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                "another key",
            ),
            ("Connection refused (os error 111)", "`url`"),
            (
                "failed to lookup address information: Name or service not known",
                "host and port",
            ),
            (UNHEARD, "`url`"),
        ] {
            let told = advised(said.to_owned());
            let advice = told.strip_prefix(said).unwrap_or_else(|| panic!("{told}"));
            assert!(
                advice.starts_with("; ") && advice.contains(change),
                "{told}"
            );
        }
        let waits = "LOADING Redis is loading the dataset in memory";
        assert_eq!(advised(waits.to_owned()), waits);
    }
}
