use wharf_sdk::Kind;

use super::*;

fn rules<const N: usize>(settings: [(&str, &str); N]) -> Result<Rules> {
    config::with(settings, || Rules::new(&mut Settings::read()?))
}

fn forward<const N: usize>(
    settings: [(&str, &str); N],
    message: Message,
) -> Result<Option<Outgoing>> {
    rules(settings)?.forward(message)
}

fn headers(out: &Outgoing) -> Vec<(&str, &str)> {
    out.headers
        .iter()
        .map(|header| {
            let value = std::str::from_utf8(&header.value).unwrap();
            (header.name.as_str(), value)
        })
        .collect()
}

#[test]
fn without_settings_nothing_changes() {
    let message = Message::builder("\0\u{1}").key("k").header("a", "1");
    let out = forward([], message.build()).unwrap().unwrap();
    assert_eq!(out.destination, "out");
    assert_eq!(out.payload, b"\0\x01");
    assert_eq!(headers(&out), [("a", "1")]);
    assert_eq!(out.topic, None);
    let out = forward([], Message::builder_tombstone("k").build());
    assert!(out.unwrap().unwrap().tombstone);
}

#[test]
fn headers_are_dropped_then_added() {
    let message = Message::builder("")
        .header("X-Internal-User", "ada")
        .header("via", "a")
        .header("keep", "1")
        .header("x-inter", "2");
    let settings = [
        ("drop_headers", "x-internal-*, VIA"),
        ("add_headers", "\n  Via: b:c \nempty:\n"),
    ];
    let out = forward(settings, message.build()).unwrap().unwrap();
    let expected = [
        ("keep", "1"),
        ("x-inter", "2"),
        ("Via", "b:c"),
        ("empty", ""),
    ];
    assert_eq!(headers(&out), expected);
}

#[test]
fn a_header_names_the_topic() {
    let settings = [("topic_header", "X-Topic"), ("drop_headers", "x-topic")];
    let named = Message::builder("").header("x-topic", "orders.eu");
    let out = forward(settings, named.build()).unwrap().unwrap();
    assert_eq!(out.topic.as_deref(), Some("orders.eu"));
    assert_eq!(headers(&out), []);

    let silent = forward(settings, Message::builder("").build());
    assert_eq!(silent.unwrap().unwrap().topic, None);

    for wrong in [&b""[..], b"\xff"] {
        let message = Message::builder("").header("x-topic", wrong).build();
        let error = forward(settings, message).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Reject, Some("bad-topic"))
        );
    }
}

#[test]
fn what_has_crossed_already_goes_no_further() {
    let settings = [("skip_header", "Crossed")];
    let crossed = Message::builder("").header("crossed", "").build();
    assert_eq!(forward(settings, crossed).unwrap(), None);
    let new = Message::builder("").header("other", "").build();
    assert!(forward(settings, new).unwrap().is_some());
}

#[test]
fn a_header_without_a_name_is_a_wrong_setting_and_not_shown() {
    for wrong in ["hunter2", ": hunter2", "a: 1\nhunter2"] {
        let error = rules([("add_headers", wrong)]).err().unwrap();
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Unavailable, Some("config"))
        );
        assert!(error.reason().contains("add_headers"), "{error}");
        assert!(!error.reason().contains("hunter2"), "{error}");
    }
}

#[test]
fn the_handler_reads_its_settings() {
    let settings = [("add_headers", "via: b")];
    let out = config::with(settings, || crate::handle(Message::builder("").build()));
    assert_eq!(headers(&out.unwrap().unwrap()), [("via", "b")]);
}
