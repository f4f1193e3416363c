//! Messages nobody expects reach the handler or the dead letters byte for byte.

use bytes::Bytes;
use bytestring::ByteString;
use wharf::message::{Header, Outgoing};
use wharf_tests::host::Place;

use super::client::{Client, Item, message};

fn header(name: &str, value: impl Into<Bytes>) -> Header {
    Header {
        name: ByteString::from(name),
        value: value.into(),
    }
}

fn noise(bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(7);
    (0..bytes).map(|_| random.u8(..)).collect()
}

fn strange() -> Vec<Outgoing> {
    let many = (0..1_000)
        .map(|i| header(&format!("h-{i}"), format!("value {i}")))
        .collect();
    let repeated = ["b", "a", "", "a"].map(|value| header("same", value.to_owned()));
    let of = |id: &str, payload: Bytes, headers: Vec<Header>| Outgoing {
        headers,
        ..message(id, payload)
    };
    vec![
        of("not-json", Bytes::from_static(b"{\"do\": "), vec![]),
        of("not-text", noise(300), vec![header("binary", noise(40))]),
        of("empty", Bytes::new(), vec![]),
        of(
            "one-zero",
            Bytes::from_static(&[0]),
            vec![header("", Bytes::new())],
        ),
        of("large", noise(5 << 20), vec![]),
        of("headers", Bytes::from_static(b"x"), many),
        of("repeated", Bytes::from_static(b"x"), repeated.into()),
        Outgoing {
            key: Some(Bytes::new()),
            ..message("empty-key", "x")
        },
    ]
}

/// Three plugins read the same: one echoes whatever comes, one has the default limit on what it may send, one may send
/// nothing at all.
const CONFIG: &str = "\
brokers: { local: { type: embedded, path: wharf.db } }
plugins:
  echo:
    component: puppet.wasm
    subscribe: { in: { broker: local, topic: in } }
    publish: { out: { broker: local, topic: out } }
    limits: { output: 8MiB }
  small:
    component: puppet.wasm
    subscribe: { in: { broker: local, topic: in } }
    publish: { out: { broker: local, topic: small } }
  mute:
    component: puppet.wasm
    subscribe: { in: { broker: local, topic: in } }
    limits: { output: 8MiB }
";

/// Every message, once, with what its publisher gave it. `by` is the plugin whose outputs they are, if they are.
fn same(items: &[Item], wanted: &[Outgoing], by: Option<&str>) {
    assert_eq!(items.len(), wanted.len());
    for sent in wanted {
        let id = sent.id.as_deref().expect("an id");
        let shown = by.map_or_else(|| id.to_owned(), |plugin| format!("{id}/{plugin}/0"));
        let item = items.iter().find(|item| item.id == shown);
        let item = item.unwrap_or_else(|| panic!("{shown} is missing"));
        // Not assert_eq: five mebibytes would be printed.
        assert!(item.payload == sent.payload, "the payload of {id}");
        assert_eq!(item.key, sent.key, "{id}");
        let own = item.headers.iter().filter(|h| {
            by.is_some() || !(h.name.starts_with("wharf-") || h.name.starts_with("__dlq."))
        });
        assert_eq!(
            own.collect::<Vec<_>>(),
            sent.headers.iter().collect::<Vec<_>>(),
            "{id}"
        );
    }
}

#[tokio::test]
async fn strange_messages_reach_the_handler_or_the_dead_letters_byte_for_byte() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(CONFIG);
    let client = Client::embedded(&place.path("wharf.db"));
    let strange = strange();
    client.publish("in", strange.clone()).await;
    let host = place.run().await;
    for plugin in ["echo", "small", "mute"] {
        client.until_done("in", plugin).await;
    }
    same(&client.items("out").await, &strange, Some("echo"));
    assert_eq!(client.count("dlq.in.echo").await, 0);

    let (large, others): (Vec<_>, Vec<_>) = strange
        .iter()
        .cloned()
        .partition(|m| m.id.as_deref() == Some("large"));
    same(&client.items("small").await, &others, Some("small"));
    let letters = client.items("dlq.in.small").await;
    same(&letters, &large, None);
    assert_eq!(letters[0].header("wharf-cause"), Some("bad-output"));

    let letters = client.items("dlq.in.mute").await;
    same(&letters, &strange, None);
    for letter in &letters {
        assert_eq!(
            letter.header("wharf-cause"),
            Some("denied"),
            "{}",
            letter.id
        );
        assert_eq!(
            letter.header("wharf-attempts"),
            Some("1"),
            "no use in trying again"
        );
    }
    assert_eq!(host.get("/readyz").await.0, 200);
}
