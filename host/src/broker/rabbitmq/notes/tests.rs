use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::*;

/// A message that comes again, for the `count`th time.
fn received(payload: &str, count: i64) -> Received {
    let mut headers = FieldTable::default();
    headers.insert("key".into(), AMQPValue::LongString("k".into()));
    if count > 0 {
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(count));
    }
    Received {
        tag: 7 + count.unsigned_abs(),
        exchange: "".into(),
        routing_key: "orders".into(),
        redelivered: count > 0,
        properties: BasicProperties::default().with_headers(headers),
        payload: payload.to_owned().into(),
    }
}

fn note(attempts: u32, returns: u32) -> Note {
    Note {
        attempts,
        returns,
        ..Note::default()
    }
}

#[test]
fn a_note_is_found_by_what_is_in_the_message_and_taken_once() {
    let mut notes = Notes::default();
    let (a, b) = (received("a", 0), received("b", 0));
    notes.write([(&a, note(2, 1)), (&b, Note::default())].into_iter());
    assert_eq!(notes.take(&received("b", 1)), None, "nothing to note");
    assert_eq!(notes.take(&received("a", 0)), None, "somebody's new one");
    assert_eq!(notes.take(&received("a", 1)), Some(note(2, 1)));
    assert_eq!(notes.take(&received("a", 2)), None);
    assert_eq!(notes.count, 0);
}

#[test]
fn of_several_that_are_the_same_the_first_comes_first() {
    let mut notes = Notes::default();
    let same = received("a", 0);
    notes.write([(&same, note(3, 1)), (&same, note(1, 1))].into_iter());
    assert_eq!(notes.take(&received("a", 1)), Some(note(3, 1)));
    assert_eq!(notes.take(&received("a", 1)), Some(note(1, 1)));
}

#[test]
fn what_nobody_takes_is_bounded_and_attempts_are_kept_longest() {
    let mut notes = Notes::default();
    let all: Vec<Received> = (0..MOST + 10)
        .map(|n| received(&n.to_string(), 0))
        .collect();
    notes.write(all.iter().map(|one| (one, note(0, 1))));
    assert_eq!(notes.count, MOST);
    notes.write([(&all[0], note(2, 2))].into_iter());
    assert_eq!(notes.count, 1, "those that only count returns are gone");
    notes.write(std::iter::empty());
    assert_eq!(notes.take(&received("0", 1)), Some(note(2, 2)));
}
