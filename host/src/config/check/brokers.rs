//! Rules about the brokers themselves.

use std::collections::BTreeMap;

#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
mod faults;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;

use super::Check;
use crate::config::Broker;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, broker) in &config.brokers {
        let path = Path::of(["brokers", name]);
        match broker {
            Broker::Embedded(embedded) => {
                if embedded.path.is_dir() {
                    check
                        .value(
                            &path.key("path"),
                            "this is a folder, and the broker is one file",
                        )
                        .set_help("name a file in it, such as `wharf.db`");
                }
                if embedded.max_message.as_u64() == 0 {
                    check.value(
                        &path.key("max_message"),
                        "a broker that takes no byte takes no message",
                    );
                }
            }
            #[cfg(feature = "redis")]
            Broker::Redis(redis) => self::redis::check(check, &path, redis),
            #[cfg(feature = "kafka")]
            Broker::Kafka(kafka) => self::kafka::check(check, &path, kafka),
            #[cfg(feature = "rabbitmq")]
            Broker::RabbitMq(rabbitmq) => self::rabbitmq::check(check, &path, rabbitmq),
            #[cfg(feature = "nats")]
            Broker::Nats(nats) => self::nats::check(check, &path, nats),
        }
    }
    one_file_one_broker(check);
}

/// One host owns an embedded file, through one broker: two would fight over its write lock.
fn one_file_one_broker(check: &mut Check<'_>) {
    let mut seen: BTreeMap<&std::path::Path, Path> = BTreeMap::new();
    for (name, broker) in &check.config.brokers {
        #[cfg_attr(
            not(any(
                feature = "kafka",
                feature = "nats",
                feature = "rabbitmq",
                feature = "redis"
            )),
            expect(irrefutable_let_patterns)
        )]
        let Broker::Embedded(embedded) = broker else {
            continue;
        };
        let path = Path::of(["brokers", name, "path"]);
        match seen.get(embedded.path.as_path()) {
            Some(first) => {
                let first = check.merged.value_span(first);
                check
                    .value(&path, "two brokers are on one file")
                    .add_related(first, "the first is here")
                    .set_help("use one broker; topics keep messages apart");
            }
            None => {
                seen.insert(&embedded.path, path);
            }
        }
    }
}
