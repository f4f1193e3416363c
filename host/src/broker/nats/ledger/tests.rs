use bytes::Bytes;

use super::*;
use crate::broker::nats::wire::Place;

fn held(own: bool, sequence: u64, published_ns: i64, reply: &str, told: Instant) -> Held {
    Held {
        reply: reply.to_owned().into(),
        received: Arc::new(Received {
            subject: "orders".into(),
            reply: None,
            headers: Vec::new(),
            payload: Bytes::new(),
            place: Some(Place {
                stream: "ORDERS".into(),
                sequence,
                published_ns,
                delivered: 1,
            }),
        }),
        own,
        deliveries: 0,
        told,
        forgotten: false,
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_forgot_is_known_until_it_comes_again() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    let mut took = |own, sequence| ledger.took(held(own, sequence, 10, "", now)).unwrap();
    let (one, two, own) = (took(false, 1), took(false, 2), took(true, 3));
    ledger.forgotten(false, 1);
    let forgotten = |ledger: &Ledger| [one, two, own].map(|token| ledger.is_forgotten(token));
    assert_eq!(forgotten(&ledger), [false, true, false]);
    assert_eq!(ledger.took(held(false, 2, 10, "again", now)), None);
    assert_eq!(forgotten(&ledger), [false; 3]);
    ledger.forgotten(true, 0);
    ledger.done(own);
    assert_eq!(forgotten(&ledger), [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_not_taken_twice_and_is_settled_by_its_last_delivery() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    let token = ledger.took(held(false, 1, 10, "first", now)).unwrap();
    assert_eq!(ledger.took(held(false, 1, 10, "second", now)), None);
    assert_eq!(ledger.held(token).unwrap().reply, "second");
    assert_eq!(ledger.sequence(token), Some(1));
    // Another stream of that name, and the subscription's own.
    assert!(ledger.took(held(false, 1, 11, "", now)).is_some());
    assert!(ledger.took(held(true, 1, 10, "", now)).is_some());
    ledger.done(token);
    assert!(ledger.held(token).is_none());
    assert!(ledger.took(held(false, 1, 10, "third", now)).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_server_hears_of_each_in_time_and_not_more_often() {
    let start = Instant::now();
    let every = Duration::from_secs(10);
    let mut ledger = Ledger::default();
    let first = ledger.took(held(false, 1, 0, "one", start)).unwrap();
    let later = start + Duration::from_secs(5);
    ledger.took(held(false, 2, 0, "two", later)).unwrap();
    assert_eq!(ledger.silent(start + every / 2, every), [""; 0]);
    assert_eq!(ledger.silent(start + every, every), ["one"]);
    assert_eq!(ledger.silent(start + every, every), [""; 0]);
    assert_eq!(ledger.silent(later + every, every), ["two"]);
    ledger.done(first);
    assert_eq!(ledger.silent(start + every * 9, every), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn what_came_from_a_stream_that_is_gone_is_forgotten() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    let old = ledger.took(held(false, 1, 10, "", now)).unwrap();
    let own = ledger.took(held(true, 1, 10, "", now)).unwrap();
    assert_eq!(ledger.forget(false), 1);
    assert!(ledger.held(old).is_none());
    assert!(ledger.held(own).is_some());
    assert!(ledger.took(held(false, 1, 10, "", now)).is_some());
}
