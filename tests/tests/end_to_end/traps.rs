//! A handler that traps has not handled its message.

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::json;
use wharf::message::{Header, Outgoing};
use wharf_tests::count::{Fate, Work};
use wharf_tests::host::Place;

use super::client::{Client, LETTERS, message, puppet};

/// What the dead letter adds; everything else of it must be the message itself.
fn added(header: &Header) -> bool {
    header.name.starts_with("wharf-") || header.name.starts_with("__dlq.")
}

/// With key, and with headers no text could hold.
fn rich(id: &str, payload: String) -> Outgoing {
    let header = |name: &'static str, value: Vec<u8>| Header {
        name: ByteString::from_static(name),
        value: value.into(),
    };
    let noise = id.bytes().map(|b| b.wrapping_mul(37)).collect();
    Outgoing {
        key: Some(Bytes::from([&[0xff, 0x00][..], id.as_bytes()].concat())),
        headers: vec![
            header("noise", noise),
            header(
                "traceparent",
                b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_vec(),
            ),
            header("noise", Vec::new()),
        ],
        ..message(id, payload)
    }
}

/// The closest rival publishes the unprocessed message of a handler that trapped.
#[tokio::test]
async fn a_trap_never_publishes_the_unprocessed_message() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet(
        "    retry: { max_retries: 2, initial_interval: 20ms }\n",
    ));
    let mut work = Work::default();
    for i in 0..2_000 {
        let id = format!("m-{i}");
        // 19 of them: 50, 155, … 1,940.
        if i % 105 == 50 {
            let order = json!({"do": "panic", "text": format!("cannot take {id}")}).to_string();
            work.add(rich(&id, order), Fate::Letter("trap"));
        } else {
            work.add(rich(&id, format!("message {i}")), Fate::Output);
        }
    }
    assert_eq!(work.ending(|fate| fate == Fate::Letter("trap")), 19);
    let client = Client::embedded(&place.path("wharf.db"));
    client.publish("in", work.messages.clone()).await;
    let _host = place.run().await;
    client.until_done("in", "p").await;

    let (outputs, letters) = (client.items("out").await, client.items(LETTERS).await);
    work.check(&outputs, &letters);
    assert_eq!((outputs.len(), letters.len()), (1_981, 19));
    let sent = |id: &str| {
        let found = work.messages.iter().find(|m| m.id.as_deref() == Some(id));
        found.expect("published")
    };
    for output in &outputs {
        let original = sent(output.id.trim_end_matches("/p/0"));
        assert_eq!(output.payload, original.payload);
        assert_eq!(output.key, original.key);
        assert_eq!(output.headers, original.headers);
    }
    for letter in &letters {
        let original = sent(&letter.id);
        assert_eq!(letter.payload, original.payload);
        assert_eq!(letter.key, original.key);
        let own: Vec<&Header> = letter.headers.iter().filter(|h| !added(h)).collect();
        assert_eq!(own, original.headers.iter().collect::<Vec<_>>());
        let header = |name: &str| {
            letter
                .header(name)
                .unwrap_or_else(|| panic!("{name} is missing"))
        };
        assert_eq!(header("wharf-attempts"), "3", "one run and two retries");
        assert_eq!(header("wharf-plugin"), "p");
        assert_eq!(header("__dlq.errors.topic"), "in");
        assert!(header("wharf-version").starts_with("sha256:"));
        assert!(header("wharf-stderr").contains(&format!("cannot take {}", letter.id)));
        assert!(
            header("wharf-backtrace").contains("puppet"),
            "{}",
            header("wharf-backtrace")
        );
        assert!(header("wharf-first-failed-at") <= header("wharf-failed-at"));
    }
}
