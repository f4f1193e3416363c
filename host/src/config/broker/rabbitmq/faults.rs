//! What cannot be right, whatever the server says.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};

use super::{Binding, ExchangeKind, Queue, QueueKind, RabbitMq};
use crate::config::broker::faults::{Fault, Faults};

/// The longest name AMQP can carry.
const LONGEST: usize = 255;
/// Shorter, and a busy host is taken for a dead one.
const LEAST_HEARTBEAT: u64 = 1;
/// Shorter, and everything would only go back and forth.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Arguments that have a key here.
const QUEUE_KEYS: [(&str, &str); 9] = [
    ("x-queue-type", "use `kind`"),
    ("x-single-active-consumer", "use `single_active_consumer`"),
    ("x-message-ttl", "use `message_ttl`"),
    ("x-max-priority", "use `max_priority`"),
    ("x-dead-letter-exchange", "use `dead_letter`"),
    ("x-dead-letter-routing-key", "use `dead_letter`"),
    ("x-delivery-limit", "use `delivery_limit`"),
    ("x-max-length", "use `max_length`"),
    ("x-max-length-bytes", "use `max_bytes`"),
];

impl RabbitMq {
    /// Everything that cannot be right. No secret is in it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.connection(&mut faults);
        self.certificates(&mut faults);
        for name in self.declare.exchanges.keys() {
            named(&mut faults, &["declare", "exchanges", name], name);
        }
        for (name, exchange) in &self.declare.exchanges {
            if exchange.arguments.contains_key("alternate-exchange") {
                let path = [
                    "declare",
                    "exchanges",
                    name,
                    "arguments",
                    "alternate-exchange",
                ];
                faults.add(
                    &path,
                    "`alternate-exchange` cannot be set here",
                    "use `alternate`",
                );
            }
        }
        for (name, queue) in &self.declare.queues {
            named(&mut faults, &["declare", "queues", name], name);
            self.queue(&mut faults, name, queue);
        }
        faults.0
    }

    fn connection(&self, faults: &mut Faults) {
        let seconds = self.heartbeat.as_secs();
        if self.heartbeat.subsec_nanos() != 0
            || !(LEAST_HEARTBEAT..=u64::from(u16::MAX)).contains(&seconds)
        {
            let help = "write whole seconds, at least `1s`; the default is `10s`";
            faults.add(&["heartbeat"], "the server counts whole seconds", help);
        }
        if self.connect_timeout.is_zero() {
            let message = "a connection cannot be made in no time";
            faults.add(&["connect_timeout"], message, "the default is `5s`");
        }
        if self.consumer_timeout < LEAST_PATIENCE {
            let message = "nothing could be handled while the server waits";
            let help = "write what the server's `consumer_timeout` is, at least `1s`; its default is `30m`";
            faults.add(&["consumer_timeout"], message, help);
        }
        let url = self.url.expose();
        // The client's reason is not shown: it may quote the URL.
        let Ok(uri) = url.parse::<AMQPUri>() else {
            let message = "this is not the URL of a RabbitMQ server";
            let help = "write `amqp://user:password@host:port/vhost`, or `amqps://…` for TLS";
            return faults.add(&["url"], message, help);
        };
        if uri.vhost.is_empty() {
            let message = "the virtual host is empty, which is another one than `/`";
            let help = "leave the slash at the end out, or write `/%2f`";
            faults.add(&["url"], message, help);
        }
        let query = url.split_once('?').map_or("", |(_, query)| query);
        for one in query.split('&') {
            let instead = match one.split('=').next() {
                Some("heartbeat") => "use `heartbeat`",
                Some("connection_timeout") => "use `connect_timeout`",
                Some("channel_max" | "frame_max") => "leave it out: the server says",
                _ => continue,
            };
            faults.add(&["url"], "the URL sets what is set elsewhere", instead);
        }
    }

    fn certificates(&self, faults: &mut Faults) {
        let tls = self.url.expose().parse::<AMQPUri>();
        let encrypted = tls.map_or(true, |uri| uri.scheme == AMQPScheme::AMQPS);
        let files = [
            ("ca", &self.tls.ca),
            ("certificate", &self.tls.certificate),
            ("key", &self.tls.key),
        ];
        for (key, file) in files {
            let Some(file) = file else { continue };
            if !encrypted {
                let message = format!("`{key}` is of no use without TLS");
                faults.add(&["tls", key], message, "write `amqps://` in `url`");
            } else if let Err(error) = std::fs::File::open(file) {
                let message = format!("`{}` cannot be read: {}", file.display(), error.kind());
                faults.add(
                    &["tls", key],
                    message,
                    "name a file that this host may read",
                );
            }
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            let message = "`certificate` and `key` are of use only together";
            faults.add(&["tls"], message, "give both, or neither");
        }
    }

    fn queue(&self, faults: &mut Faults, name: &str, queue: &Queue) {
        let path = |key: &'static str| ["declare", "queues", name, key];
        match queue.kind {
            QueueKind::Quorum if queue.max_priority.is_some() => faults.add(
                &path("max_priority"),
                "a quorum queue takes no priorities",
                "use `kind: classic`, or a queue for each priority",
            ),
            QueueKind::Classic if queue.delivery_limit.is_some() => faults.add(
                &path("delivery_limit"),
                "a classic queue does not count deliveries",
                "use `kind: quorum`; the host counts crashes on both",
            ),
            _ => {}
        }
        let ttl = queue.message_ttl.map(|ttl| ttl.as_millis());
        if ttl.is_some_and(|ms| ms == 0 || ms > u32::MAX.into()) {
            faults.add(
                &path("message_ttl"),
                "the server takes no such time",
                "write at least `1ms`, at most `49d`",
            );
        }
        for (argument, instead) in QUEUE_KEYS {
            if queue.arguments.contains_key(argument) {
                let path = ["declare", "queues", name, "arguments", argument];
                faults.add(&path, format!("`{argument}` cannot be set here"), instead);
            }
        }
        if queue.arguments.contains_key("x-expires") {
            let path = ["declare", "queues", name, "arguments", "x-expires"];
            faults.add(
                &path,
                "a queue that expires is deleted with the messages in it",
                "leave it out",
            );
        }
        for (index, binding) in queue.bindings.iter().enumerate() {
            let index = index.to_string();
            let path = ["declare", "queues", name, "bindings", &index];
            self.binding(faults, &path, binding);
        }
    }

    fn binding(&self, faults: &mut Faults, path: &[&str], binding: &Binding) {
        if binding.exchange.is_empty() {
            return faults.add(
                path,
                "every queue is bound to the default exchange by its name, and by nothing else",
                "leave the binding out, or name an exchange",
            );
        }
        // Of one that is made elsewhere nothing is known.
        let Some(exchange) = self.declare.exchanges.get(&binding.exchange) else {
            return;
        };
        let (key, headers) = (binding.routing_key.is_some(), !binding.headers.is_empty());
        match exchange.kind {
            ExchangeKind::Headers if !headers => faults.add(
                path,
                format!(
                    "`{}` chooses by headers, and there are none",
                    binding.exchange
                ),
                "write `headers: { name: value }`",
            ),
            ExchangeKind::Direct | ExchangeKind::Topic if !key => faults.add(
                path,
                format!(
                    "`{}` chooses by routing key, and there is none",
                    binding.exchange
                ),
                "write `routing_key`; `#` fits all on a topic exchange",
            ),
            _ => {}
        }
        if headers && exchange.kind != ExchangeKind::Headers {
            let message = format!("`{}` does not look at headers", binding.exchange);
            faults.add(
                path,
                message,
                "use `routing_key`, or `kind: headers` of the exchange",
            );
        }
        if key && matches!(exchange.kind, ExchangeKind::Fanout | ExchangeKind::Headers) {
            let message = format!("`{}` does not look at routing keys", binding.exchange);
            faults.add(path, message, "leave `routing_key` out");
        }
    }
}

fn named(faults: &mut Faults, path: &[&str], name: &str) {
    if name.is_empty() || name.len() > LONGEST {
        faults.add(path, "a name has 1 to 255 bytes", "shorten it");
    } else if name.starts_with("amq.") {
        let message = "names that begin with `amq.` are the server's own";
        faults.add(path, message, "use another name");
    }
}
