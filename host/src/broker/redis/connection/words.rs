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

/// Words of an error that somebody has to act on, and what to do. The library of TLS and the server say what they found;
/// what to change in which file only we know.
const ADVICE: [(&str, &str); 17] = [
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
    (
        SILENT,
        "if it does not speak TLS there, use its port for TLS, or `redis://`",
    ),
    (
        PLAIN,
        "it hung up at the first word: if it speaks TLS there, write `rediss://`",
    ),
];

/// How a server answers the greeting of TLS that takes it for the beginning of a long command.
pub(super) const SILENT: &str = "no answer when TLS was begun";

/// How a greeting ends that was not answered but by the end of the connection.
pub(super) const PLAIN: &str = "the server closed the connection while it was greeted";

fn advice(text: &str) -> Option<&'static str> {
    ADVICE
        .iter()
        .find(|(word, _)| text.contains(word))
        .map(|(_, advice)| *advice)
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
    let advice = advice(&said);
    let text = match advice {
        Some(advice) => format!("redis at {at}: {said}; {advice}"),
        None => format!("redis at {at}: {said}"),
    };
    // A greeting that ends so may also be that of a server that is just going down.
    let perhaps = said.contains(PLAIN) || said.contains(SILENT);
    if refused || (advice.is_some() && !perhaps) {
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
        assert!(
            matches!(&told, BrokerError::Unavailable(text) if text.starts_with("redis at a:1"))
        );
        let told = broker_error("a:1", &io(PLAIN));
        assert!(matches!(&told, BrokerError::Unavailable(text) if text.contains("rediss://")));
    }
}
