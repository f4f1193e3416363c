//! The Rust twin of the JavaScript and Python hello handlers: greets who is named in the payload.
//!
//! The three are held to one fixture, `tests/fixtures/hello.jsonl`. What they share:
//!
//! * A payload such as `{"name": "Ada"}` sends `{"greeting": "Hello, Ada!", "at": 1700000000000}` to
//!   `greetings`, with the key, the correlation id and every `tag` header of the message, and a text
//!   to `reply` where somebody waits for one.
//! * A deletion is passed on, an empty payload is accepted without an output.
//! * What is no JSON object is rejected (`invalid-json`), as is one without a name (`no-name`).
//! * `from_attempt: 3` is not ready before the third attempt; `needs: "x"` misses its dependency.

use std::time::Duration;

use wharf_sdk::prelude::*;

#[derive(Deserialize)]
struct Hello {
    name: Option<String>,
    #[serde(default)]
    from_attempt: u32,
    needs: Option<String>,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
    at: u64,
}

#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Vec<Outgoing>> {
    if message.tombstone {
        return Ok(vec![message.forward("greetings")]);
    }
    if message.payload.is_empty() {
        return Ok(Vec::new());
    }
    let hello: Hello = message.json()?;
    if let Some(dependency) = hello.needs {
        return unavailable(format!("{dependency} is down")).code(dependency);
    }
    if message.attempt < hello.from_attempt {
        return retry("not ready yet")
            .code("not-ready")
            .after(Duration::from_millis(250));
    }
    let name = hello.name.filter(|name| !name.is_empty());
    let name = name.or_reject("nobody to greet").code("no-name")?;
    greet(message, &format!("Hello, {name}!"))
}

fn greet(message: Message, text: &str) -> Result<Vec<Outgoing>> {
    let answer = message.reply_to.is_some().then(|| message.reply(text));
    let greeting = Greeting {
        greeting: text.to_owned(),
        at: message.timestamp_ms,
    };
    let mut out = Outgoing::json("greetings", &greeting)?;
    out.key = message.key;
    out.correlation_id = message.correlation_id;
    out.headers = message.headers;
    out.headers.retain(|header| header.name == "tag");
    Ok([out].into_iter().chain(answer).collect())
}
