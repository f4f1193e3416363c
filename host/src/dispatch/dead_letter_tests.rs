use super::*;
use crate::place::PlaceKind;
use bytes::Bytes;

fn destination() -> Arc<Destination> {
    Arc::new(Destination::new(
        "dead-letters",
        "b",
        PlaceKind::Topic,
        "dlq.s.p",
    ))
}

fn diagnosis() -> Diagnosis {
    Diagnosis {
        reason: "boom".into(),
        code: Some("bad".into()),
        stderr: vec!["panicked at x".into(), "boom".into()],
        backtrace: vec!["frame".into()],
    }
}

fn letter(message: &Message, redact: &Redact) -> Publication {
    let diagnosis = diagnosis();
    let facts = Facts {
        plugin: "p",
        version: "sha256:1",
        cause: Cause::Trap,
        attempts: 4,
        diagnosis: &diagnosis,
        now_ms: 1_769_860_800_123,
    };
    write(message, facts, redact, &destination())
}

fn get<'a>(p: &'a Publication, name: &str) -> Vec<&'a [u8]> {
    let all = p.message.headers.iter().filter(|h| &*h.name == name);
    all.map(|h| &h.value[..]).collect()
}

fn odd_message() -> Message {
    let mut m = Message::for_test("id-1");
    m.key = Some(Bytes::from_static(b"\xff key"));
    m.payload = Bytes::from_static(b"\x00\xff");
    m.headers = vec![
        Header::text("a", "1"),
        Header {
            name: "a".into(),
            value: Bytes::from_static(b"\xfe"),
        },
    ];
    m
}

#[test]
fn keeps_the_message_byte_for_byte_and_says_what_happened() {
    let m = odd_message();
    let p = letter(&m, &Redact::default());
    assert_eq!((&p.message.payload, &p.message.key), (&m.payload, &m.key));
    assert_eq!(p.message.headers[..2], m.headers[..]);
    assert_eq!(p.message.id.as_deref(), Some("id-1"));
    assert_eq!(get(&p, "wharf-cause"), [b"trap"]);
    assert_eq!(get(&p, "wharf-code"), [b"bad"]);
    assert_eq!(get(&p, "wharf-attempts"), [b"4"]);
    assert_eq!(get(&p, "__dlq.errors.message"), [b"boom"]);
    assert_eq!(get(&p, "__dlq.errors.topic"), [b"t"]);
    assert_eq!(get(&p, "wharf-failed-at"), [b"2026-01-31T12:00:00.123Z"]);
    assert_eq!(get(&p, "wharf-first-failed-at"), get(&p, "wharf-failed-at"));
    assert_eq!(get(&p, "wharf-stderr"), [&b"panicked at x\nboom"[..]]);
}

#[test]
fn the_first_failed_attempt_has_its_own_time() {
    let mut m = odd_message();
    m.first_failed_ms = Some(1_769_860_700_000);
    let p = letter(&m, &Redact::default());
    let first = get(&p, "wharf-first-failed-at");
    assert_eq!(first, [b"2026-01-31T11:58:20.000Z"]);
}

#[test]
fn a_second_death_replaces_the_diagnosis_and_keeps_the_first_time() {
    let mut m = odd_message();
    let first = letter(&m, &Redact::default());
    m.headers = first.message.headers;
    m.headers.retain(|h| &*h.name != "wharf-first-failed-at");
    m.headers.push(Header::text(
        "wharf-first-failed-at",
        "2025-01-01T00:00:00.000Z",
    ));
    m.headers.push(Header::text("wharf-redrives", "1"));
    let count = m.headers.len();
    let second = letter(&m, &Redact::default());
    assert_eq!(
        second.message.headers.len(),
        count,
        "a repeated failure must not grow"
    );
    assert_eq!(
        get(&second, "wharf-first-failed-at"),
        [b"2025-01-01T00:00:00.000Z"]
    );
    assert_eq!(get(&second, "wharf-redrives"), [b"1"]);
    assert_eq!(get(&second, "wharf-cause").len(), 1);
}

#[test]
fn what_is_personal_can_be_left_out() {
    let m = odd_message();
    let redact = Redact {
        headers: vec!["A".into()],
        payload: true,
        reason: true,
    };
    let p = letter(&m, &redact);
    assert_eq!(get(&p, "a"), [b"(redacted)", b"(redacted)"]);
    assert!(p.message.payload.is_empty());
    assert_eq!(get(&p, "__dlq.errors.message"), [b"(redacted)"]);
    assert!(get(&p, "wharf-stderr").is_empty());
}

#[test]
fn diagnostics_are_bounded_and_can_be_cut() {
    let long = "x".repeat(100_000) + "end";
    let short = cut(&long);
    assert!(short.len() < TEXT + 16 && short.ends_with("end"));
    assert_eq!(cut("short"), "short");
    let mut p = letter(&odd_message(), &Redact::default());
    assert!(cut_diagnostics(&mut p));
    assert!(get(&p, "wharf-stderr").is_empty() && get(&p, "__dlq.errors.message").is_empty());
    assert_eq!(get(&p, "wharf-cause"), [b"trap"], "the cause stays");
    assert!(!cut_diagnostics(&mut p), "nothing left to cut");
}
