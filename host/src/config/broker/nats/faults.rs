//! What cannot be right, whatever the server says.

use std::time::Duration;

use super::{Nats, Stream};
use crate::config::broker::faults::{Fault, Faults};

/// What is wrong with a subject that is read or held; `wild` where `*` and `>` may be in it.
#[must_use]
pub fn subject_problem(subject: &str, wild: bool) -> Option<&'static str> {
    let words: Vec<&str> = subject.split('.').collect();
    let last = words.len() - 1;
    for (index, word) in words.iter().enumerate() {
        match *word {
            "" => return Some("a subject is words separated by single dots"),
            "*" | ">" if !wild => return Some("one subject is wanted here, without `*` and `>`"),
            ">" if index < last => return Some("`>` stands for the rest: it can only come last"),
            word if word.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                return Some("a subject has no spaces");
            }
            _ => {}
        }
    }
    None
}

/// What is wrong with the name of a stream, or of a consumer.
#[must_use]
pub fn name_problem(name: &str) -> Option<&'static str> {
    const FORBIDDEN: [char; 5] = ['.', '*', '>', '/', '\\'];
    if name.is_empty() {
        return Some("it is empty");
    }
    let bad = |c: char| FORBIDDEN.contains(&c) || c.is_whitespace() || c.is_control();
    name.contains(bad)
        .then_some("names of streams and consumers are without `.`, `*`, `>`, slashes and spaces")
}

impl Nats {
    /// Everything that cannot be right. No secret is in it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.servers(&mut faults);
        self.login(&mut faults);
        self.bounds(&mut faults);
        let declare = &self.declare;
        for (name, stream) in &declare.streams {
            if let Some(problem) = name_problem(name) {
                let help = "call it `ORDERS`, say";
                faults.add(&["declare", "streams", name], problem, help);
            }
            self.stream(&mut faults, name, stream);
        }
        if let Some(name) = &declare.dead_letters {
            let path = ["declare", "dead_letters"];
            if let Some(problem) = name_problem(name) {
                faults.add(&path, problem, "call it `DLQ`, say");
            }
            if declare.streams.contains_key(name) {
                let message = format!("`{name}` is declared under `streams` as well");
                faults.add(&path, message, "take another name");
            }
        }
        faults.0
    }

    fn servers(&self, faults: &mut Faults) {
        let mut add = |message: &str| {
            let help = "write `nats://host:port` or `tls://host:port`, several separated by commas";
            faults.add(&["url"], message, help);
        };
        // Neither is the URL shown, nor the client's reason, which may quote it.
        for one in self.url.expose().split(',') {
            match one.trim().parse::<async_nats::ServerAddr>() {
                Ok(server) if server.host().is_empty() => add("a server without a host"),
                Ok(server) if !["nats", "tls"].contains(&server.scheme()) => {
                    add("only `nats` and `tls` are spoken, not the schemes of web sockets");
                }
                Ok(_) => {}
                Err(_) => add("this is not the URL of a NATS server"),
            }
        }
    }

    fn login(&self, faults: &mut Faults) {
        let ways = [
            ("credentials", self.credentials.is_some()),
            ("nkey", self.nkey.is_some()),
            ("token", self.token.is_some()),
            ("user", self.user.is_some()),
        ];
        let mut given = ways.iter().filter(|(_, given)| *given).map(|(key, _)| *key);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            let message = format!("`{first}` and `{second}` are two ways to log in");
            faults.add(&[second], message, "keep one of them");
        }
        if self.user.is_some() != self.password.is_some() {
            let (key, other) = match self.user {
                Some(_) => ("user", "password"),
                None => ("password", "user"),
            };
            let message = format!("`{key}` without `{other}`");
            faults.add(&[key], message, "write both, or neither");
        }
        let tls = &self.tls;
        if tls.certificate.is_some() != tls.key.is_some() {
            let (key, other) = match tls.certificate {
                Some(_) => ("certificate", "key"),
                None => ("key", "certificate"),
            };
            let message = format!("`{key}` without `{other}`");
            faults.add(&["tls", key], message, "write both, or neither");
        }
    }

    fn bounds(&self, faults: &mut Faults) {
        if self.connect_timeout.is_zero() {
            let message = "a connection cannot be made in no time";
            faults.add(&["connect_timeout"], message, "the default is `5s`");
        }
        if self.ack_wait < Duration::from_secs(1) {
            let message = "a host that is only busy would be taken for a dead one";
            let help = "write at least `1s`; the default is `30s`";
            faults.add(&["ack_wait"], message, help);
        }
        if !(1..=1_000_000).contains(&self.max_ack_pending) {
            let message = format!("{} is not between 1 and 1,000,000", self.max_ack_pending);
            faults.add(&["max_ack_pending"], message, "the default is 10000");
        }
    }

    fn stream(&self, faults: &mut Faults, name: &str, stream: &Stream) {
        let at = |key: &'static str| ["declare", "streams", name, key];
        if stream.subjects.is_empty() {
            let help = "write `subjects: [orders.>]`, say";
            faults.add(&at("subjects"), "a stream of no subjects", help);
        }
        for subject in &stream.subjects {
            if let Some(problem) = subject_problem(subject, true) {
                let message = format!("`{subject}`: {problem}");
                faults.add(&at("subjects"), message, "write `orders.>`, say");
            }
        }
        if ![1, 3, 5].contains(&stream.replicas) {
            let message = format!("{} copies", stream.replicas);
            faults.add(&at("replicas"), message, "write 1, 3 or 5");
        }
        if stream
            .max_age
            .is_some_and(|age| age < stream.duplicate_window)
        {
            let message = "repeats cannot be recognised for longer than messages are kept";
            let help = "write a `duplicate_window` that is not above `max_age`";
            faults.add(&at("duplicate_window"), message, help);
        }
    }
}
