//! What a handler may take: how an argument is read from a message.
//!
//! Two traits, because a reference argument borrows from the message and an owned one may take it
//! apart: the macro looks at each argument for a leading `&` and picks the trait by that.

use serde::de::DeserializeOwned;

use crate::{Error, Message, Result};

/// An argument by value.
///
/// Implement it for a type of your own to keep decoding out of the handler:
///
/// ```
/// use wharf_sdk::prelude::*;
/// use wharf_sdk::FromMessage;
///
/// struct Tenant(String);
///
/// impl FromMessage for Tenant {
///     fn from_message(message: &Message) -> Result<Self> {
///         let tenant = message.header_text("tenant").or_reject("no tenant header")?;
///         Ok(Tenant(tenant.to_owned()))
///     }
/// }
///
/// #[wharf_sdk::handler]
/// fn handle(tenant: Tenant, text: String) -> Outgoing {
///     Outgoing::text(tenant.0, text)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    label = "cannot be read from a message",
    note = "take `Message`, `&Message`, `Json<T>` where `T: Deserialize`, `String`, `&str`, `Vec<u8>` or `&[u8]`, or implement `FromMessage`"
)]
pub trait FromMessage: Sized {
    /// Reads the argument from a message that other arguments need too.
    ///
    /// An error ends the call before the handler runs. Reject what can never be read.
    fn from_message(message: &Message) -> Result<Self>;

    /// Reads the argument from a message that nobody else needs. Override it where that saves a copy.
    fn take_message(message: Message) -> Result<Self> {
        Self::from_message(&message)
    }
}

/// An argument behind `&`.
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `&{Self}`",
    label = "cannot be borrowed from a message",
    note = "take `&Message`, `&str` or `&[u8]`, or `Json<T>` by value"
)]
pub trait FromMessageRef {
    /// Borrows the argument from the message. An error ends the call before the handler runs.
    fn from_message_ref(message: &Message) -> Result<&Self>;
}

/// The payload parsed as JSON. What does not parse is rejected with the code `invalid-json`: it will
/// never parse.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// #[wharf_sdk::handler]
/// fn handle(Json(sum): Json<Vec<i64>>) -> Outgoing {
///     Outgoing::text("sums", sum.iter().sum::<i64>().to_string())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromMessage for Json<T> {
    fn from_message(message: &Message) -> Result<Self> {
        message.json().map(Json)
    }
}

impl FromMessage for Message {
    fn from_message(message: &Message) -> Result<Self> {
        Ok(message.clone())
    }

    fn take_message(message: Message) -> Result<Self> {
        Ok(message)
    }
}

impl FromMessage for Vec<u8> {
    fn from_message(message: &Message) -> Result<Self> {
        Ok(message.payload.clone())
    }

    fn take_message(message: Message) -> Result<Self> {
        Ok(message.payload)
    }
}

impl FromMessage for String {
    fn from_message(message: &Message) -> Result<Self> {
        message.text().map(str::to_owned)
    }

    fn take_message(message: Message) -> Result<Self> {
        String::from_utf8(message.payload).map_err(|error| not_utf8(error.utf8_error()))
    }
}

impl FromMessageRef for Message {
    fn from_message_ref(message: &Message) -> Result<&Self> {
        Ok(message)
    }
}

impl FromMessageRef for str {
    fn from_message_ref(message: &Message) -> Result<&Self> {
        message.text()
    }
}

impl FromMessageRef for [u8] {
    fn from_message_ref(message: &Message) -> Result<&Self> {
        Ok(&message.payload)
    }
}

pub(crate) fn not_utf8(error: std::str::Utf8Error) -> Error {
    Error::reject(format!("the payload is not UTF-8: {error}")).with_code("invalid-utf8")
}

pub(crate) fn not_json(error: &serde_json::Error) -> Error {
    Error::reject(format!("the payload is not the expected JSON: {error}"))
        .with_code("invalid-json")
}
