//! Any configuration that is written down and loaded is the same; any text at all gets an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use saphyr::{Scalar, Yaml, YamlEmitter};
use serde_json::Value;
use wharf::config::kafka::{
    Cleanup, Compression, Kafka, Mechanism, Partitioner, Property, Security, SecurityProtocol,
    Topic,
};
use wharf::config::nats::{self, Discard, Nats, Retention, Storage, Stream};
use wharf::config::rabbitmq::{
    Argument, Binding, DeadLetters, Declare, Exchange, ExchangeKind, Match, Queue, QueueKind,
    RabbitMq,
};
use wharf::config::{
    self, Admin, Breaker, Broker, ByteSize, Config, DeadLetter, Defaults, Destination, Embedded,
    Grants, HeaderSelection, Host, Isolation, Limits, Log, LogFormat, MaxInFlight,
    OnComponentError, OnDeadLetter, Order, PayloadField, Plugin, Provide, Readiness, Recycle,
    Redact, Redis, Retry, Secret, Start, Subscription, Sync, Telemetry,
};
use wharf::place::PlaceKind;

/// Any text: quotes, newlines, dollars, braces, words that YAML reads as something else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{1,12}",
        "[a-z${}:?#'\" \n\t-]{1,12}",
        prop::sample::select(vec![
            "null",
            "~",
            "true",
            "yes",
            "1",
            "1.5",
            "0x1",
            "${HOME}",
            "$$",
            "<<",
            "- a",
            "entry",
            "é漢🦀",
            "^"
        ])
        .prop_map(str::to_owned),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,8}".prop_filter("reserved", |name| name != "reply")
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..5_000_000u64).prop_map(Duration::from_micros),
        (1..200_000u64).prop_map(Duration::from_secs)
    ]
}

fn size() -> impl Strategy<Value = ByteSize> {
    prop_oneof![
        (65_536..1u64 << 40).prop_map(ByteSize::bytes),
        (1..4096u64).prop_map(ByteSize::mib)
    ]
}

fn retry() -> impl Strategy<Value = Retry> {
    (
        0..=1000u32,
        duration(),
        1.0..100.0f64,
        duration(),
        0.0..=1.0f64,
    )
        .prop_map(
            |(max_retries, first, multiplier, second, randomization_factor)| Retry {
                max_retries,
                initial_interval: first.min(second),
                multiplier,
                max_interval: first.max(second),
                randomization_factor,
            },
        )
}

fn breaker() -> impl Strategy<Value = Breaker> {
    (
        1..100u32,
        duration(),
        duration(),
        prop::option::of(0.001..=1.0f64),
        1..100u32,
    )
        .prop_map(
            |(consecutive_failures, recovery_timeout, window, failure_ratio, min_calls)| Breaker {
                consecutive_failures,
                recovery_timeout,
                window,
                failure_ratio,
                min_calls,
            },
        )
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        duration(),
        size(),
        size(),
        any::<u32>(),
        size(),
        any::<u32>(),
    )
        .prop_map(
            |(deadline, memory, output, outputs, log, log_rate)| Limits {
                deadline,
                memory,
                output,
                outputs,
                log,
                log_rate,
            },
        )
}

fn dead_letter() -> impl Strategy<Value = DeadLetter> {
    // Longer than any other text, so that it is no plugin's source.
    let name = text().prop_map(|name| format!("dead letters {}", name.replace(['{', '}'], "")));
    prop::option::of(prop::option::of(name)).prop_map(|own| match own {
        Some(topic) => DeadLetter {
            broker: Some("local".to_owned()),
            topic,
            ..DeadLetter::default()
        },
        None => DeadLetter::default(),
    })
}

/// The keys that `defaults` and plugins share.
fn policy() -> impl Strategy<Value = Defaults> {
    let words = (
        prop::sample::select(vec![OnDeadLetter::Continue, OnDeadLetter::Halt]),
        prop::sample::select(vec![Isolation::Instance, Isolation::Message]),
        prop::sample::select(vec![OnComponentError::LastGood, OnComponentError::Skip]),
        (1..1000u32, duration()).prop_map(|(messages, idle)| Recycle { messages, idle }),
        prop_oneof![
            Just(HeaderSelection::All),
            prop::collection::vec(text(), 0..3).prop_map(HeaderSelection::Names)
        ],
        (
            prop::collection::vec(text(), 0..3),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(headers, payload, reason)| Redact {
                headers,
                payload,
                reason,
            }),
    );
    let numbers = (
        1..=65_536u32,
        size(),
        prop::option::of(1..=4096u32),
        1..u32::MAX,
        any::<bool>(),
        any::<bool>(),
    );
    (
        words,
        numbers,
        retry(),
        prop::option::of(dead_letter()),
        prop::option::of(breaker()),
        limits(),
    )
        .prop_map(
            |(words, numbers, retry, dead_letter, breaker, limits)| Defaults {
                order: Order::None,
                concurrency: numbers.0,
                concurrency_bytes: numbers.1,
                instances: numbers.2,
                retry,
                dead_letter,
                on_dead_letter: words.0,
                breaker,
                limits,
                isolation: words.1,
                recycle: words.3,
                provide: Provide {
                    origin: numbers.4,
                    headers: words.4,
                },
                on_component_error: words.2,
                max_deliveries: numbers.3,
                redact: words.5,
                reload: numbers.5,
            },
        )
}

fn start() -> impl Strategy<Value = Start> {
    prop::sample::select(vec![Start::Earliest, Start::Latest])
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let payload = prop::option::of(prop_oneof![
        Just(PayloadField::Entry),
        text().prop_map(PayloadField::Field)
    ]);
    (
        prop::sample::select(vec![
            PlaceKind::Topic,
            PlaceKind::Stream,
            PlaceKind::List,
            PlaceKind::SortedSet,
            PlaceKind::Channel,
            PlaceKind::Pattern,
        ]),
        text(),
        prop::option::of(text()),
        payload,
        start(),
    )
        .prop_map(|(kind, place, group, payload, start)| Subscription {
            group: group.filter(|_| has_groups(kind)),
            payload: payload.filter(|_| kind == PlaceKind::Stream),
            start: if has_groups(kind) {
                start
            } else {
                Start::default()
            },
            ..Subscription::new(broker_of(kind), kind, place)
        })
}

fn has_groups(kind: PlaceKind) -> bool {
    matches!(kind, PlaceKind::Topic | PlaceKind::Stream)
}

/// The broker among those that are drawn which has such places.
fn broker_of(kind: PlaceKind) -> &'static str {
    match kind {
        PlaceKind::Topic => "local",
        _ => "cache",
    }
}

fn destination() -> impl Strategy<Value = Destination> {
    let patterns = prop::option::of(prop::collection::vec("[a-z.]{0,5}\\*|[a-z]{1,5}", 0..3));
    (
        prop::sample::select(vec![
            PlaceKind::Topic,
            PlaceKind::Stream,
            PlaceKind::List,
            PlaceKind::SortedSet,
            PlaceKind::Channel,
        ]),
        text(),
        prop::option::of(1..i64::MAX as u64),
        patterns,
        prop::option::of(text()),
        prop::option::of(1..1_000_000_000u64),
    )
        .prop_map(
            |(kind, place, max_len, allow_topic_override, payload, age)| Destination {
                max_len: max_len.filter(|_| kind == PlaceKind::Stream),
                max_age: age
                    .filter(|_| kind == PlaceKind::Stream && max_len.is_none())
                    .map(Duration::from_millis),
                allow_topic_override,
                payload: payload.filter(|_| kind == PlaceKind::Stream),
                ..Destination::new(broker_of(kind), kind, place)
            },
        )
}

fn plugin() -> impl Strategy<Value = Plugin> {
    let grants = (
        prop::collection::btree_map(text(), text(), 0..3),
        prop::collection::btree_map(text(), text(), 0..3),
    );
    (
        prop::collection::btree_map(name(), subscription(), 1..3),
        prop::collection::btree_map(name(), destination(), 0..3),
        grants,
        prop::option::of("sha256:[0-9a-f]{64}"),
        policy(),
        prop::sample::select(vec![Order::None, Order::Key, Order::Source]),
    )
        .prop_map(
            |(subscribe, publish, (config, secrets), digest, policy, order)| {
                let ordered = subscribe.values().all(|one| one.broker == "local");
                Plugin {
                    component: "/no/such/component.wasm".into(),
                    digest,
                    subscribe,
                    publish,
                    grants: Grants {
                        config,
                        secrets: secrets
                            .into_iter()
                            .map(|(k, v)| (k, Secret::new(v)))
                            .collect(),
                        reply: order == Order::Key,
                    },
                    order: if ordered { order } else { Order::None },
                    concurrency: policy.concurrency,
                    concurrency_bytes: policy.concurrency_bytes,
                    instances: policy.instances,
                    retry: policy.retry,
                    dead_letter: policy.dead_letter,
                    on_dead_letter: policy.on_dead_letter,
                    breaker: policy.breaker,
                    limits: policy.limits,
                    isolation: policy.isolation,
                    recycle: policy.recycle,
                    provide: policy.provide,
                    on_component_error: policy.on_component_error,
                    max_deliveries: policy.max_deliveries,
                    redact: policy.redact,
                    reload: policy.reload,
                }
            },
        )
}

fn brokers() -> impl Strategy<Value = BTreeMap<String, Broker>> {
    let embedded = (
        prop::option::of(duration()),
        size(),
        prop::sample::select(vec![Sync::Full, Sync::Normal]),
    )
        .prop_map(|(retention, max_message, sync)| Embedded {
            retention,
            max_message,
            sync,
            ..Embedded::new("/no/such/folder/wharf.db")
        });
    let redis = (
        1..=10_000u32,
        duration(),
        duration(),
        prop::option::of(duration()),
        prop::option::of(text()),
        redis_access(),
    )
        .prop_map(
            |(prefetch, lease, connect_timeout, idle, name, access)| Redis {
                prefetch,
                lease: lease + Duration::from_millis(500),
                connect_timeout,
                foreign_idle: idle.map(|idle| idle + Duration::from_secs(1)),
                name,
                ..access
            },
        );
    let all = (embedded, redis, kafka(), rabbitmq(), nats());
    all.prop_map(|(embedded, redis, kafka, rabbitmq, nats)| {
        BTreeMap::from([
            ("local".to_owned(), Broker::Embedded(embedded)),
            ("cache".to_owned(), Broker::Redis(Box::new(redis))),
            ("bus".to_owned(), Broker::Kafka(Box::new(kafka))),
            ("queues".to_owned(), Broker::RabbitMq(Box::new(rabbitmq))),
            ("subjects".to_owned(), Broker::Nats(Box::new(nats))),
        ])
    })
}

fn nats() -> impl Strategy<Value = Nats> {
    let stream = (
        prop::collection::vec("[a-z]{1,5}(\\.[a-z*]{1,5}){0,2}(\\.>)?", 1..3),
        prop::sample::select(vec![
            Retention::Limits,
            Retention::Interest,
            Retention::WorkQueue,
        ]),
        prop::sample::select(vec![Storage::File, Storage::Memory]),
        prop::sample::select(vec![1, 3, 5]),
        prop::option::of(duration()),
        prop::option::of(1..u32::MAX),
        (prop::option::of(size()), prop::option::of(size())),
        prop::sample::select(vec![Discard::Old, Discard::New]),
    )
        .prop_map(
            |(subjects, retention, storage, replicas, window, max, (bytes, message), discard)| {
                Stream {
                    subjects,
                    retention,
                    storage,
                    replicas,
                    max_age: window.map(|window| window * 2),
                    max_messages: max,
                    max_bytes: bytes,
                    max_message: message,
                    discard,
                    duplicate_window: window.unwrap_or(Duration::from_secs(7)),
                }
            },
        );
    (
        prop::option::of(text()),
        duration(),
        duration(),
        1..=1_000_000u32,
        prop::option::of(text()),
        prop::option::of("DLQ-[A-Z]{1,5}"),
        prop::collection::btree_map("[A-Za-z_]{1,9}", stream, 0..3),
    )
        .prop_map(
            |(token, connect, wait, max_ack_pending, name, dead_letters, streams)| Nats {
                token: token.map(Secret::new),
                connect_timeout: connect,
                ack_wait: wait + Duration::from_secs(1),
                max_ack_pending,
                name,
                declare: nats::Declare {
                    streams,
                    dead_letters,
                },
                ..Nats::new("nats://ada:hunter2@127.0.0.1:4222")
            },
        )
}

fn kafka() -> impl Strategy<Value = Kafka> {
    let topic = (
        1..1000u32,
        prop::option::of(1..10u16),
        prop::option::of(duration()),
        prop::option::of(size()),
        prop::sample::select(vec![
            Cleanup::Delete,
            Cleanup::Compact,
            Cleanup::CompactDelete,
        ]),
    )
        .prop_map(
            |(partitions, replication, retention, retention_bytes, cleanup)| Topic {
                partitions,
                replication,
                retention,
                retention_bytes,
                cleanup,
                properties: BTreeMap::new(),
            },
        );
    (
        prop::option::of(duration()),
        prop::sample::select(vec![Compression::None, Compression::Zstd]),
        prop::sample::select(vec![Partitioner::Murmur2Random, Partitioner::Fnv1aRandom]),
        duration(),
        any::<bool>(),
        prop::collection::btree_map("x\\.[a-z]{1,5}", text().prop_map(Property), 0..3),
        prop::collection::btree_map("[a-z]{1,9}", topic, 0..3),
    )
        .prop_map(
            |(session, compression, partitioner, linger, secured, properties, declare)| {
                let security = Security {
                    protocol: SecurityProtocol::SaslPlaintext,
                    mechanism: Some(Mechanism::Plain),
                    username: Some("u".to_owned()),
                    password: Some(Secret::new("pa$$word")),
                    ..Security::default()
                };
                Kafka {
                    session_timeout: session.map(|s| s + Duration::from_secs(1)),
                    compression,
                    partitioner,
                    linger,
                    delivery_timeout: linger + Duration::from_secs(1),
                    security: if secured {
                        security
                    } else {
                        Security::default()
                    },
                    properties,
                    declare,
                    ..Kafka::new("127.0.0.1:9092")
                }
            },
        )
}

fn rabbitmq() -> impl Strategy<Value = RabbitMq> {
    let argument = prop_oneof![
        any::<bool>().prop_map(Argument::Flag),
        any::<i64>().prop_map(Argument::Number),
        text().prop_map(Argument::Text),
    ];
    let arguments = || prop::collection::btree_map("x-own-[a-z]{1,5}", argument.clone(), 0..3);
    let exchange = (
        prop::sample::select(vec![ExchangeKind::Direct, ExchangeKind::Fanout]),
        prop::option::of("[a-z]{1,9}"),
        arguments(),
    )
        .prop_map(|(kind, alternate, arguments)| Exchange {
            kind,
            alternate,
            arguments,
        });
    let binding = ("elsewhere-[a-z]{1,5}", prop::option::of("[a-z.#*]{1,9}")).prop_map(
        |(exchange, routing_key)| Binding {
            exchange,
            routing_key,
            headers: BTreeMap::new(),
            matching: Match::All,
        },
    );
    let queue = (
        prop::collection::vec(binding, 0..3),
        any::<bool>(),
        prop::option::of(1..1_000_000u64),
        prop::option::of(1..=255u8),
        prop::option::of(("[a-z]{0,5}", prop::option::of("[a-z]{1,5}"))),
        prop::option::of(size()),
        arguments(),
    )
        .prop_map(
            |(bindings, single, ttl, max_priority, dead_letter, max_bytes, arguments)| Queue {
                kind: match max_priority {
                    Some(_) => QueueKind::Classic,
                    None => QueueKind::Quorum,
                },
                bindings,
                single_active_consumer: single,
                message_ttl: ttl.map(Duration::from_millis),
                max_priority,
                dead_letter: dead_letter.map(|(exchange, routing_key)| DeadLetters {
                    exchange,
                    routing_key,
                }),
                delivery_limit: None,
                max_length: None,
                max_bytes,
                arguments,
            },
        );
    // More than twice any deadline.
    let waits = (400_000..900_000u64).prop_map(Duration::from_secs);
    (
        1..60_000u64,
        (duration(), waits),
        prop::option::of(text()),
        prop::collection::btree_map("[a-z]{1,9}", exchange, 0..3),
        prop::collection::btree_map("[a-z]{1,9}", queue, 0..3),
    )
        .prop_map(
            |(heartbeat, (connect, waits), name, exchanges, queues)| RabbitMq {
                heartbeat: Duration::from_secs(heartbeat),
                connect_timeout: connect + Duration::from_millis(1),
                consumer_timeout: waits,
                name,
                declare: Declare { exchanges, queues },
                ..RabbitMq::new("amqp://user:hunter2@127.0.0.1:5672/orders")
            },
        )
}

fn process() -> impl Strategy<Value = (Telemetry, Admin, Host, Log)> {
    let address = || {
        prop::option::of((any::<[u8; 4]>(), 1..30_000u16).prop_map(|(ip, port)| (ip, port).into()))
    };
    let telemetry = (
        address(),
        prop::sample::select(vec![Readiness::Brokers, Readiness::Process]),
    )
        .prop_map(|(listen, readiness)| Telemetry { listen, readiness });
    let admin = (
        prop::option::of((any::<[u8; 16]>(), 30_001..60_000u16)),
        text(),
    )
        .prop_map(|(listen, token)| Admin {
            listen: listen.map(Into::into),
            token: Some(Secret::new(token)),
        });
    let host = (
        prop::option::of(1..=1024u32),
        1..=1_048_576u32,
        size(),
        duration(),
    )
        .prop_map(|(workers, messages, bytes, drain)| Host {
            cache: "/no/such/cache".into(),
            guest_memory: None,
            workers,
            max_in_flight: MaxInFlight { messages, bytes },
            drain_timeout: drain + Duration::from_secs(1),
        });
    let log = (
        prop::option::of(prop::sample::select(vec![
            LogFormat::Pretty,
            LogFormat::Json,
        ])),
        prop::sample::select(vec!["info", "error,wharf=trace", "off"]),
    )
        .prop_map(|(format, level)| Log {
            format,
            level: level.to_owned(),
        });
    (telemetry, admin, host, log)
}

fn configuration() -> impl Strategy<Value = Config> {
    (
        policy(),
        brokers(),
        prop::collection::btree_map(name(), plugin(), 0..3),
        process(),
    )
        .prop_map(
            |(defaults, brokers, plugins, (telemetry, admin, host, log))| Config {
                version: 1,
                defaults,
                brokers,
                plugins,
                telemetry,
                admin,
                host,
                log,
            },
        )
        .prop_filter("two subscriptions in one group", |config| {
            let all = config.plugins.iter().flat_map(|(plugin, one)| {
                one.subscribe
                    .values()
                    .map(move |one| (&one.broker, one.place(), one.group(plugin)))
            });
            let mut all: Vec<_> = all.collect();
            all.sort_unstable();
            all.windows(2).all(|pair| pair[0] != pair[1])
        })
}

/// Redis as it may be reached: with a user in the URL or beside it, by sentinels, or as a cluster.
fn redis_access() -> impl Strategy<Value = Redis> {
    let watched = (
        prop::collection::vec("[a-z]{1,8}:[1-9]{4}", 1..4),
        name(),
        text(),
    );
    let found = prop_oneof![
        Just(Redis::new("redis://user:hunter2@127.0.0.1:6379/3")),
        (text(), text()).prop_map(|(user, password)| Redis {
            user: Some(user),
            password: Some(Secret::new(password)),
            ..Redis::new("rediss://127.0.0.1:6379/3")
        }),
        watched.prop_map(|(sentinels, master, password)| Redis {
            sentinels,
            master: Some(master),
            sentinel_user: Some("watcher".to_owned()),
            sentinel_password: Some(Secret::new(password)),
            ..Redis::new("redis://anywhere")
        }),
        Just(Redis {
            cluster: true,
            ..Redis::new("redis://a:7000, redis://b:7000")
        }),
    ];
    (found, prop::option::of(1..=100_u32)).prop_map(|(redis, wait_replicas)| Redis {
        wait_replicas,
        ..redis
    })
}

/// The configuration as somebody would write it: secrets in the open, dollars doubled.
fn written(config: &Config) -> Value {
    let mut json = serde_json::to_value(config).unwrap();
    double_dollars(&mut json);
    let doubled = |secret: &Secret| Value::from(secret.expose().replace('$', "$$"));
    for (name, broker) in &config.brokers {
        match broker {
            Broker::Redis(redis) => {
                json["brokers"][name]["url"] = doubled(&redis.url);
                let secrets = [
                    ("password", &redis.password),
                    ("sentinel_password", &redis.sentinel_password),
                ];
                for (key, secret) in secrets {
                    if let Some(secret) = secret {
                        json["brokers"][name][key] = doubled(secret);
                    }
                }
            }
            Broker::RabbitMq(rabbitmq) => json["brokers"][name]["url"] = doubled(&rabbitmq.url),
            Broker::Nats(nats) => {
                json["brokers"][name]["url"] = doubled(&nats.url);
                if let Some(token) = &nats.token {
                    json["brokers"][name]["token"] = doubled(token);
                }
            }
            Broker::Kafka(kafka) => {
                if let Some(password) = &kafka.security.password {
                    json["brokers"][name]["security"]["password"] = doubled(password);
                }
            }
            Broker::Embedded(_) => {}
        }
    }
    for (name, plugin) in &config.plugins {
        for (key, secret) in &plugin.grants.secrets {
            json["plugins"][name]["grants"]["secrets"][key] = doubled(secret);
        }
    }
    if let Some(token) = &config.admin.token {
        json["admin"]["token"] = doubled(token);
    }
    json
}

fn double_dollars(json: &mut Value) {
    match json {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(double_dollars),
        Value::Object(map) => map.values_mut().for_each(double_dollars),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn yaml(json: &Value) -> Yaml<'_> {
    match json {
        Value::Null => Yaml::Value(Scalar::Null),
        Value::Bool(value) => Yaml::Value(Scalar::Boolean(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Yaml::Value(Scalar::Integer(integer)),
            None => Yaml::Value(Scalar::FloatingPoint(number.as_f64().unwrap().into())),
        },
        Value::String(text) => Yaml::Value(Scalar::String(text.as_str().into())),
        Value::Array(items) => Yaml::Sequence(items.iter().map(yaml).collect()),
        Value::Object(map) => Yaml::Mapping(
            map.iter()
                .map(|(key, value)| {
                    (
                        Yaml::Value(Scalar::String(key.as_str().into())),
                        yaml(value),
                    )
                })
                .collect(),
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_down_loads_as_it_was(config in configuration()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wharf.yaml");
        let json = written(&config);
        let mut block = String::new();
        YamlEmitter::new(&mut block).dump(&yaml(&json)).unwrap();
        // JSON is YAML as well.
        for text in [block, json.to_string()] {
            std::fs::write(&path, &text).unwrap();
            match config::load(&path, &|_| None) {
                Ok(loaded) => prop_assert_eq!(&loaded.config, &config, "from\n{}", text),
                Err(report) => prop_assert!(false, "{}\nfrom\n{}", report, text),
            }
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in "(version: 1\n)?([a-z:{}\\[\\]&*!|>'\"%@`#,?\\- \n\t$0-9]|\\PC){0,200}") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wharf.yaml");
        std::fs::write(&path, &text).unwrap();
        if let Err(report) = config::load(&path, &|_| None) {
            prop_assert!(!report.diagnostics.is_empty());
            prop_assert!(!report.render(false).is_empty());
        }
    }

    #[test]
    fn any_damage_to_a_good_file_gets_an_answer(
        at in any::<prop::sample::Index>(),
        length in 0..40usize,
        other in "[a-z:{}\\[\\]&*!'\"#\n ]{0,5}",
    ) {
        let good = std::fs::read_to_string("config/good/everything.yaml").unwrap();
        let start = at.index(good.len());
        let end = (start + length).min(good.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wharf.yaml");
        std::fs::write(&path, format!("{}{other}{}", &good[..start], &good[end..])).unwrap();
        // The component and the secrets are not there, so it is refused at the least for that.
        let report = config::load(&path, &|_| None).err();
        prop_assert!(report.is_none_or(|report| !report.to_string().contains("this value is not accepted")));
    }
}
