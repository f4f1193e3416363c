//! What is changed on the way.

use plugins_common::{Settings, pass_on};
use wharf_sdk::{Header, Message, OrFail, Outgoing, Result, config, prelude::Coded, reject};

const OUT: &str = "out";

/// The settings of a bridge.
pub(crate) struct Rules {
    /// Names of headers, or beginnings followed by `*`, in lower case.
    drop: Vec<String>,
    add: Vec<Header>,
    topic: Option<String>,
    skip: Option<String>,
}

impl Rules {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self> {
        let drop = settings.list("drop_headers");
        let add = settings.take("add_headers").unwrap_or_default();
        let lines = add.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Self {
            drop: drop.iter().map(|name| name.to_lowercase()).collect(),
            add: lines.map(header).collect::<Result<_>>()?,
            topic: settings.take("topic_header"),
            skip: settings.take("skip_header"),
        })
    }

    /// The message as it goes on, or nothing where it does not.
    pub(crate) fn forward(&self, message: Message) -> Result<Option<Outgoing>> {
        if self.skip.as_ref().is_some_and(|name| has(&message, name)) {
            return Ok(None);
        }
        let topic = self.topic(&message)?;
        let mut out = pass_on(message, OUT);
        out.topic = topic;
        out.headers.retain(|header| !self.drops(&header.name));
        out.headers.extend_from_slice(&self.add);
        Ok(Some(out))
    }

    fn topic(&self, message: &Message) -> Result<Option<String>> {
        let Some(name) = &self.topic else {
            return Ok(None);
        };
        let mut headers = message.headers.iter();
        let Some(header) = headers.find(|header| header.name.eq_ignore_ascii_case(name)) else {
            return Ok(None);
        };
        let topic = std::str::from_utf8(&header.value)
            .or_reject(format!("the header `{name}` names no topic"))
            .code("bad-topic")?;
        if topic.is_empty() {
            return reject(format!("the header `{name}` is empty")).code("bad-topic");
        }
        Ok(Some(topic.to_owned()))
    }

    fn drops(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *pattern,
        };
        self.drop.iter().any(fits)
    }
}

fn has(message: &Message, name: &str) -> bool {
    let mut headers = message.headers.iter();
    headers.any(|header| header.name.eq_ignore_ascii_case(name))
}

/// `name: value`. The value is not quoted in the error: it may be a secret.
fn header(line: &str) -> Result<Header> {
    match line.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok(Header {
            name: name.trim().to_owned(),
            value: value.trim().into(),
        }),
        _ => Err(config::invalid(
            "a line of the setting `add_headers` is not `name: value`",
        )),
    }
}

#[cfg(test)]
mod tests;
