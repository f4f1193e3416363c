use super::*;

fn said(redis: &Redis) -> Vec<String> {
    let faults = redis.faults().into_iter();
    faults
        .map(|f| format!("{}: {}", f.path.join("."), f.message))
        .collect()
}

#[test]
fn what_is_usual_is_right() {
    for url in [
        "redis://127.0.0.1:6379",
        "rediss://ada:secret@cache.internal:6380/3",
        "unix:///run/redis.sock",
        "valkey://cache",
    ] {
        assert_eq!(said(&Redis::new(url)), [""; 0], "{url}");
    }
    let cluster = Redis {
        cluster: true,
        ..Redis::new("rediss://ada:secret@a:7000, rediss://b:7000")
    };
    assert_eq!(said(&cluster), [""; 0]);
    assert_eq!(cluster.urls().len(), 2);
    let watched = Redis {
        sentinels: vec!["a:26379".into(), "redis://b:26379".into()],
        master: Some("orders".into()),
        ..Redis::new("rediss://orders/2")
    };
    assert_eq!(said(&watched), [""; 0]);
    assert_eq!(watched.sentinel_url("a:26379"), "rediss://a:26379");
    assert_eq!(watched.sentinel_url("redis://b"), "redis://b");
}

#[test]
fn what_goes_together_is_looked_at_together() {
    let redis = Redis {
        user: Some("ada".into()),
        sentinels: vec!["redis://u:hunter2@a".into(), String::new()],
        cluster: true,
        tls: Tls {
            ca: Some("/nowhere/ca.pem".into()),
            certificate: Some("/nowhere/host.pem".into()),
            key: None,
        },
        ..Redis::new("redis://a/1,redis://b")
    };
    let said = said(&redis).join("\n");
    for wanted in [
        "url: a cluster has one database",
        "user: `user` is of use only with `password`",
        "tls.ca: `ca` is of no use without TLS",
        "tls: `certificate` and `key`",
        "sentinels.0: an address is shown in logs",
        "sentinels.1: this is not the address",
        "sentinels: sentinels watch more than one",
        "cluster: a cluster watches over its nodes itself",
    ] {
        assert!(said.contains(wanted), "{wanted} is not in\n{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_certificate_that_is_not_looked_at_is_refused() {
    let said = said(&Redis::new("rediss://cache/#insecure"));
    assert!(said[0].contains("protects from nothing"), "{said:?}");
}
