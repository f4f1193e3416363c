use super::*;

fn paths(config: &Nats) -> Vec<String> {
    config.faults().iter().map(|f| f.path.join(".")).collect()
}

fn changed(change: impl FnOnce(&mut Nats)) -> Vec<String> {
    let mut config = Nats::new("nats://127.0.0.1:4222");
    change(&mut config);
    paths(&config)
}

#[test]
fn what_people_write_is_taken() {
    for url in [
        "nats://127.0.0.1",
        "tls://bus.example.com:4443",
        "nats://ada:secret@one:4222, nats://two:4222",
        "127.0.0.1:4222",
        "nats://[::1]:4222",
    ] {
        assert_eq!(paths(&Nats::new(url)), [""; 0], "{url}");
    }
}

#[test]
fn other_urls_are_not_taken_and_not_shown() {
    for url in [
        "",
        "nats://",
        "ws://hunter2@one",
        "nats://one,",
        "amqp://a:hunter2@one",
    ] {
        let faults = Nats::new(url).faults();
        assert_eq!(faults.len(), 1, "{url}: {faults:?}");
        assert_eq!(faults[0].path, ["url"], "{url}");
        assert!(!format!("{faults:?}").contains("hunter2"));
    }
}

#[test]
fn one_way_to_log_in_and_whole() {
    assert_eq!(changed(|c| c.user = Some("ada".into())), ["user"]);
    assert_eq!(
        changed(|c| c.password = Some(Secret::new("x"))),
        ["password"]
    );
    let both = changed(|c| {
        c.token = Some(Secret::new("x"));
        c.nkey = Some(Secret::new("x"));
    });
    assert_eq!(both, ["token"]);
    assert_eq!(changed(|c| c.tls.key = Some("k".into())), ["tls.key"]);
    let certificate = changed(|c| c.tls.certificate = Some("c".into()));
    assert_eq!(certificate, ["tls.certificate"]);
}

#[test]
fn bounds_are_held() {
    assert_eq!(
        changed(|c| c.ack_wait = Duration::from_millis(999)),
        ["ack_wait"]
    );
    assert_eq!(changed(|c| c.max_ack_pending = 0), ["max_ack_pending"]);
    assert_eq!(
        changed(|c| c.connect_timeout = Duration::ZERO),
        ["connect_timeout"]
    );
}

#[test]
fn streams_are_looked_at() {
    let with = |name: &str, stream: Stream| {
        changed(|c| {
            c.declare.streams.insert(name.to_owned(), stream);
        })
    };
    let good = Stream::new(&["orders.*", "orders.eu.>"]);
    assert_eq!(with("ORDERS", good.clone()), [""; 0]);
    assert_eq!(with("a.b", good.clone()), ["declare.streams.a.b"]);
    let at = |key: &str| vec![format!("declare.streams.S.{key}")];
    assert_eq!(with("S", Stream::new(&[])), at("subjects"));
    for bad in ["a..b", ".a", "a b", ">.a", ""] {
        assert_eq!(with("S", Stream::new(&[bad])), at("subjects"), "{bad}");
    }
    let four = Stream {
        replicas: 4,
        ..good.clone()
    };
    assert_eq!(with("S", four), at("replicas"));
    let short = Stream {
        max_age: Some(Duration::from_secs(60)),
        ..good
    };
    assert_eq!(with("S", short), at("duplicate_window"));
}

#[test]
fn dead_letters_have_a_stream_of_their_own() {
    let dlq = |name: &str| changed(|c| c.declare.dead_letters = Some(name.to_owned()));
    assert_eq!(dlq("DLQ"), [""; 0]);
    assert_eq!(dlq("d l q"), ["declare.dead_letters"]);
    let twice = changed(|c| {
        c.declare.dead_letters = Some("DLQ".into());
        let stream = Stream::new(&["dlq.>"]);
        c.declare.streams.insert("DLQ".into(), stream);
    });
    assert_eq!(twice, ["declare.dead_letters"]);
}

#[test]
fn no_secret_is_shown() {
    let mut config = Nats::new("nats://ada:hunter2@one");
    config.password = Some(Secret::new("hunter2"));
    config.nkey = Some(Secret::new("hunter2"));
    config.token = Some(Secret::new("hunter2"));
    assert!(!format!("{config:?}{:?}", config.faults()).contains("hunter2"));
}
