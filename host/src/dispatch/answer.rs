//! What whoever waits for an answer is told when there will be none.
//!
//! A failure that is tried again is not told: an answer may come yet. One that ends as a dead letter is, with the reason and
//! the code the dead letter has. Only a request is answered so: to others a reply-to is where results go, not failures.

use std::sync::Arc;

use bytestring::ByteString;

use crate::commit::{Cause, Destination, Publication};
use crate::dispatch::attempt::Diagnosis;
use crate::dispatch::route::Route;
use crate::message::{ERROR, ERROR_CODE, Header, Message, Outgoing};

/// Longer reasons are cut, in bytes: an answer has to fit where a message did.
const REASON: usize = 1024;

/// The answer, where one is waited for and replies are granted.
pub(super) fn failure(
    route: &Route,
    message: &Message,
    cause: Cause,
    diagnosis: &Diagnosis,
) -> Option<Publication> {
    let to = message.reply_to.as_deref().filter(|_| message.request)?;
    let kind = route.replies?;
    let reason = match route.redact.reason {
        true => cause.as_str(),
        false => &diagnosis.reason[..diagnosis.reason.floor_char_boundary(REASON)],
    };
    let code = diagnosis.code.clone();
    let code = code.unwrap_or_else(|| code_of(cause).to_owned());
    let header = |name, value: String| Header::text(ByteString::from_static(name), value);
    let broker = Arc::clone(&route.broker);
    Some(Publication {
        destination: Arc::new(Destination::new("reply", broker, kind, to)),
        message: Outgoing {
            destination: ByteString::from_static("reply"),
            id: Some(format!("{}/{}/failure", message.id, route.spec.plugin).into()),
            headers: vec![
                header(ERROR, reason.to_owned()),
                header(ERROR_CODE, code),
                header("wharf-cause", cause.as_str().to_owned()),
            ],
            correlation_id: message.correlation_id.clone(),
            ..Outgoing::default()
        },
    })
}

/// A number, as services have it, where the handler gave no code of its own.
fn code_of(cause: Cause) -> &'static str {
    match cause {
        Cause::Rejected | Cause::Unrepresentable => "400",
        Cause::Expired => "408",
        Cause::Exhausted => "503",
        Cause::Deadline => "504",
        Cause::Trap
        | Cause::Memory
        | Cause::BadOutput
        | Cause::Denied
        | Cause::Undeliverable
        | Cause::CrashLoop => "500",
    }
}
