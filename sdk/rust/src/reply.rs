//! What a handler may return: how it becomes a list of outputs or a failure.

use std::io::Write;

use crate::contract::Failure;
use crate::{Error, Outgoing, Result};

/// A return type of a handler.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "neither an output nor a collection of outputs",
    note = "return `()`, `Outgoing`, `Option<Outgoing>`, `Vec<Outgoing>`, an array or a tuple of these, or a `Result` of one"
)]
pub trait IntoReply {
    /// What to publish, or how the call failed.
    fn into_reply(self) -> Result<Vec<Outgoing>>;
}

impl IntoReply for () {
    fn into_reply(self) -> Result<Vec<Outgoing>> {
        Ok(Vec::new())
    }
}

impl IntoReply for Outgoing {
    fn into_reply(self) -> Result<Vec<Outgoing>> {
        Ok(vec![self])
    }
}

impl<R: IntoReply> IntoReply for Option<R> {
    fn into_reply(self) -> Result<Vec<Outgoing>> {
        self.map_or_else(|| Ok(Vec::new()), IntoReply::into_reply)
    }
}

impl IntoReply for Vec<Outgoing> {
    fn into_reply(self) -> Result<Vec<Outgoing>> {
        Ok(self)
    }
}

impl<const N: usize> IntoReply for [Outgoing; N] {
    fn into_reply(self) -> Result<Vec<Outgoing>> {
        Ok(self.into())
    }
}

/// The error may be any that `?` takes: it becomes a retry with its chain as the reason.
impl<R: IntoReply, E: Into<Error>> IntoReply for std::result::Result<R, E> {
    fn into_reply(self) -> Result<Vec<Outgoing>> {
        self.map_err(Into::into)?.into_reply()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: IntoReply),+> IntoReply for ($($name,)+) {
            #[allow(non_snake_case)] // The type parameters name the values too.
            fn into_reply(self) -> Result<Vec<Outgoing>> {
                let ($($name,)+) = self;
                let mut all = Vec::new();
                $(all.extend($name.into_reply()?);)+
                Ok(all)
            }
        }
    };
}

tuples!(A B);
tuples!(A B C);
tuples!(A B C D);

/// The end of every call: the contract's shape, and nothing left in the buffer of `print!`, which
/// would otherwise appear with a later message or never.
#[doc(hidden)]
pub fn finish(reply: Result<Vec<Outgoing>>) -> std::result::Result<Vec<Outgoing>, Failure> {
    // A guest whose stdout is closed has no one to tell.
    let _closed = std::io::stdout().flush();
    reply.map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(reply: impl IntoReply) -> Vec<String> {
        reply
            .into_reply()
            .unwrap()
            .into_iter()
            .map(|out| out.destination)
            .collect()
    }

    fn to(destination: &str) -> Outgoing {
        Outgoing::new(destination, "")
    }

    #[test]
    fn every_shape_becomes_a_list_in_order() {
        assert_eq!(names(()), [""; 0]);
        assert_eq!(names(to("a")), ["a"]);
        assert_eq!(names(None::<Outgoing>), [""; 0]);
        assert_eq!(names(Some(to("a"))), ["a"]);
        assert_eq!(names(vec![to("a"), to("b")]), ["a", "b"]);
        assert_eq!(names([to("a"), to("b")]), ["a", "b"]);
        assert_eq!(
            names((to("a"), Some(to("b")), vec![to("c")])),
            ["a", "b", "c"]
        );
        assert_eq!(names(Ok::<_, Error>((to("a"), to("b")))), ["a", "b"]);
    }

    #[test]
    fn an_error_of_any_type_is_a_retry_and_ours_stays_what_it_is() {
        let parse = "x".parse::<u8>().map(|_| ());
        assert_eq!(
            parse.into_reply().unwrap_err(),
            Error::retry("invalid digit found in string")
        );
        let own: Result = Err(Error::reject("no"));
        assert_eq!(own.into_reply().unwrap_err(), Error::reject("no"));
        let half = (to("a"), Err::<Outgoing, _>(Error::unavailable("down")));
        assert_eq!(half.into_reply().unwrap_err(), Error::unavailable("down"));
    }
}
